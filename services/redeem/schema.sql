-- What redeem keeps. For reading: migrations/ makes it, and a test holds the two equal.
-- The bytes that are hashed into `ledger.hash`, and the rules between these tables, are in docs/ledger.md.

CREATE TYPE bucket AS ENUM (
    'issued', 'held', 'available', 'reserved', 'redeemed', 'expired', 'reversed', 'transferred', 'adjusted', 'debt'
);

CREATE TYPE posting_kind AS ENUM (
    'earn', 'earn_held', 'release', 'cancel_hold', 'reserve', 'void', 'redeem', 'return', 'expire', 'reinstate',
    'reverse', 'transfer', 'adjust', 'owe', 'overdraw', 'repay', 'opening', 'merge'
);

-- A member's points in one programme: the only row that a posting locks, and the only one that it counts in.
-- No index but the primary key, and room in each page: an update stays HOT.
CREATE TABLE wallets (
    wallet_id uuid PRIMARY KEY,
    programme text NOT NULL,
    member_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'active',
    merged_into uuid,
    issued bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    available bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    redeemed bigint NOT NULL DEFAULT 0,
    expired bigint NOT NULL DEFAULT 0,
    reversed bigint NOT NULL DEFAULT 0,
    transferred bigint NOT NULL DEFAULT 0,
    adjusted bigint NOT NULL DEFAULT 0,
    debt bigint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT 0, -- of the last ledger line; lines count from 1 without a gap
    event_sequence bigint NOT NULL DEFAULT 0, -- of the last event about this wallet
    head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'), -- hash of the last ledger line
    last_posted_at timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00Z',
    last_active_at timestamptz, -- when points last came, or were spent or given
    CONSTRAINT wallets_issued_never_positive CHECK (issued <= 0),
    CONSTRAINT wallets_held_never_negative CHECK (held >= 0),
    CONSTRAINT wallets_available_never_negative CHECK (available >= 0),
    CONSTRAINT wallets_reserved_never_negative CHECK (reserved >= 0),
    CONSTRAINT wallets_redeemed_never_negative CHECK (redeemed >= 0),
    CONSTRAINT wallets_expired_never_negative CHECK (expired >= 0),
    CONSTRAINT wallets_reversed_never_negative CHECK (reversed >= 0),
    CONSTRAINT wallets_debt_never_positive CHECK (debt <= 0),
    CONSTRAINT wallets_buckets_sum_to_zero CHECK (
        issued + held + available + reserved + redeemed + expired + reversed + transferred + adjusted + debt = 0
    ),
    CONSTRAINT wallets_status_known CHECK (status IN ('active', 'blocked', 'closed', 'merged')),
    CONSTRAINT wallets_merged_names_its_heir CHECK ((status = 'merged') = (merged_into IS NOT NULL)),
    CONSTRAINT wallets_counters_never_negative CHECK (seq >= 0 AND event_sequence >= 0),
    CONSTRAINT wallets_head_is_sha256 CHECK (octet_length(head) = 32)
) WITH (fillfactor = 70);

-- Wallets that were merged, each with the wallet that has its points now, through every merge: what is posted for one of these is
-- posted there. `wallets.merged_into` keeps the merge itself.
CREATE TABLE heirs (
    wallet_id uuid PRIMARY KEY,
    heir uuid NOT NULL,
    CONSTRAINT heirs_of_another CHECK (heir <> wallet_id)
);

CREATE INDEX heirs_of_wallet ON heirs (heir);

-- Members that were merged, and who they go on as; of a chain each link.
CREATE TABLE merged_members (
    member_id uuid PRIMARY KEY,
    merged_into uuid NOT NULL,
    CONSTRAINT merged_members_into_another CHECK (merged_into <> member_id)
);

CREATE INDEX merged_members_into ON merged_members (merged_into);

-- In which month members were born, as far as members told: points may expire at the end of it.
CREATE TABLE birth_months (
    member_id uuid PRIMARY KEY,
    month smallint NOT NULL,
    CONSTRAINT birth_months_of_a_year CHECK (month BETWEEN 1 AND 12)
);

-- Acts that earned points, as the bank heard of them: a line whose source_id stands here was earned by an act, not by a bill.
CREATE TABLE acts (
    act_id uuid PRIMARY KEY
);

-- Points earned together: what is spent, expired or reversed is always taken from named lots.
-- remaining = what is usable + held + reserved. No foreign key to the wallet: its writer holds that row's lock already.
CREATE TABLE lots (
    lot_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    accrual_id uuid NOT NULL, -- the posting that opened it
    source_id uuid, -- the bill, or other act, that it was earned by (`acts` says which are acts)
    parent_lot uuid, -- the lot that it was split or moved from
    earned_at timestamptz NOT NULL, -- the accrual's effective_at
    expires_at timestamptz, -- null: never
    points bigint NOT NULL,
    remaining bigint NOT NULL,
    held bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    open boolean GENERATED ALWAYS AS (remaining > 0) STORED,
    given boolean NOT NULL DEFAULT false, -- by another wallet: no reversal of what that one earned follows it
    expired bigint NOT NULL DEFAULT 0, -- of it, and not reinstated
    reversed bigint NOT NULL DEFAULT 0, -- of it, held points that were cancelled too
    owed bigint NOT NULL DEFAULT 0, -- reversed after it was spent
    opened_expires_at timestamptz, -- what expires_at was at first, where it was changed since; infinity: never
    CONSTRAINT lots_points_positive CHECK (points > 0),
    CONSTRAINT lots_remaining_within_points CHECK (remaining BETWEEN 0 AND points),
    CONSTRAINT lots_parts_within_remaining CHECK (held >= 0 AND reserved >= 0 AND held + reserved <= remaining),
    CONSTRAINT lots_what_left_within_points CHECK (expired >= 0 AND reversed >= 0 AND remaining + expired + reversed <= points),
    CONSTRAINT lots_owed_within_points CHECK (owed BETWEEN 0 AND points)
) WITH (fillfactor = 80);

-- Both consumption orders read a wallet's open lots through this one. The predicate is the generated column because an
-- update of a column that an index names is never HOT: `open` changes once in a lot's life, `remaining` with every use.
-- `expires_at` is there for the `meet` of the release before.
CREATE INDEX lots_open ON lots (wallet_id, earned_at, lot_id, expires_at) WHERE open;

-- A wallet may have very many: those that have expired, or soon will, are found without the others.
CREATE INDEX lots_ending ON lots (wallet_id, expires_at) WHERE open AND expires_at IS NOT NULL;

-- What is due, or soon will be: the sweep goes along it. An update leaves it alone but for the one that closes the lot or changes
-- its expiry.
CREATE INDEX lots_expiring ON lots (expires_at, lot_id) WHERE open AND expires_at IS NOT NULL;

-- The lots that were made of another one.
CREATE INDEX lots_parent ON lots (parent_lot) WHERE parent_lot IS NOT NULL;

-- One move of points from one bucket of a wallet to another; never changed, never deleted.
CREATE TABLE ledger (
    wallet_id uuid NOT NULL,
    seq bigint NOT NULL,
    posting_id uuid NOT NULL,
    posted_at timestamptz NOT NULL, -- when we wrote it: PostgreSQL's clock, after the wallet's lock, rising line by line
    effective_at timestamptz NOT NULL, -- when it happened
    points bigint NOT NULL,
    money_minor bigint NOT NULL, -- what these points were worth when they were posted, in the programme's currency
    available_after bigint NOT NULL,
    held_after bigint NOT NULL,
    reserved_after bigint NOT NULL,
    debt_after bigint NOT NULL,
    lot_id uuid,
    source_id uuid, -- the bill, act, redemption or whatever else asked for it
    kind posting_kind NOT NULL,
    from_bucket bucket NOT NULL,
    to_bucket bucket NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT ledger_pkey PRIMARY KEY (wallet_id, seq, posted_at),
    CONSTRAINT ledger_seq_positive CHECK (seq > 0),
    CONSTRAINT ledger_points_positive CHECK (points > 0),
    CONSTRAINT ledger_money_never_negative CHECK (money_minor >= 0),
    CONSTRAINT ledger_balances_never_negative CHECK (
        available_after >= 0 AND held_after >= 0 AND reserved_after >= 0 AND debt_after <= 0
    ),
    CONSTRAINT ledger_names_its_lot CHECK (lot_id IS NOT NULL OR kind IN ('overdraw', 'merge')),
    CONSTRAINT ledger_hash_is_sha256 CHECK (octet_length(hash) = 32),
    CONSTRAINT ledger_move_is_of_its_kind CHECK (
        CASE kind
            WHEN 'earn' THEN from_bucket = 'issued' AND to_bucket = 'available'
            WHEN 'redeem' THEN from_bucket IN ('available', 'reserved') AND to_bucket = 'redeemed'
            WHEN 'expire' THEN from_bucket IN ('available', 'held') AND to_bucket = 'expired'
            WHEN 'earn_held' THEN from_bucket = 'issued' AND to_bucket = 'held'
            WHEN 'release' THEN from_bucket = 'held' AND to_bucket = 'available'
            WHEN 'cancel_hold' THEN from_bucket = 'held' AND to_bucket = 'reversed'
            WHEN 'reserve' THEN from_bucket = 'available' AND to_bucket = 'reserved'
            WHEN 'void' THEN from_bucket = 'reserved' AND to_bucket = 'available'
            WHEN 'return' THEN from_bucket = 'redeemed' AND to_bucket = 'available'
            WHEN 'reinstate' THEN from_bucket = 'expired' AND to_bucket = 'available'
            WHEN 'reverse' THEN from_bucket = 'available' AND to_bucket = 'reversed'
            WHEN 'transfer' THEN
                (from_bucket = 'available' AND to_bucket = 'transferred')
                OR (from_bucket = 'transferred' AND to_bucket = 'available')
            WHEN 'adjust' THEN
                (from_bucket = 'available' AND to_bucket = 'adjusted')
                OR (from_bucket = 'adjusted' AND to_bucket = 'available')
            WHEN 'owe' THEN from_bucket = 'debt' AND to_bucket = 'reversed'
            WHEN 'overdraw' THEN from_bucket = 'debt' AND to_bucket = 'redeemed'
            WHEN 'repay' THEN from_bucket = 'available' AND to_bucket = 'debt'
            WHEN 'opening' THEN from_bucket = 'issued' AND to_bucket = 'available'
            WHEN 'merge' THEN (from_bucket = 'transferred') <> (to_bucket = 'transferred')
        END
    )
) PARTITION BY RANGE (posted_at);

-- Finds the lines that are newer than a moment (for seals) without reading a month of them, and costs a posting next to nothing.
CREATE INDEX ledger_posted_at ON ledger USING brin (posted_at) WITH (pages_per_range = 32, autosummarize = on);

-- Every posting id that was ever used: what makes a second posting of the same act harmless at any age, by any road.
-- Partitioned by hash and never by time, for a key that is unique only within a month is no key.
CREATE TABLE postings (
    posting_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    points bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- just before its lines' posted_at
    kind posting_kind NOT NULL,
    CONSTRAINT postings_points_positive CHECK (points > 0)
) PARTITION BY HASH (posting_id);

CREATE TABLE postings_0 PARTITION OF postings FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE postings_1 PARTITION OF postings FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE postings_2 PARTITION OF postings FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE postings_3 PARTITION OF postings FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE postings_4 PARTITION OF postings FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE postings_5 PARTITION OF postings FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE postings_6 PARTITION OF postings FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE postings_7 PARTITION OF postings FOR VALUES WITH (MODULUS 8, REMAINDER 7);

-- One spending of points at a merchant.
CREATE TABLE redemptions (
    redemption_id uuid PRIMARY KEY,
    posting_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    programme text NOT NULL,
    programme_version integer NOT NULL,
    status text NOT NULL,
    points bigint NOT NULL,
    money_minor bigint NOT NULL, -- what the points paid for, in the programme's currency
    merchant text NOT NULL,
    terminal text,
    cashier text,
    channel text,
    bill_ref text,
    effective_at timestamptz NOT NULL,
    returned_points bigint NOT NULL DEFAULT 0,
    returned_minor bigint NOT NULL DEFAULT 0,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- when we wrote it
    CONSTRAINT redemptions_status_known CHECK (status IN ('authorised', 'captured', 'voided')),
    CONSTRAINT redemptions_points_positive CHECK (points > 0),
    CONSTRAINT redemptions_money_never_negative CHECK (money_minor >= 0),
    CONSTRAINT redemptions_returned_within_points CHECK (
        returned_points BETWEEN 0 AND points AND returned_minor BETWEEN 0 AND money_minor
    )
);

-- What paid for a bill; and what a wallet spent since some moment, for the limits of its programme.
CREATE INDEX redemptions_by_bill ON redemptions (merchant, bill_ref) WHERE bill_ref IS NOT NULL;
CREATE INDEX redemptions_by_wallet ON redemptions (wallet_id, effective_at);

-- Rows are written in the order of these times: a day is found without reading the years, and a redemption pays next to nothing.
CREATE INDEX redemptions_recorded ON redemptions USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);

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
    settled_at timestamptz, -- when we wrote its end; `ended_at` is when it ended
    bill_most_minor bigint, -- what points may pay of its bill, named or not yet; null: nothing was said of that
    CONSTRAINT reservations_code_once UNIQUE (code_hash),
    CONSTRAINT reservations_code_is_sha256 CHECK (octet_length(code_hash) = 32),
    CONSTRAINT reservations_points_positive CHECK (points > 0),
    CONSTRAINT reservations_captured_within_points CHECK (captured_points BETWEEN 0 AND points AND captured_minor >= 0),
    CONSTRAINT reservations_ended_known CHECK (ended IN ('captured', 'voided', 'expired')),
    CONSTRAINT reservations_settled_when_ended CHECK ((ended IS NULL) = (settled_at IS NULL)),
    CONSTRAINT reservations_end_is_whole CHECK (
        (ended IS NULL) = (ended_at IS NULL)
        AND coalesce(ended = 'captured', false) = (capture_posting IS NOT NULL)
        AND (capture_posting IS NOT NULL) = (captured_points > 0)
        AND (ended IS NOT NULL AND captured_points < points) = (void_posting IS NOT NULL)
    )
);

-- What the job looks for: those that still stand, by the end of their time.
CREATE INDEX reservations_standing ON reservations (expires_at, redemption_id) WHERE ended IS NULL;
CREATE INDEX reservations_settled ON reservations USING brin (settled_at) WITH (pages_per_range = 32, autosummarize = on);

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
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- when we wrote it
    CONSTRAINT returns_ref_once UNIQUE (merchant, return_ref),
    CONSTRAINT returns_points_never_negative CHECK (points >= 0 AND money_minor >= 0),
    CONSTRAINT returns_posting_has_points CHECK ((points > 0) = (posting_id IS NOT NULL)),
    CONSTRAINT returns_asked_by_one CHECK (
        (return_ref IS NULL) = (request_id IS NOT NULL)
        AND (return_ref IS NULL) = (request_hash IS NULL) AND (return_ref IS NULL) = (answer IS NULL)
    )
);

CREATE INDEX returns_of ON returns (redemption_id);
CREATE INDEX returns_recorded ON returns USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);

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
    decided_at timestamptz NOT NULL,
    effective_at timestamptz, -- when the refund happened; null: heard before that was kept, it counts when earn decided
    meant uuid[] -- those that were found: asked again, it means them and no other; null: heard before that was kept
);

-- Which refunds a bill has had, where points are captured for it later.
CREATE INDEX return_requests_of_bill ON return_requests (merchant, bill_ref);

-- Where a refund of a bill and points spent for it that nobody had told of meet: the row is locked before the wallets, by either.
CREATE TABLE met_bills (
    merchant text NOT NULL,
    bill_ref text NOT NULL,
    PRIMARY KEY (merchant, bill_ref)
);

-- What points may pay of a bill at most, as it was ever said, where that was said at all: who pays for it locks the row, after the wallets.
CREATE TABLE bill_shares (
    programme text NOT NULL,
    merchant text NOT NULL,
    bill_ref text NOT NULL,
    most_minor bigint NOT NULL,
    PRIMARY KEY (programme, merchant, bill_ref),
    CONSTRAINT bill_shares_never_negative CHECK (most_minor >= 0)
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

-- What decided a redemption beside its version, as it was then: standings, bills and counters go on. Only of what was held against
-- something: a redemption whose programme sets no limit, and of whose bill nothing was said, has no row. Those of before have none.
CREATE TABLE redemption_inputs (
    subject_id uuid NOT NULL, -- the redemption; of an allowance, the allowance
    step text NOT NULL,
    tier text, -- the member's that counted; null: no tier was asked for, or the programme has none
    told_tier text, -- what tiers had told last; null: nothing
    told_until timestamptz,
    told_sequence bigint, -- of the event that told it
    bill_ref text,
    bill_total_minor bigint,
    bill_categories jsonb, -- {category: minor units}
    most_minor bigint, -- what points may pay of the bill at most, whoever pays; null: nothing was said of it
    paid_minor bigint, -- what they had paid of it before; null: it was not named
    counted jsonb NOT NULL DEFAULT '[]', -- [{since, points, redemptions}]: spent before, for each limit and each cap of the version in its order
    had bigint, -- of the reward that is bought, within the period of its limit; null: it has none
    CONSTRAINT redemption_inputs_pkey PRIMARY KEY (subject_id, step),
    CONSTRAINT redemption_inputs_step_known CHECK (step IN ('redeem', 'capture', 'allowance')),
    CONSTRAINT redemption_inputs_told_is_whole CHECK (
        (told_tier IS NULL) = (told_sequence IS NULL) AND (told_until IS NULL OR told_tier IS NOT NULL)
    ),
    CONSTRAINT redemption_inputs_never_negative CHECK (
        bill_total_minor >= 0 AND most_minor >= 0 AND paid_minor >= 0 AND had >= 0
    ),
    CONSTRAINT redemption_inputs_are_json CHECK (
        jsonb_typeof(counted) = 'array' AND jsonb_typeof(bill_categories) = 'object'
    )
);

-- What a terminal may let a member spend while it can't ask. Nothing is set aside for it. Written under the wallet's lock.
CREATE TABLE allowances (
    allowance_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    programme text NOT NULL,
    programme_version integer NOT NULL,
    merchant text NOT NULL,
    terminal text NOT NULL,
    points bigint NOT NULL, -- the most
    used_points bigint NOT NULL DEFAULT 0, -- reported so far
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL, -- at this instant nothing can be spent on it any more
    report_until timestamptz NOT NULL,
    CONSTRAINT allowances_used_within_points CHECK (points > 0 AND used_points BETWEEN 0 AND points),
    CONSTRAINT allowances_end_in_order CHECK (issued_at < expires_at AND expires_at <= report_until)
);

-- The one that stands for a member at a terminal.
CREATE INDEX allowances_of_wallet ON allowances (wallet_id, merchant, terminal, expires_at);

-- What was spent on an allowance, as the till reported it: beside the redemption itself.
CREATE TABLE offline_redemptions (
    redemption_id uuid PRIMARY KEY REFERENCES redemptions,
    allowance_id uuid NOT NULL REFERENCES allowances,
    redemption_ref text NOT NULL, -- the till's own
    content_hash bytea NOT NULL, -- of what was reported under it
    overdrawn_points bigint NOT NULL, -- more than the balance had: owed since
    wallet_blocked boolean NOT NULL,
    reported_at timestamptz NOT NULL,
    CONSTRAINT offline_redemptions_ref_once UNIQUE (allowance_id, redemption_ref),
    CONSTRAINT offline_redemptions_hash_is_sha256 CHECK (octet_length(content_hash) = 32),
    CONSTRAINT offline_redemptions_overdrawn_never_negative CHECK (overdrawn_points >= 0)
);

-- What each lot of a wallet held when a month ended, by the posted clock. Only of months in which the wallet moved.
CREATE TABLE snapshots (
    wallet_id uuid NOT NULL,
    as_of timestamptz NOT NULL, -- all lines posted before it are in, none that was posted at it or later
    seq bigint NOT NULL, -- of the last line that is in
    debt bigint NOT NULL,
    lot_ids uuid[] NOT NULL, -- the lots that held something, by id; each with what of it was where
    lot_available bigint[] NOT NULL,
    lot_held bigint[] NOT NULL,
    lot_reserved bigint[] NOT NULL,
    CONSTRAINT snapshots_pkey PRIMARY KEY (wallet_id, as_of),
    CONSTRAINT snapshots_seq_positive CHECK (seq > 0),
    CONSTRAINT snapshots_debt_never_positive CHECK (debt <= 0),
    CONSTRAINT snapshots_lots_complete CHECK (
        cardinality(lot_ids) = cardinality(lot_available)
        AND cardinality(lot_ids) = cardinality(lot_held)
        AND cardinality(lot_ids) = cardinality(lot_reserved)
    )
);

-- Lines that happened in another month than they were written in, as far as months are closed. A line is asked for at a moment
-- between the two: `starts_at` is the earlier, `ends_at` the later. `span` says how far they lie apart, in powers of four
-- days: at most 4 ^ span days (7: any distance), so that those around a moment are found by a range of `starts_at`.
CREATE TABLE strays (
    wallet_id uuid NOT NULL,
    span smallint NOT NULL,
    starts_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    ends_at timestamptz NOT NULL,
    late boolean NOT NULL, -- written after it happened; otherwise before
    points bigint NOT NULL,
    lot_id uuid,
    from_bucket bucket NOT NULL,
    to_bucket bucket NOT NULL,
    CONSTRAINT strays_pkey PRIMARY KEY (wallet_id, span, starts_at, seq),
    CONSTRAINT strays_span_known CHECK (span BETWEEN 0 AND 7),
    CONSTRAINT strays_in_order CHECK (starts_at < ends_at)
);

-- How far months have been closed: one row for each, in their order. The row is the lock of whoever closes it.
CREATE TABLE closings (
    as_of timestamptz PRIMARY KEY, -- the month's end, midnight UTC
    through uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- wallets up to this one are done
    wallets bigint NOT NULL DEFAULT 0,
    closed boolean NOT NULL DEFAULT false
);

-- What earn asked about an accrual, each request once for ever. One about an accrual that did not come yet waits here.
-- Cumulative targets, and beside them what each request came to: their sums are where the accrual stands.
CREATE TABLE asked (
    request_id uuid PRIMARY KEY,
    kind text NOT NULL,
    accrual_id uuid NOT NULL,
    through bigint NOT NULL, -- how many points in all are to be released, or taken back, by now
    state text NOT NULL DEFAULT 'waiting',
    said jsonb NOT NULL, -- the request, as it came
    cause text, -- the event that brought it
    trace text NOT NULL, -- the request_id of the call that it goes back to
    traceparent text,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    wallet_id uuid, -- where it was done
    posting_id uuid, -- null: nothing moved
    released bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    reversed bigint NOT NULL DEFAULT 0,
    owed bigint NOT NULL DEFAULT 0,
    lapsed bigint NOT NULL DEFAULT 0, -- had expired before it was to be taken back
    shortfall bigint NOT NULL DEFAULT 0,
    CONSTRAINT asked_kind_known CHECK (kind IN ('release', 'reverse')),
    CONSTRAINT asked_state_known CHECK (state IN ('waiting', 'done', 'refused')),
    CONSTRAINT asked_through_never_negative CHECK (through >= 0),
    CONSTRAINT asked_parts_never_negative CHECK (
        released >= 0 AND cancelled >= 0 AND reversed >= 0 AND owed >= 0 AND lapsed >= 0 AND shortfall >= 0
    ),
    CONSTRAINT asked_moves_when_done CHECK (posting_id IS NULL OR state = 'done')
);

-- What a reversal was short of and took back later, when points came back to the lots of its accrual. `shortfall` less these is
-- short still.
CREATE TABLE recoveries (
    posting_id uuid PRIMARY KEY,
    request_id uuid NOT NULL REFERENCES asked, -- the last that was short
    accrual_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    points bigint NOT NULL,
    CONSTRAINT recoveries_points_positive CHECK (points > 0)
);
-- recoveries: append-only.

CREATE INDEX recoveries_of_accrual ON recoveries (accrual_id);

CREATE INDEX asked_accrual ON asked (accrual_id);
CREATE INDEX asked_waiting ON asked (request_id) WHERE state = 'waiting';

-- That a member was told, so many days before, that points of a wallet expire at that instant. Its key is written under the wallet's
-- lock.
CREATE TABLE notices (
    wallet_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    days integer NOT NULL,
    points bigint NOT NULL,
    told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (wallet_id, expires_at, days),
    CONSTRAINT notices_points_positive CHECK (points > 0),
    CONSTRAINT notices_days_positive CHECK (days > 0)
);

-- A signed root over the heads of the wallets that were posted to since the last one; never changed, never deleted.
-- `hash` is the SHA-256 of the bytes that are signed (docs/ledger.md), `previous` that of the seal before.
CREATE TABLE seals (
    no bigint PRIMARY KEY, -- 1, 2, 3, ...; what is left out are numbers of lost_seals
    sealed_at timestamptz NOT NULL, -- when the transaction began: before its snapshot
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(), -- taken after sealed_at
    snapshot pg_snapshot NOT NULL, -- what it saw
    leaves bigint NOT NULL,
    root bytea NOT NULL,
    pages bytea NOT NULL, -- the roots of each 1,024 leaves, one after the other: what a proof is built from
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    public_key bytea NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT seals_no_positive CHECK (no > 0),
    CONSTRAINT seals_leaves_positive CHECK (leaves > 0),
    CONSTRAINT seals_hashes_are_sha256 CHECK (
        octet_length(root) = 32 AND octet_length(previous) = 32 AND octet_length(hash) = 32
    ),
    CONSTRAINT seals_have_a_root_for_each_page CHECK (octet_length(pages) = 32 * ((leaves + 1023) / 1024)),
    CONSTRAINT seals_are_signed CHECK (octet_length(public_key) = 32 AND octet_length(signature) = 64)
);

-- The heads under each root, of wallets and then of gift cards. A head is sealed once: what stands here need not be sealed again.
CREATE TABLE seal_leaves (
    no bigint NOT NULL,
    position bigint NOT NULL, -- from 0, in the order of wallet_id, then of card_id
    wallet_id uuid, -- exactly one of the two
    seq bigint NOT NULL, -- of the last line then
    head bytea NOT NULL, -- that line's hash
    card_id uuid,
    CONSTRAINT seal_leaves_pkey PRIMARY KEY (no, position),
    CONSTRAINT seal_leaves_head_once UNIQUE (wallet_id, seq),
    CONSTRAINT seal_leaves_position_never_negative CHECK (position >= 0),
    CONSTRAINT seal_leaves_seq_positive CHECK (seq > 0),
    CONSTRAINT seal_leaves_head_is_sha256 CHECK (octet_length(head) = 32),
    CONSTRAINT seal_leaves_are_of_one CHECK (num_nonnulls(wallet_id, card_id) = 1)
);

CREATE UNIQUE INDEX seal_leaves_card_head_once ON seal_leaves (card_id, seq) WHERE card_id IS NOT NULL;

-- An operator said that the database, which had lost commits, goes on as it is. Never changed, never deleted.
CREATE TABLE seal_adoptions (
    epoch integer PRIMARY KEY,
    after_no bigint NOT NULL, -- the newest seal that was there, 0: none
    next_no bigint NOT NULL, -- the next seal's: above that one, and above all that were lost
    skipped bigint NOT NULL, -- numbers that no seal has, up to that one
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT seal_adoptions_epoch_positive CHECK (epoch > 0),
    CONSTRAINT seal_adoptions_go_forward CHECK (after_no >= 0 AND next_no > after_no AND skipped >= 0)
);

-- The seals that had been exported and were not there, as their files have them; their leaves are gone.
CREATE TABLE lost_seals (
    no bigint NOT NULL,
    hash bytea NOT NULL,
    epoch integer NOT NULL REFERENCES seal_adoptions,
    sealed_at timestamptz NOT NULL,
    leaves bigint NOT NULL,
    root bytea NOT NULL,
    previous bytea NOT NULL,
    public_key bytea NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT lost_seals_pkey PRIMARY KEY (no, hash),
    CONSTRAINT lost_seals_count_from_one CHECK (no > 0 AND leaves > 0),
    CONSTRAINT lost_seals_hashes_are_sha256 CHECK (
        octet_length(root) = 32 AND octet_length(previous) = 32 AND octet_length(hash) = 32
    ),
    CONSTRAINT lost_seals_are_signed CHECK (octet_length(public_key) = 32 AND octet_length(signature) = 64)
);

-- A walk over the wallets that were sealed since the last one: their heads in seals after `from_seal`, up to `to_seal`.
-- The row is the lock of whoever goes on with it.
CREATE TABLE reconciliations (
    no bigint PRIMARY KEY,
    from_seal bigint NOT NULL,
    to_seal bigint NOT NULL,
    at_seal bigint NOT NULL, -- how far it has come: this seal,
    at_position bigint NOT NULL, -- and this leaf of it
    wallets bigint NOT NULL DEFAULT 0,
    differences bigint NOT NULL DEFAULT 0,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT reconciliations_go_forward CHECK (to_seal >= from_seal AND at_seal >= from_seal AND at_seal <= to_seal)
);

-- Which seals' postings were held against the events that tell of them. Those of before are the oracle's.
CREATE TABLE compared_seals (
    no bigint PRIMARY KEY,
    postings bigint NOT NULL, -- that were sealed by it
    differences bigint NOT NULL,
    compared_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT compared_seals_counts_never_negative CHECK (postings >= 0 AND differences >= 0)
);

-- What did not agree, until somebody has explained and closed it. Never repaired by itself.
CREATE TABLE reconciliation_differences (
    difference_id uuid PRIMARY KEY,
    kind text NOT NULL,
    subject text NOT NULL,
    expected text NOT NULL,
    found text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    owner text,
    state text NOT NULL DEFAULT 'open',
    reason text,
    CONSTRAINT reconciliation_differences_kind_known CHECK (kind IN ('lines', 'buckets', 'lots', 'accruals', 'stock', 'events')),
    CONSTRAINT reconciliation_differences_state_known CHECK (state IN ('open', 'explained', 'closed')),
    CONSTRAINT reconciliation_differences_have_a_reason CHECK (state = 'open' OR reason IS NOT NULL)
);

CREATE UNIQUE INDEX reconciliation_differences_once
ON reconciliation_differences (kind, subject) WHERE state <> 'closed';
-- Every version of a reward, as it was put; the highest is the one that counts.
CREATE TABLE reward_versions (
    programme text NOT NULL,
    reward text NOT NULL,
    version integer NOT NULL,
    document json NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT reward_versions_pkey PRIMARY KEY (programme, reward, version),
    CONSTRAINT reward_versions_count_from_one CHECK (version > 0)
);

-- A reward as it stands. The row is its stock, locked after wallets and lots.
CREATE TABLE rewards (
    programme text NOT NULL,
    reward text NOT NULL,
    version integer NOT NULL,
    supplied bigint, -- ever put on stock; null: as many as are asked
    issued bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0, -- set aside by authorisations
    CONSTRAINT rewards_pkey PRIMARY KEY (programme, reward),
    CONSTRAINT rewards_issued_within_supplied CHECK (
        issued >= 0 AND held >= 0 AND (supplied IS NULL OR issued + held <= supplied)
    )
);

-- What an authorisation holds of a reward, at the price and version of its sale. Written under the wallet's lock, after the stock's.
CREATE TABLE reward_holds (
    redemption_id uuid PRIMARY KEY REFERENCES redemptions,
    programme text NOT NULL,
    reward text NOT NULL,
    version integer NOT NULL,
    tier text, -- that it was priced for
    state text NOT NULL DEFAULT 'held',
    CONSTRAINT reward_holds_state_known CHECK (state IN ('held', 'issued', 'given_back'))
);

-- How many of a reward were ever supplied, since when. What was supplied before there was this table counts as having been so always.
CREATE TABLE reward_supplies (
    programme text NOT NULL,
    reward text NOT NULL,
    no integer NOT NULL, -- from 1
    supplied bigint, -- null: as many as are asked
    since timestamptz NOT NULL,
    CONSTRAINT reward_supplies_pkey PRIMARY KEY (programme, reward, no),
    CONSTRAINT reward_supplies_count_from_one CHECK (no > 0),
    CONSTRAINT reward_supplies_never_negative CHECK (supplied >= 0)
);

-- What lay at a location at the end of a day, once for ever: a wrong count is put right by the next day's.
CREATE TABLE stock_counts (
    programme text NOT NULL,
    reward text NOT NULL,
    day date NOT NULL, -- where the programme lives
    location text NOT NULL, -- a merchant, a merchant's terminal (merchant/terminal), or a code of one's own
    on_hand bigint NOT NULL,
    used bigint, -- handed out there in all, where that was counted too
    recorded_at timestamptz NOT NULL,
    CONSTRAINT stock_counts_pkey PRIMARY KEY (programme, reward, day, location),
    CONSTRAINT stock_counts_of_a_reward FOREIGN KEY (programme, reward) REFERENCES rewards,
    CONSTRAINT stock_counts_never_negative CHECK (on_hand >= 0 AND used >= 0)
);

-- What a member got, for points or as a gift: issued once, and used, withdrawn or expired once.
CREATE TABLE benefits (
    benefit_id uuid PRIMARY KEY,
    redemption_id uuid, -- that bought it; null: nobody did
    wallet_id uuid NOT NULL,
    member_id uuid NOT NULL,
    programme text NOT NULL,
    reward text NOT NULL,
    version integer NOT NULL, -- of the reward
    tier text, -- that it was priced for; null: the programme has none
    points bigint NOT NULL,
    unit_cost_minor bigint NOT NULL, -- what a use costs, in the programme's currency
    code_hash bytea NOT NULL, -- keyed: the code itself is kept nowhere
    issued_at timestamptz NOT NULL,
    expires_at timestamptz, -- at this instant it can't be used any more; null: never
    consumed_at timestamptz,
    merchant text, -- where it was used
    terminal text,
    cashier text,
    bill_ref text,
    event_sequence bigint NOT NULL DEFAULT 1,
    origin text NOT NULL DEFAULT 'redemption',
    asked_by uuid, -- the effect_id of earn's request
    withdrawn_at timestamptz, -- taken back unused
    restocked boolean NOT NULL DEFAULT false, -- and on stock again
    lapsed_at timestamptz, -- when the job saw that it had expired unused
    programme_version integer, -- that it was given by; null: it was bought, or given before this was kept
    CONSTRAINT benefits_redemption_once UNIQUE (redemption_id),
    CONSTRAINT benefits_code_once UNIQUE (code_hash),
    CONSTRAINT benefits_code_is_sha256 CHECK (octet_length(code_hash) = 32),
    CONSTRAINT benefits_cost_never_negative CHECK (unit_cost_minor >= 0),
    CONSTRAINT benefits_used_somewhere CHECK ((consumed_at IS NULL) = (merchant IS NULL)),
    CONSTRAINT benefits_origin_known CHECK (
        CASE origin
            WHEN 'redemption' THEN redemption_id IS NOT NULL AND asked_by IS NULL AND points > 0
            WHEN 'asked' THEN redemption_id IS NULL AND asked_by IS NOT NULL AND points = 0
            WHEN 'threshold' THEN redemption_id IS NULL AND asked_by IS NULL AND points = 0
            ELSE false
        END
    ),
    CONSTRAINT benefits_end_once CHECK (num_nonnulls(consumed_at, withdrawn_at, lapsed_at) <= 1),
    CONSTRAINT benefits_used_in_time CHECK (
        expires_at IS NULL OR (coalesce(consumed_at < expires_at, true) AND coalesce(lapsed_at >= expires_at, true))
    ),
    CONSTRAINT benefits_lapse_has_an_end CHECK (lapsed_at IS NULL OR expires_at IS NOT NULL),
    CONSTRAINT benefits_restocked_when_withdrawn CHECK (withdrawn_at IS NOT NULL OR NOT restocked)
);

-- How many a member has had, and which.
CREATE INDEX benefits_of_wallet ON benefits (wallet_id, issued_at);

-- A reward issues itself once to a member; what was asked under an id is issued once.
CREATE UNIQUE INDEX benefits_threshold_once ON benefits (wallet_id, programme, reward) WHERE origin = 'threshold';
CREATE UNIQUE INDEX benefits_asked_once ON benefits (asked_by) WHERE asked_by IS NOT NULL;

-- What the job looks for: those that can still expire.
CREATE INDEX benefits_lapsing ON benefits (expires_at, benefit_id)
WHERE consumed_at IS NULL AND withdrawn_at IS NULL AND lapsed_at IS NULL AND expires_at IS NOT NULL;

-- What earn asked to be issued, each id once for ever. Also a row for one that was withdrawn before it came: to be locked by both.
CREATE TABLE benefit_asks (
    effect_id uuid PRIMARY KEY,
    wallet_id uuid,
    member_id uuid,
    programme text,
    reward text,
    source_kind text,
    source_code text,
    bill_id uuid,
    effective_at timestamptz,
    outcome text, -- null: it did not come yet
    benefit_id uuid,
    code text, -- why it was refused
    withdrawn_first boolean NOT NULL DEFAULT false,
    CONSTRAINT benefit_asks_outcome_known CHECK (outcome IN ('issued', 'refused')),
    CONSTRAINT benefit_asks_outcome_is_whole CHECK (
        coalesce(outcome = 'issued', false) = (benefit_id IS NOT NULL)
        AND coalesce(outcome = 'refused', false) = (code IS NOT NULL)
        AND (outcome IS NULL) = (wallet_id IS NULL)
    ),
    CONSTRAINT benefit_asks_withdrawn_first_is_refused CHECK (NOT withdrawn_first OR coalesce(outcome = 'refused', true))
);

-- What earn asked to be taken back, each id once for ever.
CREATE TABLE benefit_withdrawals (
    effect_id uuid PRIMARY KEY,
    issued_by uuid NOT NULL REFERENCES benefit_asks,
    outcome text NOT NULL,
    benefit_id uuid,
    CONSTRAINT benefit_withdrawals_outcome_known CHECK (outcome IN ('withdrawn', 'used_already', 'nothing')),
    CONSTRAINT benefit_withdrawals_name_what_was_issued CHECK (outcome = 'nothing' OR benefit_id IS NOT NULL)
);

-- A benefit is withdrawn by one request.
CREATE UNIQUE INDEX benefit_withdrawals_once ON benefit_withdrawals (issued_by) WHERE outcome = 'withdrawn';
CREATE TYPE gift_card_bucket AS ENUM ('issued', 'balance', 'used', 'expired');
CREATE TYPE gift_card_kind AS ENUM ('activate', 'reload', 'use', 'refund', 'expire', 'cancel');

-- A gift card: the only row that a posting to it locks, after wallets and lots. Amounts are minor units of the programme's currency.
CREATE TABLE gift_cards (
    card_id uuid PRIMARY KEY,
    serial text NOT NULL,
    programme text NOT NULL,
    programme_version integer NOT NULL, -- that it was issued under
    amount_minor bigint NOT NULL, -- what its activation loads
    pin_hash text NOT NULL, -- bcrypt over a keyed hash; the PIN itself is kept nowhere
    issued_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'issued',
    activated_at timestamptz,
    expires_at timestamptz, -- at this instant nothing can be paid with it any more; null: never, or not activated
    blocked boolean NOT NULL DEFAULT false,
    wrong_pins integer NOT NULL DEFAULT 0, -- one after the other
    locked_until timestamptz, -- by wrong PINs
    issued bigint NOT NULL DEFAULT 0,
    balance bigint NOT NULL DEFAULT 0,
    used bigint NOT NULL DEFAULT 0,
    expired bigint NOT NULL DEFAULT 0,
    open boolean GENERATED ALWAYS AS (balance > 0) STORED,
    seq bigint NOT NULL DEFAULT 0, -- of the last line; lines count from 1 without a gap
    event_sequence bigint NOT NULL DEFAULT 0, -- of the last event about this card
    head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'), -- hash of the last line
    last_posted_at timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00Z',
    benefit_id uuid REFERENCES benefits, -- the purchase of points that it came by
    CONSTRAINT gift_cards_serial_once UNIQUE (serial),
    CONSTRAINT gift_cards_serial_has_19_digits CHECK (serial ~ '^[0-9]{19}$'),
    CONSTRAINT gift_cards_pin_is_bcrypt CHECK (pin_hash ~ '^[$]2b[$][0-9]{2}[$][./A-Za-z0-9]{53}$'),
    CONSTRAINT gift_cards_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT gift_cards_status_known CHECK (status IN ('issued', 'active', 'voided')),
    CONSTRAINT gift_cards_active_since CHECK (
        CASE status
            WHEN 'issued' THEN activated_at IS NULL AND seq = 0
            WHEN 'active' THEN activated_at IS NOT NULL AND seq > 0
            ELSE (activated_at IS NULL) = (seq = 0) AND balance = 0
        END
    ),
    CONSTRAINT gift_cards_expire_after_activation CHECK (expires_at IS NULL OR expires_at > activated_at),
    CONSTRAINT gift_cards_lock_has_a_cause CHECK (wrong_pins >= 0 AND (locked_until IS NULL OR wrong_pins > 0)),
    CONSTRAINT gift_cards_issued_never_positive CHECK (issued <= 0),
    CONSTRAINT gift_cards_balance_never_negative CHECK (balance >= 0),
    CONSTRAINT gift_cards_used_never_negative CHECK (used >= 0),
    CONSTRAINT gift_cards_expired_never_negative CHECK (expired >= 0),
    CONSTRAINT gift_cards_buckets_sum_to_zero CHECK (issued + balance + used + expired = 0),
    CONSTRAINT gift_cards_counters_never_negative CHECK (seq >= 0 AND event_sequence >= 0),
    CONSTRAINT gift_cards_head_is_sha256 CHECK (octet_length(head) = 32)
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX gift_cards_bought_once ON gift_cards (benefit_id) WHERE benefit_id IS NOT NULL;

-- What is due: the sweep goes along it.
CREATE INDEX gift_cards_expiring ON gift_cards (expires_at, card_id) WHERE open AND expires_at IS NOT NULL;

-- One move of money from one bucket of a card to another; never changed, never deleted.
CREATE TABLE gift_card_lines (
    card_id uuid NOT NULL,
    seq bigint NOT NULL,
    posting_id uuid NOT NULL,
    posted_at timestamptz NOT NULL, -- PostgreSQL's clock, after the card's lock, rising line by line
    effective_at timestamptz NOT NULL,
    amount_minor bigint NOT NULL,
    issued_after bigint NOT NULL,
    balance_after bigint NOT NULL,
    used_after bigint NOT NULL,
    expired_after bigint NOT NULL,
    source_id uuid, -- the use that a line is of
    kind gift_card_kind NOT NULL,
    from_bucket gift_card_bucket NOT NULL,
    to_bucket gift_card_bucket NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT gift_card_lines_pkey PRIMARY KEY (card_id, seq, posted_at),
    CONSTRAINT gift_card_lines_seq_positive CHECK (seq > 0),
    CONSTRAINT gift_card_lines_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT gift_card_lines_balances_hold CHECK (
        issued_after <= 0 AND balance_after >= 0 AND used_after >= 0 AND expired_after >= 0
        AND issued_after + balance_after + used_after + expired_after = 0
    ),
    CONSTRAINT gift_card_lines_name_their_use CHECK ((kind IN ('use', 'refund')) = (source_id IS NOT NULL)),
    CONSTRAINT gift_card_lines_hash_is_sha256 CHECK (octet_length(hash) = 32),
    CONSTRAINT gift_card_lines_move_is_of_its_kind CHECK (
        CASE kind
            WHEN 'activate' THEN from_bucket = 'issued' AND to_bucket = 'balance'
            WHEN 'reload' THEN from_bucket = 'issued' AND to_bucket = 'balance'
            WHEN 'use' THEN from_bucket = 'balance' AND to_bucket = 'used'
            WHEN 'refund' THEN from_bucket = 'used' AND to_bucket = 'balance'
            WHEN 'expire' THEN from_bucket = 'balance' AND to_bucket = 'expired'
            WHEN 'cancel' THEN from_bucket = 'balance' AND to_bucket = 'issued' AND seq = 2
        END
    )
) PARTITION BY RANGE (posted_at);

-- The lines that are newer than a moment, for the seals.
CREATE INDEX gift_card_lines_posted_at ON gift_card_lines USING brin (posted_at) WITH (pages_per_range = 32, autosummarize = on);

-- Every posting to a card that there ever was; not partitioned by time, for a key that is unique only within a month is no key.
CREATE TABLE gift_card_postings (
    posting_id uuid PRIMARY KEY,
    card_id uuid NOT NULL,
    kind gift_card_kind NOT NULL,
    amount_minor bigint NOT NULL,
    CONSTRAINT gift_card_postings_amount_positive CHECK (amount_minor > 0)
);

-- What a card paid for, by the id of its posting. Written under the card's lock, like all that is below.
CREATE TABLE gift_card_uses (
    use_id uuid PRIMARY KEY,
    card_id uuid NOT NULL REFERENCES gift_cards,
    programme text NOT NULL,
    asked_minor bigint NOT NULL,
    applied_minor bigint NOT NULL,
    merchant text NOT NULL,
    terminal text,
    cashier text,
    bill_ref text,
    used_at timestamptz NOT NULL,
    refunded_minor bigint NOT NULL DEFAULT 0,
    CONSTRAINT gift_card_uses_applied_within_asked CHECK (applied_minor > 0 AND applied_minor <= asked_minor),
    CONSTRAINT gift_card_uses_refunded_within_applied CHECK (refunded_minor BETWEEN 0 AND applied_minor)
);

CREATE INDEX gift_card_uses_of ON gift_card_uses (card_id);

-- What came back of a use, by its posting; a till's reference is good once at its merchant.
CREATE TABLE gift_card_refunds (
    refund_id uuid PRIMARY KEY,
    use_id uuid NOT NULL REFERENCES gift_card_uses,
    merchant text NOT NULL,
    refund_ref text NOT NULL,
    asked_minor bigint, -- null: all that was left
    amount_minor bigint NOT NULL,
    answer bytea NOT NULL,
    CONSTRAINT gift_card_refunds_ref_once UNIQUE (merchant, refund_ref),
    CONSTRAINT gift_card_refunds_amount_positive CHECK (amount_minor > 0 AND asked_minor > 0)
);

CREATE INDEX gift_card_refunds_of ON gift_card_refunds (use_id);

-- What people put right: a request, posted at once or pending until somebody else decides about it.
CREATE TABLE adjustments (
    adjustment_id uuid PRIMARY KEY,
    programme text NOT NULL,
    programme_version integer NOT NULL, -- the newest when it was asked for
    second_person_above bigint NOT NULL, -- what that version said
    state text NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL, -- a reference
    evidence_sha256 bytea, -- of what it refers to
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    decided_by text, -- null: nobody else had to agree, or did yet
    decided_at timestamptz,
    note text,
    CONSTRAINT adjustments_state_known CHECK (state IN ('posted', 'pending', 'rejected')),
    CONSTRAINT adjustments_threshold_never_negative CHECK (second_person_above >= 0),
    CONSTRAINT adjustments_evidence_is_sha256 CHECK (octet_length(evidence_sha256) = 32),
    CONSTRAINT adjustments_decision_is_whole CHECK (
        (decided_by IS NULL) = (decided_at IS NULL)
        AND CASE state WHEN 'pending' THEN decided_by IS NULL WHEN 'rejected' THEN decided_by IS NOT NULL ELSE TRUE END
    ),
    CONSTRAINT adjustments_decided_by_another CHECK (decided_by <> requested_by)
);

CREATE INDEX adjustments_pending ON adjustments (adjustment_id) WHERE state = 'pending';

-- What an adjustment gives to a wallet, or takes of it (points below zero); several parts are a bulk adjustment.
CREATE TABLE adjustment_parts (
    posting_id uuid PRIMARY KEY, -- of its posting, once it is posted
    adjustment_id uuid NOT NULL REFERENCES adjustments,
    wallet_id uuid NOT NULL,
    points bigint NOT NULL,
    expires_at timestamptz, -- of the lot that it gives; null: never
    CONSTRAINT adjustment_parts_wallet_once UNIQUE (adjustment_id, wallet_id),
    CONSTRAINT adjustment_parts_move_something CHECK (points <> 0)
);

-- What was posted to a wallet lately.
CREATE INDEX adjustment_parts_of_wallet ON adjustment_parts (wallet_id);

-- Expired points that one person brought back: they count, with what was adjusted, towards what one person may do alone.
CREATE TABLE reinstatements (
    posting_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    lot_id uuid NOT NULL,
    points bigint NOT NULL,
    reason text NOT NULL,
    programme_version integer NOT NULL, -- the newest then
    second_person_above bigint NOT NULL, -- what that version said
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    CONSTRAINT reinstatements_points_positive CHECK (points > 0),
    CONSTRAINT reinstatements_within_threshold CHECK (points <= second_person_above)
);

CREATE INDEX reinstatements_of_wallet ON reinstatements (wallet_id, requested_at);

-- Opening balances that one person asked for over HTTP; those of a file are not here.
CREATE TABLE openings (
    posting_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    points bigint NOT NULL,
    programme_version integer NOT NULL,
    second_person_above bigint NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    CONSTRAINT openings_points_positive CHECK (points > 0),
    CONSTRAINT openings_within_threshold CHECK (points <= second_person_above)
);

CREATE INDEX openings_of_wallet ON openings (wallet_id, requested_at);

-- When the member of a balance that was brought along was last active elsewhere, where it was said.
CREATE TABLE opening_activities (
    posting_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    last_active_at timestamptz NOT NULL
);

-- Disputes of postings: what somebody holds to be wrong, and what somebody else found.
CREATE TABLE disputes (
    dispute_id uuid PRIMARY KEY,
    posting_id uuid NOT NULL,
    wallet_id uuid NOT NULL, -- that posting's
    programme text NOT NULL,
    points bigint NOT NULL, -- what the wallet should get, or lose (below zero)
    reason text NOT NULL,
    evidence text, -- a reference
    evidence_sha256 bytea, -- of what it refers to
    state text NOT NULL DEFAULT 'open',
    opened_by text NOT NULL,
    opened_at timestamptz NOT NULL,
    decided_by text,
    decided_at timestamptz,
    note text,
    adjustment_id uuid REFERENCES adjustments, -- the correction
    CONSTRAINT disputes_state_known CHECK (state IN ('open', 'upheld', 'rejected')),
    CONSTRAINT disputes_correct_something CHECK (points <> 0),
    CONSTRAINT disputes_evidence_is_sha256 CHECK (
        octet_length(evidence_sha256) = 32 AND (evidence_sha256 IS NULL OR evidence IS NOT NULL)
    ),
    CONSTRAINT disputes_decision_is_whole CHECK (
        (state = 'open') = (decided_by IS NULL) AND (state = 'open') = (decided_at IS NULL)
    ),
    CONSTRAINT disputes_decided_by_another CHECK (decided_by <> opened_by),
    CONSTRAINT disputes_upheld_have_evidence CHECK (state <> 'upheld' OR evidence_sha256 IS NOT NULL),
    CONSTRAINT disputes_upheld_are_corrected CHECK ((state = 'upheld') = (adjustment_id IS NOT NULL)),
    CONSTRAINT disputes_correction_once UNIQUE (adjustment_id)
);

-- A posting is corrected once.
CREATE UNIQUE INDEX disputes_once ON disputes (posting_id) WHERE state <> 'rejected';
-- What earn told of the accruals of each day, and whether the ledger was held against it (docs/decisions/0135).
CREATE TABLE told_days (
    day date PRIMARY KEY, -- UTC, of the accruals' ids
    sequence integer NOT NULL, -- of the newest telling
    n bigint NOT NULL, -- its place in earn's stream: everything that it counts was told before it
    programmes jsonb NOT NULL, -- [{programme, accruals, points, digest}]
    compared integer NOT NULL DEFAULT 0, -- the sequence that the ledger was last held against
    compared_at timestamptz,
    CONSTRAINT told_days_compared_what_was_told CHECK (compared BETWEEN 0 AND sequence)
);

CREATE INDEX told_days_to_compare ON told_days (day) WHERE compared < sequence;

-- What redeem learns from members. Identities are keyed hashes: deletable look-up rows, no personal data.

CREATE TABLE programmes (
    programme text NOT NULL,
    version integer NOT NULL,
    document jsonb NOT NULL,
    activated_at timestamptz NOT NULL,
    PRIMARY KEY (programme, version)
);

CREATE TABLE merchants (
    merchant text PRIMARY KEY,
    version integer NOT NULL,
    terminals text[] NOT NULL
);

CREATE TABLE member_wallets (
    member_id uuid NOT NULL,
    programme text NOT NULL,
    wallet_id uuid NOT NULL REFERENCES wallets, -- of a member that was merged: the other's
    PRIMARY KEY (member_id, programme)
);

CREATE INDEX member_wallets_of_wallet ON member_wallets (wallet_id);

CREATE TABLE identities (
    kind text NOT NULL,
    hash bytea NOT NULL,
    member_id uuid, -- null: a card that was blocked, which names nobody for ever
    PRIMARY KEY (hash, kind)
);
