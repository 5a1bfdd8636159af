-- The earn schema as it is, for reading; migrations/ says how it got there. The messaging tables stand beside these.

-- What earn keeps: the bills, the two nets against repeats, the decision about each bill, what waits, and the facts
-- learned from others. Append-only where it says so; keys are never partitioned by time, facts are by `recorded_at`.

-- ---------------------------------------------------------------- facts heard from members and tiers

-- Every activated version of every programme; one never changes.
CREATE TABLE programmes (
    programme text COLLATE "C" NOT NULL,
    version int NOT NULL CHECK (version >= 1),
    activated_at timestamptz NOT NULL,
    document json NOT NULL,
    PRIMARY KEY (programme, version)
);
-- programmes: append-only.

CREATE TABLE merchants (
    merchant text COLLATE "C" PRIMARY KEY,
    version int NOT NULL CHECK (version >= 1),
    brand text
);

-- Terminals are only added: what a terminal rang up before it was taken away still earns.
CREATE TABLE terminals (
    merchant text COLLATE "C" NOT NULL REFERENCES merchants,
    terminal text COLLATE "C" NOT NULL,
    PRIMARY KEY (merchant, terminal)
);

-- A member is known once its enrolment was heard; a card alone does not yet name all its wallets.
CREATE TABLE members (
    member_id uuid PRIMARY KEY,
    enrolled_at timestamptz NOT NULL
);

-- Keyed hashes only (shared/identity.py), deletable: the erasure of a person takes the row.
CREATE TABLE identities (
    identity bytea PRIMARY KEY CHECK (octet_length(identity) = 16),
    kind text NOT NULL
        CHECK (kind IN ('member_id', 'card_id', 'card_number', 'mobile', 'email', 'external_id')),
    member_id uuid NOT NULL
);

CREATE INDEX identities_member ON identities (member_id);

-- `tier` is the standing with the highest sequence heard; null until tiers has spoken.
CREATE TABLE wallets (
    wallet_id uuid PRIMARY KEY,
    member_id uuid NOT NULL,
    programme text COLLATE "C" NOT NULL,
    tier text,
    tier_event_id uuid,
    tier_sequence bigint CHECK (tier_sequence >= 1),
    tier_effective_at timestamptz,
    CHECK (num_nulls(tier, tier_event_id, tier_sequence, tier_effective_at) IN (0, 4))
) WITH (fillfactor = 80);

CREATE INDEX wallets_member ON wallets (member_id);

-- Every standing heard: a late bill earns at the tier of when it happened.
CREATE TABLE tier_history (
    wallet_id uuid NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 1),
    tier text NOT NULL,
    event_id uuid NOT NULL,
    effective_at timestamptz NOT NULL,
    PRIMARY KEY (wallet_id, sequence)
);
-- tier_history: append-only.

-- ---------------------------------------------------------------- the two nets against repeats

-- First net: what a till offered, by its own source and id. `content_hash` as in bill_keys.
CREATE TABLE pos_events (
    source text COLLATE "C" NOT NULL CHECK (char_length(source) BETWEEN 1 AND 255),
    event_id text COLLATE "C" NOT NULL CHECK (char_length(event_id) BETWEEN 1 AND 255),
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    PRIMARY KEY (source, event_id)
);
-- pos_events: append-only.

-- Second net: one bill per (merchant, bill_ref), by whatever way it came. `content_hash` is SHA-256 of the bill's
-- canonical bytes, which stand in README.md; `recorded_at` finds the partition of the bill.
CREATE TABLE bill_keys (
    merchant text COLLATE "C" NOT NULL,
    bill_ref text COLLATE "C" NOT NULL,
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    bill_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (merchant, bill_ref)
);
-- bill_keys: append-only.

-- ---------------------------------------------------------------- bills and what was decided about them

-- `lines` is json, not jsonb: the bytes that were hashed are the bytes that are kept. [{line_id, sku, categories,
-- quantity, amount_minor, discount_minor, tax_minor}]. `recorded_event_id` is the id of its bill.recorded.v1;
-- stream_id, source, event_id name the till's entry, null where the bill came by HTTP.
CREATE TABLE bills (
    bill_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    merchant text NOT NULL,
    bill_ref text NOT NULL,
    terminal text,
    cashier text,
    channel text,
    occurred_at timestamptz NOT NULL,
    currency text NOT NULL CHECK (char_length(currency) = 3),
    total_minor bigint NOT NULL CHECK (total_minor BETWEEN 0 AND 1000000000000),
    identity_kind text,
    identity bytea CHECK (octet_length(identity) = 16),
    programmes text [],
    lines json NOT NULL,
    recorded_event_id uuid NOT NULL,
    stream_id text,
    source text,
    event_id text,
    tenders json, -- [[tender, amount_minor]] by tender; null where the till did not say
    CHECK (num_nulls(identity_kind, identity) IN (0, 2)),
    CHECK (num_nulls(stream_id, source, event_id) IN (0, 3)),
    PRIMARY KEY (bill_id, recorded_at)
) PARTITION BY RANGE (recorded_at);
-- bills: append-only, a partition for each month.

-- The judgements of a bill, numbered from 1. The first answers it; a waiting bill gets another when it is settled.
-- `sequence` is that of the last event about the bill which this decision said; `decision` is services/earn/domain's
-- Decision: the inputs used, each rule tried with its result, every number on the way.
CREATE TABLE decisions (
    bill_id uuid NOT NULL,
    n smallint NOT NULL CHECK (n >= 1),
    status text NOT NULL
        CHECK (status IN ('earned', 'held', 'mixed', 'nothing', 'anonymous', 'waiting', 'unclaimed')),
    decided_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    sequence int NOT NULL CHECK (sequence >= 1),
    decision json NOT NULL,
    PRIMARY KEY (bill_id, n, recorded_at)
) PARTITION BY RANGE (recorded_at);
-- decisions: append-only, a partition for each month.

-- What a bill is worth in a wallet, once for ever; by wallet, whose bills are looked for. Zero points are kept and never
-- announced.
CREATE TABLE accruals (
    bill_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('earn', 'earn_held')),
    accrual_id uuid NOT NULL UNIQUE,
    points bigint NOT NULL CHECK (points >= 0),
    PRIMARY KEY (wallet_id, bill_id, kind)
);
-- accruals: append-only.

-- ---------------------------------------------------------------- caps and budgets

-- What a campaign has given; spent = decided - given back, and both only rise. The limit stands in the programme's versions.
CREATE TABLE budgets (
    programme text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    decided bigint NOT NULL DEFAULT 0 CONSTRAINT budgets_decided_never_negative CHECK (decided >= 0),
    given_back bigint NOT NULL DEFAULT 0
        CONSTRAINT budgets_given_back_at_most_decided CHECK (given_back BETWEEN 0 AND decided),
    PRIMARY KEY (programme, campaign)
) WITH (fillfactor = 50);

-- What a member was given in a period, `since` its first day; `campaign` is empty for all that the programme gives.
CREATE TABLE caps (
    wallet_id uuid NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    period text COLLATE "C" NOT NULL CHECK (period IN ('day', 'week', 'month', 'year')),
    since date NOT NULL,
    decided bigint NOT NULL DEFAULT 0 CONSTRAINT caps_decided_never_negative CHECK (decided >= 0),
    given_back bigint NOT NULL DEFAULT 0
        CONSTRAINT caps_given_back_at_most_decided CHECK (given_back BETWEEN 0 AND decided),
    PRIMARY KEY (wallet_id, campaign, period, since)
) WITH (fillfactor = 80);

-- ---------------------------------------------------------------- bills that wait

-- A bill that was answered `waiting` at `taken_at`: for what (as in `awaited`), and since when, read on waiting_clock.
-- `ready` is set by whoever learned what it waits for. Gone once settled; `n` and `sequence` are of the last decision.
CREATE TABLE waiting (
    bill_id uuid PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('merchant', 'terminal', 'programme', 'identity', 'member')),
    key text NOT NULL,
    taken_at timestamptz NOT NULL,
    since_ms bigint NOT NULL,
    unclaimed boolean NOT NULL DEFAULT false,
    ready boolean NOT NULL DEFAULT false,
    n smallint NOT NULL CHECK (n >= 1),
    sequence int NOT NULL CHECK (sequence >= 1),
    request_id text NOT NULL,
    traceparent text -- of the caller, for the events to come
);

CREATE INDEX waiting_for ON waiting (kind, key);
CREATE INDEX waiting_ready ON waiting (bill_id) WHERE ready;
CREATE INDEX waiting_since ON waiting (since_ms) WHERE NOT unclaimed;

-- The clock of the deadline: it runs only while earn has heard all that was told of what bills wait for.
CREATE TABLE waiting_clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    running_ms bigint NOT NULL DEFAULT 0 CHECK (running_ms >= 0),
    ticked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

INSERT INTO waiting_clock DEFAULT VALUES;

-- ---------------------------------------------------------------- entries that were rejected

-- One bill.rejected.v1 per offered thing: `key` is SHA-256 over (source, id, body, code), or over (entry id, code)
-- where the envelope can't be read or must not be kept. `reply` is the event as it was said: a repeat gets it again.
CREATE TABLE rejections (
    key bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    subject text NOT NULL,
    sequence int NOT NULL CHECK (sequence >= 1),
    event_id uuid NOT NULL,
    code text NOT NULL,
    data bytea NOT NULL,
    recorded_at timestamptz NOT NULL,
    UNIQUE (subject, sequence)
);
-- rejections: append-only.

-- How many rejections each subject has had: the row that is locked to count on.
CREATE TABLE rejection_counts (
    subject text PRIMARY KEY,
    sequence int NOT NULL DEFAULT 0 CHECK (sequence >= 0)
);
