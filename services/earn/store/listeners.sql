-- Who offered what is not settled yet, and is told when it is. The search path is earn's schema. Lists go in as arrays.

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

-- name: listen_for_refunds!
-- The same for refunds that are not closed. A share of the lock under which they are moved: that takes no key.
INSERT INTO listeners (subject_id, stream_id, source, event_id)
SELECT r.refund_id, a.stream_id, a.source, a.event_id
FROM unnest(:subject_ids::uuid[], :stream_ids::text[], :sources::text[], :event_ids::text[]) WITH ORDINALITY
    AS a (refund_id, stream_id, source, event_id, place)
JOIN refunds AS r ON r.refund_id = a.refund_id AND r.status IN ('waiting_for_bill', 'queued', 'pending')
ORDER BY r.refund_id, a.place
FOR SHARE OF r
ON CONFLICT (subject_id, source, event_id) DO NOTHING;

-- name: listen_for_activations!
-- The same for activations of bills that have not come; each is named by the event that recorded it.
INSERT INTO listeners (subject_id, stream_id, source, event_id)
SELECT t.recorded_event_id, a.stream_id, a.source, a.event_id
FROM unnest(
    :merchants::text[], :bill_refs::text[], :stream_ids::text[], :sources::text[], :event_ids::text[]
) WITH ORDINALITY AS a (merchant, bill_ref, stream_id, source, event_id, place)
JOIN told_activations AS t ON t.merchant = a.merchant AND t.bill_ref = a.bill_ref AND t.bill_id IS NULL
ORDER BY t.merchant, t.bill_ref, a.place
FOR SHARE OF t
ON CONFLICT (subject_id, source, event_id) DO NOTHING;

-- name: listeners_of
-- Who is told of these, in the order in which they offered them.
SELECT subject_id, stream_id, source, event_id
FROM listeners
WHERE subject_id = ANY(:subject_ids::uuid[])
ORDER BY n;

-- name: keep_settled!
-- Under which ids these were told again.
INSERT INTO settled_events (subject_id, n, event_id, told)
SELECT a.subject_id, a.n, a.event_id, a.told
FROM unnest(:subject_ids::uuid[], :ns::smallint[], :event_ids::uuid[], :tolds::int[]) AS a (subject_id, n, event_id, told);
