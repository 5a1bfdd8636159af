-- What a past balance begins from, so that it costs the same however long the ledger is (docs/ledger.md, "A past moment").
-- Made by a job from the lines of a month that is over; the ledger itself gets no index for it, and a posting writes no byte more.

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

SELECT make_append_only('snapshots');
SELECT make_append_only('strays');

GRANT SELECT, INSERT ON snapshots, strays, closings TO {{service_role}};
GRANT UPDATE (through, wallets, closed) ON closings TO {{service_role}};
