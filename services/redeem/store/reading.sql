-- What is asked about wallets, beside the lane. The search path is redeem's schema.

-- name: wallet_value^
-- What a wallet's points are worth now: of its programme's newest version, null while none is known; and which wallet has them since
-- it was merged, through every merge. No row: no such wallet.
SELECT
    w.programme,
    p.currency,
    p.point_value,
    h.heir AS merged_into
FROM wallets AS w
LEFT JOIN heirs AS h ON w.wallet_id = h.wallet_id
LEFT JOIN LATERAL (
    SELECT
        v.document #>> '{programme,currency}' AS currency,
        v.document #>> '{programme,point_value}' AS point_value
    FROM programmes AS v
    WHERE v.programme = w.programme
    ORDER BY v.version DESC
    LIMIT 1
) AS p ON true
WHERE w.wallet_id = :wallet_id;

-- name: balance
-- A wallet as it stands, with what is usable of its open lots by their expiry; one snapshot. No row: no such wallet.
SELECT
    w.available,
    w.held,
    w.reserved,
    w.debt,
    l.expires_at,
    coalesce(sum(l.remaining - l.held - l.reserved), 0)::bigint AS usable
FROM wallets AS w
LEFT JOIN lots AS l ON w.wallet_id = l.wallet_id AND l.open
WHERE w.wallet_id = :wallet_id
GROUP BY w.wallet_id, l.expires_at
ORDER BY l.expires_at;

-- name: closed_through$
-- The end of the last month that is closed: up to it there are snapshots. Null while none is.
SELECT max(as_of)
FROM closings
WHERE closed;

-- name: balance_at
-- The same at a past moment, from the lines that were posted by the one and effective by the other ('infinity': any).
-- `base` is the month's beginning and `base_end` its end, both `closed` where the moment lies in a month that is not closed
-- yet (docs/ledger.md, "A past moment"): a snapshot, a month's lines, those not closed yet, and the strays around the moment.
WITH snapshot AS MATERIALIZED (
    SELECT
        s.debt,
        s.lot_ids,
        s.lot_available,
        s.lot_held,
        s.lot_reserved
    FROM snapshots AS s
    WHERE s.wallet_id = :wallet_id AND s.as_of <= :base
    ORDER BY s.as_of DESC
    LIMIT 1
),

around AS MATERIALIZED (
    SELECT
        t.lot_id,
        t.from_bucket,
        t.to_bucket,
        CASE WHEN t.late THEN t.points ELSE -t.points END AS points
    FROM generate_series(0, 7) AS g (span)
    JOIN strays AS t ON g.span = t.span
    WHERE
        t.wallet_id = :wallet_id
        AND t.starts_at <= :effective_by
        AND t.starts_at > CASE
            WHEN g.span < 7 THEN :effective_by::timestamptz - make_interval(hours => 24 * (4 ^ g.span)::int)
            ELSE '-infinity'::timestamptz
        END
        AND t.ends_at > :effective_by
        AND CASE WHEN t.late THEN t.ends_at >= :base_end AND t.ends_at < :closed ELSE t.starts_at < :base END
),

moved AS (
    SELECT
        e.lot_id,
        e.from_bucket,
        e.to_bucket,
        e.points
    FROM ledger AS e
    WHERE
        e.wallet_id = :wallet_id
        AND e.posted_at >= :base AND e.posted_at < :base_end
        AND e.posted_at <= :posted_by AND e.effective_at <= :effective_by
    UNION ALL
    SELECT
        e.lot_id,
        e.from_bucket,
        e.to_bucket,
        e.points
    FROM ledger AS e
    WHERE
        e.wallet_id = :wallet_id
        AND e.posted_at >= :closed
        AND e.posted_at <= :posted_by AND e.effective_at <= :effective_by
    UNION ALL
    SELECT
        a.lot_id,
        a.from_bucket,
        a.to_bucket,
        a.points
    FROM around AS a
),

parts AS (
    SELECT
        m.lot_id,
        CASE WHEN m.to_bucket = 'available' THEN m.points WHEN m.from_bucket = 'available' THEN -m.points ELSE 0 END AS available,
        CASE WHEN m.to_bucket = 'held' THEN m.points WHEN m.from_bucket = 'held' THEN -m.points ELSE 0 END AS held,
        CASE WHEN m.to_bucket = 'reserved' THEN m.points WHEN m.from_bucket = 'reserved' THEN -m.points ELSE 0 END AS reserved,
        CASE WHEN m.to_bucket = 'debt' THEN m.points WHEN m.from_bucket = 'debt' THEN -m.points ELSE 0 END AS debt
    FROM moved AS m
    UNION ALL
    SELECT
        u.lot_id,
        u.available,
        u.held,
        u.reserved,
        0
    FROM snapshot AS s
    CROSS JOIN LATERAL unnest(s.lot_ids, s.lot_available, s.lot_held, s.lot_reserved) AS u (lot_id, available, held, reserved)
    UNION ALL
    SELECT
        NULL,
        0,
        0,
        0,
        s.debt
    FROM snapshot AS s
),

by_lot AS (
    SELECT
        p.lot_id,
        sum(p.available) AS available,
        sum(p.held) AS held,
        sum(p.reserved) AS reserved,
        sum(p.debt) AS debt
    FROM parts AS p
    GROUP BY p.lot_id
    HAVING sum(p.available) <> 0 OR sum(p.held) <> 0 OR sum(p.reserved) <> 0 OR sum(p.debt) <> 0
),

by_expiry AS (
    SELECT
        l.expires_at,
        sum(b.available)::bigint AS available,
        sum(b.held)::bigint AS held,
        sum(b.reserved)::bigint AS reserved,
        sum(b.debt)::bigint AS debt
    FROM by_lot AS b
    LEFT JOIN lots AS l ON b.lot_id = l.lot_id
    GROUP BY l.expires_at
)

SELECT
    coalesce(sum(b.available) OVER (), 0)::bigint AS available,
    coalesce(sum(b.held) OVER (), 0)::bigint AS held,
    coalesce(sum(b.reserved) OVER (), 0)::bigint AS reserved,
    coalesce(sum(b.debt) OVER (), 0)::bigint AS debt,
    b.expires_at,
    coalesce(b.available, 0) AS usable
FROM wallets AS w
LEFT JOIN by_expiry AS b ON true
WHERE w.wallet_id = :wallet_id
ORDER BY b.expires_at;

-- name: ledger_page
-- A wallet's lines before `seq`, the newest first, of these kinds (null: any), posted and effective from a moment on and
-- before another. Lines count without a gap: without a filter the last `reach` before `seq` are all, and snapshots
-- tell in which months those are. With one, `reach` is as far as the first line. `opened_by`: what opened the lot that expired.
-- Of what was taken back and repaid also `earned_by`, what earned the lot or the one that it came from (`earned_by_act`: an act), and
-- whether a redemption brought what repaid.
SELECT
    e.seq,
    e.posting_id,
    e.kind::text AS kind,
    e.from_bucket::text AS from_bucket,
    e.to_bucket::text AS to_bucket,
    e.points,
    e.money_minor,
    e.lot_id,
    e.source_id,
    EXISTS (SELECT FROM acts AS a WHERE a.act_id = e.source_id) AS by_act,
    CASE
        WHEN e.kind = 'expire' THEN (
            SELECT p.kind::text
            FROM lots AS l
            JOIN postings AS p ON l.accrual_id = p.posting_id
            WHERE l.lot_id = e.lot_id
        )
    END AS opened_by,
    o.source_id AS earned_by,
    EXISTS (SELECT FROM acts AS a WHERE a.act_id = o.source_id) AS earned_by_act,
    CASE
        WHEN e.kind = 'repay' THEN EXISTS (SELECT FROM redemptions AS r WHERE r.redemption_id = e.source_id)
    END AS by_redemption,
    e.effective_at,
    e.posted_at,
    e.available_after,
    e.held_after,
    e.reserved_after,
    e.debt_after,
    e.hash
FROM (
    SELECT *
    FROM ledger
    WHERE
        wallet_id = :wallet_id
        AND seq < :before
        AND seq >= :before - :reach
        AND posted_at >= (
            SELECT coalesce(max(s.as_of), '-infinity')
            FROM snapshots AS s
            WHERE s.wallet_id = :wallet_id AND s.seq < :before - :reach
        )
        AND posted_at < (
            SELECT coalesce(min(s.as_of), 'infinity')
            FROM snapshots AS s
            WHERE s.wallet_id = :wallet_id AND s.seq >= :before - 1
        )
        AND posted_at >= :posted_since AND posted_at < :posted_until
        AND effective_at >= :effective_since AND effective_at < :effective_until
        AND (:kinds::text[] IS NULL OR kind::text = ANY(:kinds))
    ORDER BY seq DESC
    LIMIT :most
) AS e
LEFT JOIN LATERAL (
    WITH RECURSIVE line AS (
        SELECT
            l.source_id,
            l.parent_lot
        FROM lots AS l
        WHERE l.lot_id = e.lot_id AND e.kind IN ('cancel_hold', 'reverse', 'owe', 'repay')
        UNION ALL
        SELECT
            l.source_id,
            l.parent_lot
        FROM line
        JOIN lots AS l ON line.parent_lot = l.lot_id
    )

    SELECT line.source_id
    FROM line
    WHERE line.parent_lot IS NULL
) AS o ON true
ORDER BY e.seq DESC;

-- name: last_seq$
-- The number of a wallet's last line; 0 before the first.
SELECT seq
FROM wallets
WHERE wallet_id = :wallet_id;

-- name: open_lots
-- A wallet's lots that still hold something, by when they were earned, after this one.
SELECT
    l.lot_id,
    l.accrual_id,
    p.kind::text AS kind,
    l.source_id,
    EXISTS (SELECT FROM acts AS a WHERE a.act_id = l.source_id) AS by_act,
    l.parent_lot,
    l.earned_at,
    l.expires_at,
    l.points,
    l.remaining,
    l.held,
    l.reserved
FROM lots AS l
LEFT JOIN postings AS p ON l.accrual_id = p.posting_id
WHERE l.wallet_id = :wallet_id AND l.open AND (l.earned_at, l.lot_id) > (:earned_at::timestamptz, :lot_id::uuid)
ORDER BY l.earned_at, l.lot_id
LIMIT :most;

-- name: all_lots
-- All lots that a wallet ever had, the last opened first: those that its lines name. `opened` is the line that opened it.
SELECT
    l.lot_id,
    l.accrual_id,
    p.kind::text AS kind,
    l.source_id,
    EXISTS (SELECT FROM acts AS a WHERE a.act_id = l.source_id) AS by_act,
    l.parent_lot,
    l.earned_at,
    l.expires_at,
    l.points,
    l.remaining,
    l.held,
    l.reserved,
    o.opened
FROM (
    SELECT
        e.lot_id,
        min(e.seq) AS opened
    FROM ledger AS e
    WHERE e.wallet_id = :wallet_id AND e.lot_id IS NOT NULL
    GROUP BY e.lot_id
) AS o
JOIN lots AS l ON o.lot_id = l.lot_id
LEFT JOIN postings AS p ON l.accrual_id = p.posting_id
WHERE o.opened < :before
ORDER BY o.opened DESC
LIMIT :most;

-- name: lineage
-- A lot, the lot that it was split or moved from, and so on to the one that was earned; with the act that opened each.
WITH RECURSIVE line AS (
    SELECT
        l.*,
        1 AS depth
    FROM lots AS l
    WHERE l.lot_id = :lot_id
    UNION ALL
    SELECT
        l.*,
        line.depth + 1
    FROM line
    JOIN lots AS l ON line.parent_lot = l.lot_id
)

SELECT
    l.wallet_id,
    l.lot_id,
    l.accrual_id,
    p.kind::text AS kind,
    l.source_id,
    EXISTS (SELECT FROM acts AS a WHERE a.act_id = l.source_id) AS by_act,
    l.parent_lot,
    l.earned_at,
    l.expires_at,
    l.points,
    l.remaining,
    l.held,
    l.reserved
FROM line AS l
LEFT JOIN postings AS p ON l.accrual_id = p.posting_id
ORDER BY l.depth;
