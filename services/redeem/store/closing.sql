-- How months are closed: what past balances begin from (docs/ledger.md, "A past moment"). The search path is redeem's schema.

-- name: next_closing^
-- The first month that the ledger has (YYYYMM), the end of the last that is closed, and PostgreSQL's clock.
SELECT
    (
        SELECT min(right(c.relname, 6))
        FROM pg_inherits AS i
        JOIN pg_class AS c ON i.inhrelid = c.oid
        WHERE i.inhparent = 'ledger'::regclass
    ) AS first,
    (SELECT max(as_of) FROM closings WHERE closed) AS closed,
    clock_timestamp() AS clock;

-- name: newest$
-- A transaction id of its own: all that were given before, and may still run, are lower. (The xmax of a snapshot is not that:
-- it is the one after the last that has ended.)
SELECT pg_current_xact_id()::text::bigint;

-- name: oldest_running$
-- Below this transaction id everything has ended.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: begin_closing!
-- The row of a month that is being closed.
INSERT INTO closings (as_of)
VALUES (:as_of)
ON CONFLICT DO NOTHING;

-- name: lock_closing^
-- How far it has come; whoever has the row goes on from there.
SELECT
    through,
    wallets,
    closed
FROM closings
WHERE as_of = :as_of
FOR NO KEY UPDATE;

-- name: close_wallets^
-- Closes the month [begins, as_of) for the next wallets after `through`: what each of their lots held at its end, and the lines
-- of the month that happened in another. Gives how many wallets there were, and the last.
WITH page AS MATERIALIZED (
    SELECT DISTINCT e.wallet_id
    FROM ledger AS e
    WHERE e.posted_at >= :begins AND e.posted_at < :as_of AND e.wallet_id > :through
    ORDER BY e.wallet_id
    LIMIT :most
),

lines AS MATERIALIZED (
    SELECT
        e.wallet_id,
        e.seq,
        e.posted_at,
        e.effective_at,
        e.points,
        e.lot_id,
        e.from_bucket,
        e.to_bucket
    FROM page AS g
    JOIN ledger AS e ON g.wallet_id = e.wallet_id
    WHERE e.posted_at >= :begins AND e.posted_at < :as_of
),

before AS MATERIALIZED (
    SELECT
        g.wallet_id,
        s.debt,
        s.lot_ids,
        s.lot_available,
        s.lot_held,
        s.lot_reserved
    FROM page AS g
    CROSS JOIN LATERAL (
        SELECT s.*
        FROM snapshots AS s
        WHERE s.wallet_id = g.wallet_id AND s.as_of <= :begins
        ORDER BY s.as_of DESC
        LIMIT 1
    ) AS s
),

parts AS (
    SELECT
        e.wallet_id,
        e.lot_id,
        CASE WHEN e.to_bucket = 'available' THEN e.points WHEN e.from_bucket = 'available' THEN -e.points ELSE 0 END AS available,
        CASE WHEN e.to_bucket = 'held' THEN e.points WHEN e.from_bucket = 'held' THEN -e.points ELSE 0 END AS held,
        CASE WHEN e.to_bucket = 'reserved' THEN e.points WHEN e.from_bucket = 'reserved' THEN -e.points ELSE 0 END AS reserved
    FROM lines AS e
    UNION ALL
    SELECT
        b.wallet_id,
        u.lot_id,
        u.available,
        u.held,
        u.reserved
    FROM before AS b
    CROSS JOIN LATERAL unnest(b.lot_ids, b.lot_available, b.lot_held, b.lot_reserved) AS u (lot_id, available, held, reserved)
),

by_lot AS (
    SELECT
        p.wallet_id,
        p.lot_id,
        sum(p.available)::bigint AS available,
        sum(p.held)::bigint AS held,
        sum(p.reserved)::bigint AS reserved
    FROM parts AS p
    WHERE p.lot_id IS NOT NULL
    GROUP BY p.wallet_id, p.lot_id
    HAVING sum(p.available) <> 0 OR sum(p.held) <> 0 OR sum(p.reserved) <> 0
),

lots_of AS (
    SELECT
        b.wallet_id,
        array_agg(b.lot_id ORDER BY b.lot_id) AS lot_ids,
        array_agg(b.available ORDER BY b.lot_id) AS available,
        array_agg(b.held ORDER BY b.lot_id) AS held,
        array_agg(b.reserved ORDER BY b.lot_id) AS reserved
    FROM by_lot AS b
    GROUP BY b.wallet_id
),

totals AS (
    SELECT
        e.wallet_id,
        max(e.seq) AS seq,
        sum(
            CASE WHEN e.to_bucket = 'debt' THEN e.points WHEN e.from_bucket = 'debt' THEN -e.points ELSE 0 END
        )::bigint AS debt
    FROM lines AS e
    GROUP BY e.wallet_id
),

taken AS (
    INSERT INTO snapshots (wallet_id, as_of, seq, debt, lot_ids, lot_available, lot_held, lot_reserved)
    SELECT
        t.wallet_id,
        :as_of,
        t.seq,
        t.debt + coalesce(b.debt, 0),
        coalesce(l.lot_ids, '{}'),
        coalesce(l.available, '{}'),
        coalesce(l.held, '{}'),
        coalesce(l.reserved, '{}')
    FROM totals AS t
    LEFT JOIN before AS b ON t.wallet_id = b.wallet_id
    LEFT JOIN lots_of AS l ON t.wallet_id = l.wallet_id
),

strayed AS (
    INSERT INTO strays (wallet_id, span, starts_at, seq, ends_at, late, points, lot_id, from_bucket, to_bucket)
    SELECT
        e.wallet_id,
        CASE
            WHEN e.apart <= interval '1 day' THEN 0
            WHEN e.apart <= interval '4 days' THEN 1
            WHEN e.apart <= interval '16 days' THEN 2
            WHEN e.apart <= interval '64 days' THEN 3
            WHEN e.apart <= interval '256 days' THEN 4
            WHEN e.apart <= interval '1024 days' THEN 5
            WHEN e.apart <= interval '4096 days' THEN 6
            ELSE 7
        END,
        least(e.effective_at, e.posted_at),
        e.seq,
        greatest(e.effective_at, e.posted_at),
        e.effective_at < e.posted_at,
        e.points,
        e.lot_id,
        e.from_bucket,
        e.to_bucket
    FROM (
        SELECT
            *,
            greatest(effective_at, posted_at) - least(effective_at, posted_at) AS apart
        FROM lines
    ) AS e
    WHERE e.effective_at < :begins OR e.effective_at >= :as_of
)

SELECT
    count(*) AS wallets,
    (SELECT g.wallet_id FROM page AS g ORDER BY g.wallet_id DESC LIMIT 1) AS through
FROM page;

-- name: move_closing!
-- How far the month has come now.
UPDATE closings
SET through = :through, wallets = :wallets, closed = :closed
WHERE as_of = :as_of;
