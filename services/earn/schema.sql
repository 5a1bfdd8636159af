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
    brand text,
    cashiers json -- {cashier: member_id} of those who are members; null: none is known
);

-- A merchant's terminals are the listed ones, those of its latest version: what another rings up is refused. Rows are only added: a
-- bill that was taken while its terminal was listed is judged.
CREATE TABLE terminals (
    merchant text COLLATE "C" NOT NULL REFERENCES merchants,
    terminal text COLLATE "C" NOT NULL,
    listed boolean NOT NULL DEFAULT true,
    PRIMARY KEY (merchant, terminal)
);

-- A member is known once its enrolment was heard; a card alone does not yet name all its wallets.
CREATE TABLE members (
    member_id uuid PRIMARY KEY,
    enrolled_at timestamptz NOT NULL,
    birth_month smallint CHECK (birth_month BETWEEN 1 AND 12) -- null: not known
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

-- Every word about which segments a member is in, by its place among the events about the member: of a stay, named by when it
-- began, the last word stands.
CREATE TABLE segment_stays (
    member_id uuid NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 1),
    segment text COLLATE "C" NOT NULL,
    from_at timestamptz NOT NULL,
    until_at timestamptz,
    PRIMARY KEY (member_id, sequence)
);
-- segment_stays: append-only.

-- Members who go on as another; of a chain each link.
CREATE TABLE merged_members (
    member_id uuid PRIMARY KEY,
    merged_into uuid NOT NULL,
    CONSTRAINT merged_members_into_another CHECK (merged_into <> member_id)
);

-- Wallets that were merged, each with the one that goes on, through every merge.
CREATE TABLE heirs (
    wallet_id uuid PRIMARY KEY,
    heir uuid NOT NULL,
    since timestamptz DEFAULT clock_timestamp(), -- when it was led there last; null: from before this was kept
    CONSTRAINT heirs_of_another CHECK (heir <> wallet_id)
);

CREATE INDEX heirs_of_wallet ON heirs (heir);

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
    effects_applied json, -- [[programme, campaign, amount_minor]] in this order; null where the till gave nothing for one
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
-- Here, and in caps, a campaign that ends in /money counts minor units, one that ends in /times how often: what it gives at
-- the checkout. No code has a slash.
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

-- Who offered a bill, an act or a refund that was not settled, or told an activation before its bill (named by the event that recorded
-- it), besides the entry that it came by; `n` in which order.
CREATE TABLE listeners (
    subject_id uuid NOT NULL,
    stream_id text NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    n bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (subject_id, source, event_id)
);
-- listeners: append-only.

-- Each bill.settled.v1 and act.settled.v1: for the decision of this number; `told`: how many entries stood in it, the own one first
-- and then listeners in their order. Of refund.settled.v1 and activation.settled.v1 those that others were told than the own entry; `n`:
-- the event's place.
CREATE TABLE settled_events (
    subject_id uuid NOT NULL,
    n smallint NOT NULL CHECK (n > 1),
    event_id uuid NOT NULL,
    told int NOT NULL CHECK (told >= 0),
    PRIMARY KEY (subject_id, n)
);
-- settled_events: append-only.

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
    until text NOT NULL CHECK (until IN ('activation', 'date', 'day_by_day', 'review')),
    billed_on date NOT NULL,
    days int NOT NULL CHECK (days >= 0),
    last_on date,
    zone text NOT NULL,
    released bigint NOT NULL DEFAULT 0,
    next_at timestamptz,
    cancelled bigint NOT NULL DEFAULT 0,
    CONSTRAINT hold_plans_release_what_they_hold CHECK (released >= 0 AND cancelled >= 0 AND released + cancelled <= points),
    CHECK ((until IN ('activation', 'review')) = (last_on IS NULL)),
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

-- The first word about each bill: when it was activated by the till's clock, and the entry that said so. `bill_id` once the bill is known;
-- `waited`: it was not at first. Nothing else of a row changes.
CREATE TABLE told_activations (
    merchant text COLLATE "C" NOT NULL,
    bill_ref text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    stream_id text NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    request_id text NOT NULL,
    traceparent text,
    recorded_event_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    waited boolean NOT NULL,
    bill_id uuid,
    settled_event_id uuid,
    settled_at timestamptz,
    PRIMARY KEY (merchant, bill_ref),
    CHECK (waited OR bill_id IS NOT NULL),
    CHECK (num_nulls(settled_event_id, settled_at) = CASE WHEN waited AND bill_id IS NOT NULL THEN 0 ELSE 2 END)
) WITH (fillfactor = 80);

CREATE INDEX told_activations_waiting ON told_activations (merchant, bill_ref) WHERE bill_id IS NULL;

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

-- ---------------------------------------------------------------- fraud guards

-- The bills of members in programmes that have guards, as these count them.
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
CREATE INDEX sightings_by_time ON sightings USING brin (occurred_at);

-- Of these programmes no sighting of a bill that happened `before` that is needed any more; it only rises.
CREATE TABLE thinned_sightings (
    programme text COLLATE "C" PRIMARY KEY,
    before timestamptz NOT NULL
);

-- A bill that a guard flagged, in a wallet: all that it earned there is held until somebody releases or cancels it. `request_id`
-- and `sequence`: what the bank is asked for a cancelled one, and its place among the events about the bill; `taken`: what the bank
-- took, debt included.
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
    CHECK (answer_event_id IS NULL OR state = 'cancelled'),
    CONSTRAINT reviews_money_can_be_told CHECK (
        point_value ~ '^[0-9]{1,15}([.][0-9]{1,12})?$' AND point_value ~ '[1-9]'
        AND currency ~ (
            '^(AED|AFN|ALL|AMD|ANG|AOA|ARS|AUD|AWG|AZN|BAM|BBD|BDT|BGN|BHD|BIF|BMD|BND|BOB|BOV|BRL|BSD|BTN|BWP|BYN|BZD|CAD|CDF|'
            'CHE|CHF|CHW|CLF|CLP|CNY|COP|COU|CRC|CUP|CVE|CZK|DJF|DKK|DOP|DZD|EGP|ERN|ETB|EUR|FJD|FKP|GBP|GEL|GHS|GIP|GMD|GNF|'
            'GTQ|GYD|HKD|HNL|HTG|HUF|IDR|ILS|INR|IQD|IRR|ISK|JMD|JOD|JPY|KES|KGS|KHR|KMF|KPW|KRW|KWD|KYD|KZT|LAK|LBP|LKR|LRD|'
            'LSL|LYD|MAD|MDL|MGA|MKD|MMK|MNT|MOP|MRU|MUR|MVR|MWK|MXN|MXV|MYR|MZN|NAD|NGN|NIO|NOK|NPR|NZD|OMR|PAB|PEN|PGK|PHP|'
            'PKR|PLN|PYG|QAR|RON|RSD|RUB|RWF|SAR|SBD|SCR|SDG|SEK|SGD|SHP|SLE|SOS|SRD|SSP|STN|SVC|SYP|SZL|THB|TJS|TMT|TND|TOP|'
            'TRY|TTD|TWD|TZS|UAH|UGX|USD|USN|UYI|UYU|UYW|UZS|VED|VES|VND|VUV|WST|XAF|XCD|XCG|XOF|XPF|YER|ZAR|ZMW|ZWG)$'
        )
    ),
    CONSTRAINT reviews_moments_can_be_told CHECK (
        extract(YEAR FROM occurred_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9999
        AND extract(YEAR FROM flagged_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9999
        AND extract(YEAR FROM decided_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9999
    ),
    CONSTRAINT reviews_patterns_known CHECK (
        array_ndims(patterns) = 1
        AND patterns <@ ARRAY['member_rate', 'terminal_rate', 'duplicate', 'own_card', 'many_cards', 'refund_loop']
    )
) WITH (fillfactor = 80);

CREATE INDEX reviews_bill ON reviews (bill_id);
CREATE INDEX reviews_open ON reviews (review_id) WHERE state = 'open';

-- ---------------------------------------------------------------- settlement

-- What a merchant (`total`) or its bank (`deposit`) says that a day came to; it may be finer than the minor unit. Several of a kind add
-- up: a correction has a reference of its own.
CREATE TABLE settlement_lines (
    merchant text COLLATE "C" NOT NULL,
    day date NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('total', 'deposit')),
    reference text COLLATE "C" NOT NULL CHECK (char_length(reference) <= 128),
    currency text NOT NULL,
    amount_minor numeric NOT NULL,
    zone text NOT NULL,
    file_hash bytea NOT NULL CHECK (octet_length(file_hash) = 32),
    imported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    programme text, -- whose total takes foreign bills converted; null: an older line, of bills in its currency alone
    PRIMARY KEY (merchant, day, kind, reference)
);
-- settlement_lines: append-only.

CREATE INDEX settlement_lines_day ON settlement_lines (day);

-- Where that is off by more than half a minor unit from the bills less the refunds of that day; `owner`: who looks after it.
CREATE TABLE settlement_variances (
    variance_id uuid PRIMARY KEY,
    merchant text COLLATE "C" NOT NULL,
    day date NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('total', 'deposit')),
    currency text NOT NULL,
    zone text NOT NULL,
    expected_minor bigint NOT NULL,
    found_minor numeric NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- on PostgreSQL's clock, as what it was computed from
    owner text,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'explained', 'closed')),
    reason text,
    programme text, -- of the lines
    missing text CHECK (missing IN ('total', 'bills')), -- nobody said a total of these bills, or there are none to what was said
    agreed boolean NOT NULL DEFAULT false, -- the job closed it, for its day agreed
    CHECK (abs(found_minor - expected_minor) > 0.5),
    CHECK (state = 'open' OR reason IS NOT NULL)
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX settlement_variances_once ON settlement_variances (merchant, day, kind, currency) WHERE state <> 'closed';

-- ---------------------------------------------------------------- stamp cards, and what the bank is asked to issue

-- The stamps on a member's card: below zero where a used reward's stamps were taken back. A row is locked before those of caps.
CREATE TABLE stamp_cards (
    wallet_id uuid NOT NULL,
    card text COLLATE "C" NOT NULL,
    progress bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (wallet_id, card)
) WITH (fillfactor = 80);

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

-- Who told whom of a programme, as it was heard with the enrolment; and the first bill of the referred member in it, which decides
-- once whether both get something. It is written when that bill is judged, and never changes after.

CREATE TABLE referrals (
    member_id uuid NOT NULL,
    programme text COLLATE "C" NOT NULL,
    referrer_id uuid NOT NULL CONSTRAINT referrals_not_of_oneself CHECK (referrer_id <> member_id),
    outcome text CHECK (outcome IN ('reached', 'below', 'not_first', 'not_declared')),
    bill_id uuid,
    occurred_at timestamptz,
    version int CHECK (version >= 1),
    amount_minor bigint CHECK (amount_minor >= 0),
    minimum_minor bigint CHECK (minimum_minor >= 0),
    due boolean NOT NULL DEFAULT false, -- both acts are still to be recorded
    review boolean NOT NULL DEFAULT false, -- a refund of the bill moved, and it has not been looked at since
    PRIMARY KEY (member_id, programme),
    CHECK (num_nulls(outcome, bill_id, occurred_at, version, amount_minor) IN (0, 5)),
    CHECK ((outcome IN ('reached', 'below')) IS NOT DISTINCT FROM (minimum_minor IS NOT NULL) OR outcome IS NULL),
    CHECK (outcome <> 'reached' OR amount_minor >= minimum_minor),
    CHECK (outcome <> 'below' OR amount_minor < minimum_minor),
    CHECK (NOT due OR coalesce(outcome = 'reached', false)),
    CONSTRAINT referrals_review_of_reached CHECK (NOT review OR coalesce(outcome = 'reached', false))
) WITH (fillfactor = 80);

CREATE INDEX referrals_due ON referrals (member_id) WHERE due;
CREATE INDEX referrals_bill ON referrals (bill_id) WHERE outcome = 'reached';
CREATE INDEX referrals_review ON referrals (member_id) WHERE review;

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
-- What was told of the accruals of each day that is over: a day again only where another count was found (docs/decisions/0135).
CREATE TABLE told_days (
    day date NOT NULL, -- UTC, of the accruals' ids
    sequence int NOT NULL CHECK (sequence >= 1),
    programmes jsonb NOT NULL, -- [{programme, accruals, points, digest}]
    told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (day, sequence)
);
-- told_days: append-only.
