-- Tills tell of activations and deliveries by their stream, also before the bill itself has come (docs/decisions/0165).

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
GRANT SELECT, INSERT, UPDATE (bill_id, settled_event_id, settled_at) ON told_activations TO {{service_role}};
