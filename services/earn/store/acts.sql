-- Acts besides bills. The search path is earn's schema. Lists go in as arrays, one transaction's worth at a time.

-- name: claim_act_keys
-- Those of these references that were not used before, and are from now on.
INSERT INTO act_keys (source, act_ref, content_hash, act_id)
SELECT k.source, k.act_ref, k.content_hash, k.act_id
FROM unnest(:sources::text[], :act_refs::text[], :content_hashes::bytea[], :act_ids::uuid[]) AS k (
    source, act_ref, content_hash, act_id)
ORDER BY k.source COLLATE "C", k.act_ref COLLATE "C"
ON CONFLICT DO NOTHING
RETURNING act_id;

-- name: act_contents
-- What these references were used for.
SELECT k.source, k.act_ref, k.content_hash, k.act_id
FROM unnest(:sources::text[], :act_refs::text[]) AS wanted (source, act_ref)
JOIN act_keys AS k ON k.source = wanted.source AND k.act_ref = wanted.act_ref;

-- name: first_answers
-- How these acts were answered first.
SELECT
    a.act_id, a.act, a.act_ref, a.merchant, a.occurred_at, a.recorded_event_id, a.recorded_at, a.stream_id, a.event_source,
    a.event_id, d.decision
FROM acts AS a
JOIN act_decisions AS d ON d.act_id = a.act_id AND d.n = 1
WHERE a.act_id = ANY(:act_ids::uuid[]);

-- name: begin_waiting!
-- Acts that wait from now on, recorded in this transaction.
INSERT INTO act_waiting (act_id, kind, key, taken_at, since_ms, n, sequence, request_id, traceparent)
SELECT w.act_id, w.kind, w.key, :taken_at::timestamptz, c.running_ms, 1, 1, w.request_id, w.traceparent
FROM unnest(:act_ids::uuid[], :kinds::text[], :keys::text[], :request_ids::text[], :traceparents::text[])
    AS w (act_id, kind, key, request_id, traceparent)
CROSS JOIN waiting_clock AS c;

-- name: lock_waiting
-- These acts with their content, as far as they still wait.
SELECT
    w.act_id, w.taken_at, w.kind, w.key, w.ready, w.unclaimed, w.n, w.sequence, w.request_id, w.traceparent, a.source, a.act_ref,
    a.act, a.occurred_at, a.merchant, a.programme, a.identity_kind, a.identity, a.data, a.stream_id, a.event_source, a.event_id
FROM act_waiting AS w
JOIN acts AS a ON a.act_id = w.act_id
WHERE w.act_id = ANY(:act_ids::uuid[])
ORDER BY w.act_id
FOR UPDATE OF w; -- against who listens, which holds FOR KEY SHARE; make_ready meets neither

-- name: wait_on!
-- What these acts waited for has come, and they wait for something else.
UPDATE act_waiting AS w
SET kind = a.kind, key = a.key, ready = false
FROM unnest(:act_ids::uuid[], :kinds::text[], :keys::text[]) AS a (act_id, kind, key)
WHERE w.act_id = a.act_id;

-- name: end_waiting!
-- These acts are settled.
DELETE FROM act_waiting
WHERE act_id = ANY(:act_ids::uuid[]);

-- name: mark_unclaimed!
-- These acts were reported unclaimed; they still wait.
UPDATE act_waiting
SET unclaimed = true, n = n + 1, sequence = sequence + 1
WHERE act_id = ANY(:act_ids::uuid[]);

-- name: ready_acts
-- Acts whose waiting may be over, but for those. With :sweep also those that wait for what is known although nobody marked them.
SELECT w.act_id
FROM act_waiting AS w
WHERE w.act_id <> ALL(:besides::uuid[]) AND (w.ready OR (:sweep::boolean AND CASE w.kind
    WHEN 'merchant' THEN EXISTS (SELECT FROM merchants AS m WHERE m.merchant = w.key)
    WHEN 'programme' THEN EXISTS (SELECT FROM programmes AS p WHERE w.key IN (p.programme, '*'))
    WHEN 'identity' THEN EXISTS (SELECT FROM identities AS i WHERE i.identity = decode(w.key, 'hex'))
    WHEN 'member' THEN EXISTS (SELECT FROM members AS e WHERE e.member_id = w.key::uuid)
END))
ORDER BY w.act_id
LIMIT 500;

-- name: overdue_acts
-- Acts that have waited longer than :deadline_ms on the clock of the deadline, and were not reported yet; what one that is ready
-- waited for has come.
SELECT w.act_id
FROM act_waiting AS w
CROSS JOIN waiting_clock AS c
WHERE NOT w.unclaimed AND NOT w.ready AND w.since_ms <= c.running_ms - :deadline_ms
ORDER BY w.since_ms
LIMIT 500;

-- name: last_settled
-- What was decided last about those of these acts that waited and were told again; without an id where none was kept.
SELECT DISTINCT ON (d.act_id) d.act_id, d.decided_at, d.sequence, d.decision, s.event_id
FROM act_decisions AS d
LEFT JOIN settled_events AS s ON s.subject_id = d.act_id AND s.n = d.n
WHERE d.act_id = ANY(:act_ids::uuid[]) AND d.n > 1
ORDER BY d.act_id, d.n DESC;

-- name: act_by_id^
-- An act.
SELECT act_id, source, act_ref, act, merchant, occurred_at
FROM acts
WHERE act_id = :act_id;

-- name: decisions_of
-- Every decision about an act, in their order.
SELECT n, status, decided_at, decision
FROM act_decisions
WHERE act_id = :act_id
ORDER BY n;
