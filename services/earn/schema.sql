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
    tier_until timestamptz, -- from then on the first tier counts again; null: it does not end
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
    until timestamptz,
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

-- ---------------------------------------------------------------- refunds

-- Sagas between earn and the bank. What was asked and what was answered is append-only; where a refund stands is the one row
-- that changes, under the lock of its bill's saga.

-- The row that is locked before anything more is said about a settled bill. `sequence` is that of the last event about it,
-- `refunds` how many refunds it has had.
CREATE TABLE sagas (
    bill_id uuid PRIMARY KEY,
    sequence int NOT NULL CHECK (sequence >= 1),
    refunds int NOT NULL DEFAULT 0 CHECK (refunds >= 0)
) WITH (fillfactor = 80);

-- Second net: one refund per (merchant, refund_ref), by whatever way it came. `content_hash` is SHA-256 of the refund's
-- canonical bytes, which stand in README.md.
CREATE TABLE refund_keys (
    merchant text COLLATE "C" NOT NULL,
    refund_ref text COLLATE "C" NOT NULL,
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    refund_id uuid NOT NULL UNIQUE,
    PRIMARY KEY (merchant, refund_ref)
);

-- refund_keys: append-only.

-- A refund: what was asked (never changed), and where it stands. `n` counts the refunds of the bill in the order in which
-- they were taken; null while the bill has not come, and for one that could not be taken when it came. `amounts`: of each
-- line of the bill, how much; of a bill without lines, the one total. `told_status` is what it was answered first,
-- `sequence` that of the last event about the refund.
CREATE TABLE refunds (
    refund_id uuid PRIMARY KEY,
    merchant text COLLATE "C" NOT NULL,
    refund_ref text NOT NULL,
    bill_ref text COLLATE "C" NOT NULL,
    terminal text,
    cashier text,
    channel text,
    occurred_at timestamptz NOT NULL,
    currency text NOT NULL CHECK (char_length(currency) = 3),
    asked json NOT NULL,
    told_status text NOT NULL CHECK (told_status IN ('waiting_for_bill', 'pending', 'completed', 'refused')),
    recorded_event_id uuid NOT NULL,
    stream_id text,
    source text,
    event_id text,
    request_id text NOT NULL,
    traceparent text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    status text NOT NULL CHECK (status IN ('waiting_for_bill', 'queued', 'pending', 'completed', 'refused')),
    bill_id uuid,
    n int CHECK (n >= 1),
    amounts bigint [],
    refunded_minor bigint CHECK (refunded_minor >= 0),
    code text,
    detail text,
    sequence int NOT NULL CHECK (sequence >= 1),
    settled_event_id uuid,
    settled_at timestamptz,
    CHECK (num_nulls(stream_id, source, event_id) IN (0, 3)),
    CHECK (num_nulls(n, amounts, refunded_minor) IN (0, 3)),
    CHECK (n IS NULL OR bill_id IS NOT NULL),
    CHECK (n IS NOT NULL OR status IN ('waiting_for_bill', 'refused')),
    CHECK (num_nulls(code, detail) = CASE WHEN status = 'refused' THEN 0 ELSE 2 END),
    UNIQUE (bill_id, n)
) WITH (fillfactor = 80);

CREATE INDEX refunds_open ON refunds (refund_id) WHERE status IN ('waiting_for_bill', 'queued', 'pending');
-- One refund of a bill is in flight.
CREATE UNIQUE INDEX refunds_in_flight ON refunds (bill_id) WHERE status = 'pending';

-- `currency`: in which the programme counts whose points are taken back; null: in the bill's.
-- What the bank was asked for a refund. By now `through_minor` of `of_minor` are refunded: of the lines that earned the
-- accrual, or of the bill's total where what paid is given back; `part_minor` by this refund. `target`: how many points of
-- the accrual are to be taken back in all.
CREATE TABLE refund_requests (
    request_id uuid PRIMARY KEY,
    refund_id uuid NOT NULL REFERENCES refunds,
    bill_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('reversal', 'return')),
    accrual_id uuid,
    wallet_id uuid,
    programme text,
    point_value text,
    on_spent text CHECK (on_spent IN ('block', 'partial', 'debt')),
    part_minor bigint NOT NULL CHECK (part_minor >= 1),
    through_minor bigint NOT NULL,
    of_minor bigint NOT NULL,
    target bigint CHECK (target >= 0),
    effective_at timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    currency text CHECK (char_length(currency) = 3),
    CHECK (part_minor <= through_minor AND through_minor <= of_minor),
    CHECK (
        num_nulls(accrual_id, wallet_id, programme, point_value, on_spent, target)
        = CASE kind WHEN 'reversal' THEN 0 ELSE 6 END
    ),
    UNIQUE (refund_id, accrual_id)
);

CREATE INDEX refund_requests_bill ON refund_requests (bill_id);
-- refund_requests: append-only.

-- Each time that a request was told to the bank, under the same request_id; `sequence` is the place among the events about
-- the bill.
CREATE TABLE refund_asks (
    request_id uuid NOT NULL REFERENCES refund_requests,
    sequence int NOT NULL CHECK (sequence >= 1),
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, sequence)
);

-- refund_asks: append-only.

-- What the bank answered, each answer once: one to a reversal; to a return one for each of the `parts` redemptions that had
-- paid, and again when it was asked again.
CREATE TABLE refund_answers (
    request_id uuid NOT NULL REFERENCES refund_requests,
    answer_event_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('reversed', 'refused', 'returned')),
    redemption_id uuid,
    parts int NOT NULL CHECK (parts >= 1),
    wallet_id uuid,
    programme text,
    reversed bigint NOT NULL CHECK (reversed >= 0),
    hold_cancelled bigint NOT NULL CHECK (hold_cancelled >= 0),
    owed bigint NOT NULL CHECK (owed >= 0),
    lapsed bigint NOT NULL CHECK (lapsed >= 0),
    shortfall bigint NOT NULL CHECK (shortfall >= 0),
    returned bigint NOT NULL CHECK (returned >= 0),
    money_minor bigint NOT NULL CHECK (money_minor >= 0),
    currency text,
    code text,
    detail text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    late boolean NOT NULL DEFAULT false, -- the request was answered before: these points came back since
    PRIMARY KEY (request_id, answer_event_id)
);

-- refund_answers: append-only.

-- ---------------------------------------------------------------- points that are held

-- Written with the decision. `points` of the accrual are this rule's; `released` of them are by now, and `cancelled` were taken
-- back by refunds while they were held. `next_at`: when more of them are due; null where no day releases them, and where none
-- is held any more.
CREATE TABLE hold_plans (
    accrual_id uuid NOT NULL,
    rule text NOT NULL,
    bill_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    programme text NOT NULL,
    currency text NOT NULL,
    point_value text NOT NULL,
    points bigint NOT NULL CHECK (points >= 1),
    until text NOT NULL CHECK (until IN ('activation', 'date', 'day_by_day')),
    billed_on date NOT NULL,
    days int NOT NULL CHECK (days >= 0),
    last_on date,
    zone text NOT NULL,
    released bigint NOT NULL DEFAULT 0,
    next_at timestamptz,
    cancelled bigint NOT NULL DEFAULT 0,
    CONSTRAINT hold_plans_release_what_they_hold CHECK (released >= 0 AND cancelled >= 0 AND released + cancelled <= points),
    CHECK ((until = 'activation') = (last_on IS NULL)),
    PRIMARY KEY (accrual_id, rule)
) WITH (fillfactor = 80);

CREATE INDEX hold_plans_bill ON hold_plans (bill_id);
CREATE INDEX hold_plans_due ON hold_plans (next_at) WHERE next_at IS NOT NULL;

-- What was bought with this bill is activated, or delivered: said once. Not `applied` while the bill is not judged.
CREATE TABLE activations (
    bill_id uuid PRIMARY KEY,
    activated_at timestamptz NOT NULL,
    applied boolean NOT NULL DEFAULT false
);

CREATE INDEX activations_waiting ON activations (bill_id) WHERE NOT applied;

-- Each points.release_requested: `release_through` of the accrual in all; `sequence` is its place among the events about the
-- bill.
CREATE TABLE hold_releases (
    request_id uuid PRIMARY KEY,
    bill_id uuid NOT NULL,
    accrual_id uuid NOT NULL,
    release_through bigint NOT NULL CHECK (release_through >= 1),
    sequence int NOT NULL CHECK (sequence >= 1),
    effective_at timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    UNIQUE (accrual_id, release_through),
    UNIQUE (bill_id, sequence)
);

-- hold_releases: append-only.

-- ---------------------------------------------------------------- acts besides bills

-- The net against repeats: one act per (source, act_ref), by whatever way it came. `content_hash` is SHA-256 of the act's
-- canonical bytes, which stand in README.md.
CREATE TABLE act_keys (
    source text COLLATE "C" NOT NULL CHECK (char_length(source) BETWEEN 1 AND 600),
    act_ref text COLLATE "C" NOT NULL CHECK (char_length(act_ref) BETWEEN 1 AND 255),
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    act_id uuid NOT NULL UNIQUE,
    PRIMARY KEY (source, act_ref)
);
-- act_keys: append-only.

-- `data` is json, not jsonb: the bytes that were hashed are the bytes that are kept. stream_id, event_source, event_id name the
-- entry that told of it, null where it came by HTTP or of itself.
CREATE TABLE acts (
    act_id uuid PRIMARY KEY,
    source text COLLATE "C" NOT NULL,
    act_ref text COLLATE "C" NOT NULL,
    act text NOT NULL,
    occurred_at timestamptz NOT NULL,
    merchant text,
    programme text,
    identity_kind text NOT NULL,
    identity bytea NOT NULL CHECK (octet_length(identity) = 16),
    data json NOT NULL,
    recorded_event_id uuid NOT NULL,
    stream_id text,
    event_source text,
    event_id text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nulls(stream_id, event_source, event_id) IN (0, 3))
);
-- acts: append-only.

-- The judgements of an act, numbered from 1, as those of a bill; `decision` is services/earn/domain/acts' ActDecision.
CREATE TABLE act_decisions (
    act_id uuid NOT NULL REFERENCES acts,
    n smallint NOT NULL CHECK (n >= 1),
    status text NOT NULL CHECK (status IN ('earned', 'nothing', 'waiting', 'unclaimed')),
    decided_at timestamptz NOT NULL,
    sequence int NOT NULL CHECK (sequence >= 1),
    decision json NOT NULL,
    PRIMARY KEY (act_id, n)
);
-- act_decisions: append-only.

-- What an act is worth in a wallet, once for ever.
CREATE TABLE act_accruals (
    act_id uuid NOT NULL REFERENCES acts,
    wallet_id uuid NOT NULL,
    accrual_id uuid NOT NULL UNIQUE,
    points bigint NOT NULL CHECK (points >= 1),
    PRIMARY KEY (act_id, wallet_id)
);
-- act_accruals: append-only.

-- Acts that wait, as bills do in `waiting`; gone once settled.
CREATE TABLE act_waiting (
    act_id uuid PRIMARY KEY REFERENCES acts,
    kind text NOT NULL CHECK (kind IN ('merchant', 'programme', 'identity', 'member')),
    key text NOT NULL,
    taken_at timestamptz NOT NULL,
    since_ms bigint NOT NULL,
    unclaimed boolean NOT NULL DEFAULT false,
    ready boolean NOT NULL DEFAULT false,
    n smallint NOT NULL CHECK (n >= 1),
    sequence int NOT NULL CHECK (sequence >= 1),
    request_id text NOT NULL,
    traceparent text
);

CREATE INDEX act_waiting_for ON act_waiting (kind, key);
CREATE INDEX act_waiting_ready ON act_waiting (act_id) WHERE ready;
CREATE INDEX act_waiting_since ON act_waiting (since_ms) WHERE NOT unclaimed;

-- ---------------------------------------------------------------- rates between currencies

-- As members told them: a bill in another currency is converted by one, and says which.
CREATE TABLE currency_rates (
    from_currency text NOT NULL,
    to_currency text NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    rate text NOT NULL,
    valid_from timestamptz NOT NULL,
    source text NOT NULL,
    PRIMARY KEY (from_currency, to_currency, number)
);
-- currency_rates: append-only.
