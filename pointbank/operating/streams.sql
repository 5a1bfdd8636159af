-- What an administrator does where a stream and PostgreSQL tell different stories. The search path is the service's schema.

-- name: lock_outbox!
-- Who is committing something to tell is waited for; who comes after waits for us. Before the first write of a transaction.
LOCK TABLE outbox, cuts IN SHARE ROW EXCLUSIVE MODE;

-- name: planned_ids
-- The event ids of dense ids from `first` to `last`, in order, as far as they are planned.
SELECT told.n, told.event_id
FROM (
    SELECT o.event_id, c.base + row_number() OVER (PARTITION BY c.no ORDER BY o.id) - 1 AS n
    FROM cuts AS c
    JOIN outbox AS o ON o.xid >= pg_snapshot_xmin(c.previous) AND o.xid < pg_snapshot_xmax(c.snapshot)
    WHERE c.base <= :last AND c.base + c.n > :first
        AND NOT pg_visible_in_snapshot(o.xid, c.previous)
        AND pg_visible_in_snapshot(o.xid, c.snapshot)
) AS told
WHERE told.n BETWEEN :first AND :last
ORDER BY told.n;

-- name: uncut$
-- How many committed events no cut has taken.
SELECT count(*)
FROM outbox AS o, (SELECT snapshot FROM cuts ORDER BY no DESC LIMIT 1) AS last
WHERE o.xid >= pg_snapshot_xmin(last.snapshot) AND NOT pg_visible_in_snapshot(o.xid, last.snapshot);

-- name: adoption_of^
-- What was decided about a stream that was published as far as this, under this hash.
SELECT epoch, head_n, head_hash, agreed_through, voided_through
FROM adoptions
WHERE head_n = :head_n AND head_hash = :head_hash;

-- name: adopt$
-- Decides; gives the epoch.
INSERT INTO adoptions (epoch, head_n, head_hash, agreed_through, voided_through, actor, reason)
SELECT coalesce(max(epoch), 0) + 1, :head_n, :head_hash, :agreed_through, :voided_through, :actor, :reason
FROM adoptions
RETURNING epoch;

-- name: audit!
-- Who decided it.
INSERT INTO audit (at, actor, action, object, before, after, place, request_id)
VALUES (clock_timestamp(), :actor, 'stream.adopted', :object, :before::jsonb, :after::jsonb, 'cli', :request_id);

-- name: tell_again!
-- What was planned above the last id that both tell alike, once more, in its order.
INSERT INTO outbox (event_id, payload)
SELECT told.event_id, told.payload
FROM (
    SELECT o.event_id, o.payload, c.base + row_number() OVER (PARTITION BY c.no ORDER BY o.id) - 1 AS n
    FROM cuts AS c
    JOIN outbox AS o ON o.xid >= pg_snapshot_xmin(c.previous) AND o.xid < pg_snapshot_xmax(c.snapshot)
    WHERE c.base + c.n - 1 > :agreed_through
        AND NOT pg_visible_in_snapshot(o.xid, c.previous)
        AND pg_visible_in_snapshot(o.xid, c.snapshot)
) AS told
WHERE told.n > :agreed_through
ORDER BY told.n;

-- name: heard^
-- How far this service has applied a stream, and the runs that it has heard above that.
SELECT p.applied_through, array_agg(lower(i.entries) ORDER BY i.entries) FILTER (WHERE i.entries IS NOT NULL) AS firsts,
    array_agg(upper(i.entries) - 1 ORDER BY i.entries) FILTER (WHERE i.entries IS NOT NULL) AS lasts
FROM positions AS p
LEFT JOIN inbox AS i ON i.stream = :stream AND i.entries && int8range(p.applied_through + 1, NULL)
WHERE p.stream = :stream
GROUP BY p.applied_through;

-- name: consider_heard!
-- What of these ids this service has not heard, it never will: they are told again under others.
INSERT INTO inbox (stream, entries)
SELECT :stream, missing.entries
FROM positions AS p,
LATERAL (
    SELECT unnest(
        int8multirange(int8range(least(greatest(:first, p.applied_through + 1), :last + 1), :last + 1))
        - coalesce((SELECT range_agg(i.entries) FROM inbox AS i WHERE i.stream = :stream), '{}'::int8multirange)
    ) AS entries
) AS missing
WHERE p.stream = :stream;

-- name: orphans
-- Events that left and whose facts are gone, newest decision first.
SELECT a.epoch, a.at, a.actor, a.reason, o.n, o.event_id, o.type, o.subject, o.payload, o.heard_by
FROM orphans AS o
JOIN adoptions AS a ON a.epoch = o.epoch
ORDER BY o.epoch DESC, o.n
LIMIT :most;
