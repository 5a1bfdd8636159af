-- Fraud guards: what they count, and the bills that somebody has to look at before their points are free.

ALTER TABLE merchants ADD COLUMN cashiers json;

-- Locked while the bills of a terminal are counted; never changed.
GRANT UPDATE (terminal) ON terminals TO {{service_role}};

CREATE TABLE sightings (
    bill_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    programme text COLLATE "C" NOT NULL,
    merchant text COLLATE "C" NOT NULL,
    terminal text COLLATE "C",
    currency text NOT NULL,
    total_minor bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (wallet_id, bill_id)
);

CREATE INDEX sightings_of_wallet ON sightings (wallet_id, occurred_at);
CREATE INDEX sightings_at_terminal ON sightings (programme, merchant, terminal, occurred_at) WHERE terminal IS NOT NULL;
SELECT make_append_only('sightings');
GRANT SELECT, INSERT ON sightings TO {{service_role}};

CREATE INDEX refund_requests_wallet ON refund_requests (wallet_id, effective_at) WHERE kind = 'reversal';

CREATE TABLE reviews (
    review_id uuid PRIMARY KEY,
    bill_id uuid NOT NULL,
    merchant text COLLATE "C" NOT NULL,
    bill_ref text COLLATE "C" NOT NULL,
    terminal text,
    cashier text,
    occurred_at timestamptz NOT NULL,
    total_minor bigint NOT NULL,
    member_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    programme text NOT NULL,
    accrual_id uuid NOT NULL UNIQUE,
    points bigint NOT NULL CHECK (points >= 1),
    currency text NOT NULL,
    point_value text NOT NULL,
    patterns text [] NOT NULL CHECK (cardinality(patterns) >= 1),
    flagged_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'released', 'cancelled')),
    decided_at timestamptz,
    decided_by text,
    reason text,
    request_id uuid UNIQUE,
    sequence int CHECK (sequence >= 1),
    answer_event_id uuid,
    taken bigint CHECK (taken >= 0),
    CHECK (num_nulls(decided_at, decided_by, reason) = CASE state WHEN 'open' THEN 3 ELSE 0 END),
    CHECK (num_nulls(request_id, sequence) = CASE state WHEN 'cancelled' THEN 0 ELSE 2 END),
    CHECK (num_nulls(answer_event_id, taken) IN (0, 2)),
    CHECK (answer_event_id IS NULL OR state = 'cancelled')
) WITH (fillfactor = 80);

CREATE INDEX reviews_bill ON reviews (bill_id);
CREATE INDEX reviews_open ON reviews (review_id) WHERE state = 'open';
GRANT SELECT, INSERT, UPDATE (
    state, decided_at, decided_by, reason, request_id, sequence, answer_event_id, taken
) ON reviews TO {{service_role}};

ALTER TABLE hold_plans
DROP CONSTRAINT hold_plans_until_check,
DROP CONSTRAINT hold_plans_check,
ADD CONSTRAINT hold_plans_until_check CHECK (until IN ('activation', 'date', 'day_by_day', 'review')),
ADD CONSTRAINT hold_plans_check CHECK ((until IN ('activation', 'review')) = (last_on IS NULL));
