-- What is given at the checkout and on stamp cards: what tills say they gave, the stamps, and what the bank is asked to issue.

-- [[programme, campaign, amount_minor]] in this order; null where the till gave nothing for a campaign.
ALTER TABLE bills ADD COLUMN effects_applied json;

-- The stamps on a member's card: below zero where a used reward's stamps were taken back. A row is locked before those of caps.
CREATE TABLE stamp_cards (
    wallet_id uuid NOT NULL,
    card text COLLATE "C" NOT NULL,
    progress bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (wallet_id, card)
) WITH (fillfactor = 80);

GRANT SELECT, INSERT, UPDATE (progress) ON stamp_cards TO {{service_role}};

-- The stamps that a bill gave to a card, once for ever, and how many of them refunds took back.
CREATE TABLE stamps (
    bill_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    card text COLLATE "C" NOT NULL,
    stamps int NOT NULL CHECK (stamps >= 1),
    taken_back int NOT NULL DEFAULT 0,
    CONSTRAINT stamps_taken_back_at_most_given CHECK (taken_back BETWEEN 0 AND stamps),
    PRIMARY KEY (bill_id, wallet_id, card)
);

GRANT SELECT, INSERT, UPDATE (taken_back) ON stamps TO {{service_role}};

-- Each reward that the bank is asked to issue, for a campaign or a full card, and what became of it: `asked`, `issued`,
-- `refused`; `withdrawing` after a refund, then `withdrawn`, or `kept` where it was used already. `stamps`: what it took off
-- its card; `withdrawal_id`: under which it is asked back. `sequence` counts what was asked; `asked_at` is when that was last, by the real clock.
CREATE TABLE effects (
    effect_id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('campaign', 'stamp_card')),
    code text COLLATE "C" NOT NULL,
    bill_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    member_id uuid NOT NULL,
    programme text COLLATE "C" NOT NULL,
    reward text NOT NULL,
    stamps int NOT NULL CHECK (stamps >= 0),
    effective_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'asked'
        CHECK (status IN ('asked', 'issued', 'refused', 'withdrawing', 'withdrawn', 'kept')),
    benefit_id uuid,
    answer_code text,
    withdrawal_id uuid UNIQUE,
    sequence int NOT NULL DEFAULT 1 CHECK (sequence >= 1),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_id text NOT NULL,
    traceparent text,
    CHECK ((kind = 'stamp_card') = (stamps > 0)),
    CHECK ((withdrawal_id IS NULL) = (status IN ('asked', 'issued', 'refused')))
) WITH (fillfactor = 80);

CREATE INDEX effects_bill ON effects (bill_id);
CREATE INDEX effects_wallet ON effects (wallet_id, code, effect_id);
CREATE INDEX effects_open ON effects (asked_at) WHERE status IN ('asked', 'withdrawing');
GRANT SELECT, INSERT, UPDATE (status, benefit_id, answer_code, withdrawal_id, sequence, asked_at) ON effects TO {{service_role}};
