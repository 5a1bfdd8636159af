-- The life of a redemption: authorised, captured or voided, returned; by code at a till, within limits.

ALTER TABLE redemptions
ADD COLUMN returned_points bigint NOT NULL DEFAULT 0,
ADD COLUMN returned_minor bigint NOT NULL DEFAULT 0,
ADD CONSTRAINT redemptions_returned_within_points CHECK (
    returned_points BETWEEN 0 AND points AND returned_minor BETWEEN 0 AND money_minor
);

-- What paid for a bill; and what a wallet spent since some moment, for the limits of its programme.
CREATE INDEX redemptions_by_bill ON redemptions (merchant, bill_ref) WHERE bill_ref IS NOT NULL;
CREATE INDEX redemptions_by_wallet ON redemptions (wallet_id, effective_at);

-- Points set aside for a redemption that is captured, voided or past its time later. One for each redemption that was authorised;
-- it stands while `ended` is null. Written under the wallet's lock, like all that is below.
CREATE TABLE reservations (
    redemption_id uuid PRIMARY KEY REFERENCES redemptions,
    wallet_id uuid NOT NULL,
    code_hash bytea NOT NULL, -- keyed: the code itself is kept nowhere in the clear
    points bigint NOT NULL, -- set aside
    expires_at timestamptz NOT NULL, -- at this instant it can't be captured any more
    captured_points bigint NOT NULL DEFAULT 0,
    captured_minor bigint NOT NULL DEFAULT 0,
    capture_posting uuid,
    void_posting uuid, -- of the points that went back
    ended text,
    ended_at timestamptz,
    CONSTRAINT reservations_code_once UNIQUE (code_hash),
    CONSTRAINT reservations_code_is_sha256 CHECK (octet_length(code_hash) = 32),
    CONSTRAINT reservations_points_positive CHECK (points > 0),
    CONSTRAINT reservations_captured_within_points CHECK (captured_points BETWEEN 0 AND points AND captured_minor >= 0),
    CONSTRAINT reservations_ended_known CHECK (ended IN ('captured', 'voided', 'expired')),
    CONSTRAINT reservations_end_is_whole CHECK (
        (ended IS NULL) = (ended_at IS NULL)
        AND coalesce(ended = 'captured', false) = (capture_posting IS NOT NULL)
        AND (capture_posting IS NOT NULL) = (captured_points > 0)
        AND (ended IS NOT NULL AND captured_points < points) = (void_posting IS NOT NULL)
    )
);

-- What the job looks for: those that still stand, by the end of their time.
CREATE INDEX reservations_standing ON reservations (expires_at, redemption_id) WHERE ended IS NULL;

-- What a redemption took of each lot, in the order in which it took it, and what became of it. A plain redemption has rows
-- from its first return on; before it, the ledger says the same.
CREATE TABLE redemption_lots (
    redemption_id uuid NOT NULL REFERENCES redemptions,
    place integer NOT NULL,
    lot_id uuid NOT NULL,
    lent bigint NOT NULL,
    captured bigint NOT NULL,
    voided bigint NOT NULL,
    returned bigint NOT NULL,
    PRIMARY KEY (redemption_id, place),
    CONSTRAINT redemption_lots_lot_once UNIQUE (redemption_id, lot_id),
    CONSTRAINT redemption_lots_lent_positive CHECK (lent > 0),
    CONSTRAINT redemption_lots_parts_within_lent CHECK (captured >= 0 AND voided >= 0 AND captured + voided <= lent),
    CONSTRAINT redemption_lots_returned_within_captured CHECK (returned BETWEEN 0 AND captured)
);

-- Points of a captured redemption that came back, by a till's call or a refund. What it gave to which lot: `returned_lots`.
CREATE TABLE returns (
    return_id uuid PRIMARY KEY,
    redemption_id uuid NOT NULL REFERENCES redemptions,
    posting_id uuid, -- null: less than a point came back
    points bigint NOT NULL,
    money_minor bigint NOT NULL,
    merchant text NOT NULL,
    return_ref text, -- a till's own; null: a refund asked
    request_hash bytea, -- of what the till asked under that reference
    answer bytea, -- what it was answered
    request_id uuid, -- what earn asked
    effective_at timestamptz NOT NULL,
    CONSTRAINT returns_ref_once UNIQUE (merchant, return_ref),
    CONSTRAINT returns_points_never_negative CHECK (points >= 0 AND money_minor >= 0),
    CONSTRAINT returns_posting_has_points CHECK ((points > 0) = (posting_id IS NOT NULL)),
    CONSTRAINT returns_asked_by_one CHECK (
        (return_ref IS NULL) = (request_id IS NOT NULL)
        AND (return_ref IS NULL) = (request_hash IS NULL) AND (return_ref IS NULL) = (answer IS NULL)
    )
);

CREATE INDEX returns_of ON returns (redemption_id);

-- Which lot got how many points back: the very lot, or under `restore: renewed` a new one in its place.
CREATE TABLE returned_lots (
    return_id uuid NOT NULL REFERENCES returns,
    lot_id uuid NOT NULL, -- the lot that the redemption had taken them from
    to_lot uuid NOT NULL,
    points bigint NOT NULL,
    PRIMARY KEY (return_id, lot_id),
    CONSTRAINT returned_lots_points_positive CHECK (points > 0)
);

-- What earn asked: the points that paid for a bill come back with its refund. The first time that each was heard.
CREATE TABLE return_requests (
    request_id uuid PRIMARY KEY,
    refund_id uuid NOT NULL,
    bill_id uuid NOT NULL,
    merchant text NOT NULL,
    bill_ref text NOT NULL,
    returned_minor bigint NOT NULL,
    total_minor bigint NOT NULL,
    redemptions integer NOT NULL, -- so many were found
    decided_at timestamptz NOT NULL
);

-- The events about bills that nobody had redeemed points for: they count from 1 for each bill.
CREATE TABLE bill_events (
    bill_id uuid PRIMARY KEY,
    event_sequence bigint NOT NULL,
    CONSTRAINT bill_events_positive CHECK (event_sequence > 0)
);

-- What tiers told last of a wallet, for programmes that let only some tiers spend.
CREATE TABLE standings (
    wallet_id uuid PRIMARY KEY,
    tier text NOT NULL,
    until timestamptz, -- exclusive; null: no end
    sequence bigint NOT NULL -- of the event: the highest is the latest
);

-- A new hearer of tiers: room in the inbox, as messaging/0002 makes it.
CREATE TABLE inbox_tiers PARTITION OF inbox (CONSTRAINT inbox_tiers_once EXCLUDE USING gist (entries WITH &&)) FOR VALUES IN (
    'tiers'
);
INSERT INTO positions (stream) VALUES ('tiers');

GRANT SELECT, INSERT ON reservations, redemption_lots, returns TO {{service_role}};
GRANT INSERT ON returned_lots, return_requests TO {{service_role}};
GRANT SELECT, INSERT ON bill_events, standings TO {{service_role}};
GRANT SELECT, UPDATE (status, terminal, cashier, bill_ref, returned_points, returned_minor) ON redemptions TO {{service_role}};
GRANT UPDATE (captured_points, captured_minor, capture_posting, void_posting, ended, ended_at) ON reservations TO {{service_role}};
GRANT UPDATE (captured, voided, returned) ON redemption_lots TO {{service_role}};
GRANT UPDATE (event_sequence) ON bill_events TO {{service_role}};
GRANT UPDATE (tier, until, sequence) ON standings TO {{service_role}};
