-- A service's outbox and its cuts. The search path is not ours: {schema} is put in by the reader, from its own list.

-- name: cuts
-- Every cut, in order. Number 0 stands for the beginning.
SELECT c.no, c.base, c.n, c.previous::text AS previous, c.snapshot::text AS snapshot, c.hash
FROM {schema}.cuts AS c
ORDER BY c.no;

-- name: rows
-- Everything that was said, in the order of the ids.
SELECT o.id, o.xid::text::bigint AS xid, uuid_send(o.event_id) AS event_id, o.payload
FROM {schema}.outbox AS o
ORDER BY o.id;

-- name: said
-- How many events were said.
SELECT count(*) FROM {schema}.outbox;

-- name: inbox
-- What is still named in the inbox, by stream: how many entries up to the position, and above.
SELECT
    p.stream, p.applied_through, coalesce(min(lower(i.entries)), 0) AS lowest, coalesce(max(upper(i.entries)) - 1, 0) AS highest,
    coalesce(sum(greatest(least(upper(i.entries), p.applied_through + 1) - lower(i.entries), 0)), 0)::bigint AS below,
    coalesce(sum(greatest(upper(i.entries) - greatest(lower(i.entries), p.applied_through + 1), 0)), 0)::bigint AS above
FROM {schema}.positions AS p
LEFT JOIN {schema}.inbox AS i ON i.stream = p.stream
GROUP BY p.stream, p.applied_through;

-- name: adoptions
-- Where PostgreSQL and the stream had parted, and how many orphans were named then.
SELECT
    a.epoch, a.head_n, a.agreed_through, a.voided_through,
    (SELECT count(*) FROM {schema}.orphans AS o WHERE o.epoch = a.epoch) AS orphans
FROM {schema}.adoptions AS a
ORDER BY a.epoch;

-- name: orphans
-- The events that had left without a fact.
SELECT o.n, o.event_id, o.heard_by
FROM {schema}.orphans AS o
ORDER BY o.epoch, o.n;
