-- What a referral gave goes back when refunds leave less of its bill than the minimum. `review`: a refund of the bill moved, and it
-- has not been looked at since.

ALTER TABLE referrals
ADD COLUMN review boolean NOT NULL DEFAULT false,
ADD CONSTRAINT referrals_review_of_reached CHECK (NOT review OR coalesce(outcome = 'reached', false));
CREATE INDEX referrals_review ON referrals (member_id) WHERE review;
GRANT UPDATE (review) ON referrals TO {{service_role}};

-- What the bank was asked to take back of an act's accrual: all of it, once for ever, because of that refund. `sequence` is the place
-- of the last time that it was asked among the events about the act; `through`, how many points were taken back in all by now.
CREATE TABLE act_reversals (
    accrual_id uuid PRIMARY KEY,
    request_id uuid NOT NULL UNIQUE,
    act_id uuid NOT NULL REFERENCES acts,
    bill_id uuid NOT NULL,
    refund_id uuid NOT NULL REFERENCES refunds,
    wallet_id uuid NOT NULL,
    programme text COLLATE "C" NOT NULL,
    currency text NOT NULL CHECK (char_length(currency) = 3),
    point_value text NOT NULL,
    points bigint NOT NULL CHECK (points >= 1),
    on_spent text NOT NULL CHECK (on_spent IN ('block', 'partial', 'debt')),
    effective_at timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    sequence int NOT NULL CHECK (sequence >= 1),
    asked_at timestamptz NOT NULL DEFAULT now(),
    status text NOT NULL DEFAULT 'asked' CHECK (status IN ('asked', 'reversed', 'refused')),
    through bigint NOT NULL DEFAULT 0 CHECK (through BETWEEN 0 AND points),
    code text,
    CHECK ((status = 'refused') = (code IS NOT NULL)),
    CHECK (status = 'reversed' OR through = 0)
) WITH (fillfactor = 80);

CREATE INDEX act_reversals_open ON act_reversals (accrual_id) WHERE status = 'asked';
GRANT
SELECT,
INSERT (
    accrual_id, request_id, act_id, bill_id, refund_id, wallet_id, programme, currency, point_value, points, on_spent, effective_at,
    decided_at, sequence
),
UPDATE (sequence, asked_at, status, through, code)
ON act_reversals TO {{service_role}};
GRANT SELECT (act_id, wallet_id, accrual_id, points) ON act_accruals TO {{service_role}};
