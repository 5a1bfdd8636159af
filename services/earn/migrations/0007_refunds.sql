-- Refunds: sagas between earn and the bank. What was asked and what was answered is append-only; where a refund stands is
-- the one row that changes, under the lock of its bill's saga.

-- The row that is locked before anything more is said about a settled bill. `sequence` is that of the last event about it,
-- `refunds` how many refunds it has had.
CREATE TABLE sagas (
    bill_id uuid PRIMARY KEY,
    sequence int NOT NULL CHECK (sequence >= 1),
    refunds int NOT NULL DEFAULT 0 CHECK (refunds >= 0)
) WITH (fillfactor = 80);

GRANT SELECT, INSERT, UPDATE (sequence, refunds) ON sagas TO {{service_role}};

-- Second net: one refund per (merchant, refund_ref), by whatever way it came. `content_hash` is SHA-256 of the refund's
-- canonical bytes, which stand in README.md.
CREATE TABLE refund_keys (
    merchant text COLLATE "C" NOT NULL,
    refund_ref text COLLATE "C" NOT NULL,
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    refund_id uuid NOT NULL UNIQUE,
    PRIMARY KEY (merchant, refund_ref)
);

SELECT make_append_only('refund_keys');
GRANT SELECT, INSERT ON refund_keys TO {{service_role}};

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
GRANT SELECT, INSERT, UPDATE (
    status, bill_id, n, amounts, refunded_minor, code, detail, sequence, settled_event_id, settled_at
) ON refunds TO {{service_role}};

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
    CHECK (part_minor <= through_minor AND through_minor <= of_minor),
    CHECK (
        num_nulls(accrual_id, wallet_id, programme, point_value, on_spent, target)
        = CASE kind WHEN 'reversal' THEN 0 ELSE 6 END
    ),
    UNIQUE (refund_id, accrual_id)
);

CREATE INDEX refund_requests_bill ON refund_requests (bill_id);
SELECT make_append_only('refund_requests');
GRANT SELECT, INSERT ON refund_requests TO {{service_role}};

-- Each time that a request was told to the bank, under the same request_id; `sequence` is the place among the events about
-- the bill.
CREATE TABLE refund_asks (
    request_id uuid NOT NULL REFERENCES refund_requests,
    sequence int NOT NULL CHECK (sequence >= 1),
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, sequence)
);

SELECT make_append_only('refund_asks');
GRANT SELECT, INSERT ON refund_asks TO {{service_role}};

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
    PRIMARY KEY (request_id, answer_event_id)
);

SELECT make_append_only('refund_answers');
GRANT SELECT, INSERT ON refund_answers TO {{service_role}};

-- earn hears redeem now (docs/decisions/0013: a new hearer is a migration). Of a tenant that is there already it hears all
-- from the beginning, and leaves alone what it never asked.
CREATE TABLE inbox_redeem PARTITION OF inbox (
    CONSTRAINT inbox_redeem_once EXCLUDE USING gist (entries WITH &&)
) FOR VALUES IN ('redeem');

INSERT INTO positions (stream) VALUES ('redeem') ON CONFLICT DO NOTHING;
