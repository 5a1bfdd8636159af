-- Who offered a bill or an act that waits, and is told when it is settled. The search path is earn's schema. Lists go in as arrays.

-- name: listen_for_bills!
-- These entries are told when these bills are settled, as far as they still wait. One that is being settled is waited for.
INSERT INTO listeners (subject_id, stream_id, source, event_id)
SELECT w.bill_id, a.stream_id, a.source, a.event_id
FROM unnest(:subject_ids::uuid[], :stream_ids::text[], :sources::text[], :event_ids::text[]) WITH ORDINALITY
    AS a (bill_id, stream_id, source, event_id, place)
JOIN waiting AS w ON w.bill_id = a.bill_id
ORDER BY w.bill_id, a.place
FOR KEY SHARE OF w
ON CONFLICT (subject_id, source, event_id) DO NOTHING;

-- name: listen_for_acts!
-- The same for acts.
INSERT INTO listeners (subject_id, stream_id, source, event_id)
SELECT w.act_id, a.stream_id, a.source, a.event_id
FROM unnest(:subject_ids::uuid[], :stream_ids::text[], :sources::text[], :event_ids::text[]) WITH ORDINALITY
    AS a (act_id, stream_id, source, event_id, place)
JOIN act_waiting AS w ON w.act_id = a.act_id
ORDER BY w.act_id, a.place
FOR KEY SHARE OF w
ON CONFLICT (subject_id, source, event_id) DO NOTHING;

-- name: listeners_of
-- Who is told of these bills or acts, in the order in which they offered them.
SELECT subject_id, stream_id, source, event_id
FROM listeners
WHERE subject_id = ANY(:subject_ids::uuid[])
ORDER BY n;

-- name: keep_settled!
-- Under which ids bills and acts were told again.
INSERT INTO settled_events (subject_id, n, event_id, told)
SELECT a.subject_id, a.n, a.event_id, a.told
FROM unnest(:subject_ids::uuid[], :ns::smallint[], :event_ids::uuid[], :tolds::int[]) AS a (subject_id, n, event_id, told);
