-- Activations that tills tell by their stream. The search path is earn's schema. Lists go in as arrays.

-- name: tell
-- Those of these bills of which nothing was told before, and is from now on.
INSERT INTO told_activations (
    merchant, bill_ref, occurred_at, stream_id, source, event_id, request_id, traceparent, recorded_event_id, recorded_at, waited, bill_id
)
SELECT
    a.merchant, a.bill_ref, a.occurred_at, a.stream_id, a.source, a.event_id, a.request_id, a.traceparent, a.recorded_event_id,
    :recorded_at::timestamptz, k.bill_id IS NULL, k.bill_id
FROM unnest(
    :merchants::text[], :bill_refs::text[], :occurred_ats::timestamptz[], :stream_ids::text[], :sources::text[], :event_ids::text[],
    :request_ids::text[], :traceparents::text[], :recorded_event_ids::uuid[]
) AS a (merchant, bill_ref, occurred_at, stream_id, source, event_id, request_id, traceparent, recorded_event_id)
LEFT JOIN bill_keys AS k ON k.merchant = a.merchant AND k.bill_ref = a.bill_ref
ORDER BY 1, 2
ON CONFLICT (merchant, bill_ref) DO NOTHING
RETURNING recorded_event_id;

-- name: told
-- What was told of these bills.
SELECT
    t.merchant, t.bill_ref, t.occurred_at, t.stream_id, t.source, t.event_id, t.request_id, t.traceparent, t.recorded_event_id,
    t.recorded_at, t.waited, t.bill_id, t.settled_event_id, t.settled_at
FROM unnest(:merchants::text[], :bill_refs::text[]) AS a (merchant, bill_ref)
JOIN told_activations AS t ON t.merchant = a.merchant AND t.bill_ref = a.bill_ref;

-- name: any_arrived$
-- Whether a bill has come whose activation was told before it.
SELECT exists(
    SELECT
    FROM told_activations AS t
    JOIN bill_keys AS k ON k.merchant = t.merchant AND k.bill_ref = t.bill_ref
    WHERE t.bill_id IS NULL
);

-- name: lock_arrived
-- Some activations whose bills have come, locked; one that another process takes up is left to it.
SELECT
    t.merchant, t.bill_ref, t.occurred_at, t.stream_id, t.source, t.event_id, t.request_id, t.traceparent, t.recorded_event_id,
    t.recorded_at, t.waited, k.bill_id, t.settled_event_id, t.settled_at
FROM told_activations AS t
JOIN bill_keys AS k ON k.merchant = t.merchant AND k.bill_ref = t.bill_ref
WHERE t.bill_id IS NULL
ORDER BY t.merchant, t.bill_ref
LIMIT :most
FOR NO KEY UPDATE OF t SKIP LOCKED;

-- name: settle!
-- Their bills are there.
UPDATE told_activations AS t
SET bill_id = s.bill_id, settled_event_id = s.settled_event_id, settled_at = :settled_at
FROM unnest(:merchants::text[], :bill_refs::text[], :bill_ids::uuid[], :settled_event_ids::uuid[])
    AS s (merchant, bill_ref, bill_id, settled_event_id)
WHERE t.merchant = s.merchant AND t.bill_ref = s.bill_ref AND t.bill_id IS NULL;
