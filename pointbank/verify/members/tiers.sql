-- Standings, and what they were reached by.

-- name: qualifications
-- Qualifying points of each wallet and year that the ledger's lines do not come to, or that nobody counted.
WITH RECURSIVE zones AS (
    SELECT DISTINCT ON (p.programme) p.programme, p.document -> 'programme' ->> 'time_zone' AS zone
    FROM tiers.programmes AS p
    ORDER BY p.programme, p.version DESC
),
-- What a return renewed came into a lot of its own: the one that was earned stands at the end of its parents.
renewed AS (
    SELECT t.lot_id, t.parent_lot
    FROM redeem.lots AS t
    WHERE t.parent_lot IS NOT NULL AND NOT t.given
    UNION ALL
    SELECT r.lot_id, t.parent_lot
    FROM renewed AS r
    JOIN redeem.lots AS t ON t.lot_id = r.parent_lot
    WHERE t.parent_lot IS NOT NULL AND NOT t.given
),
counted AS (
    SELECT l.wallet_id, l.effective_at AS counts_at, l.points
    FROM redeem.ledger AS l
    WHERE l.kind IN ('earn', 'earn_held')
    UNION ALL
    -- What was taken back qualifies no more, where it was earned.
    SELECT l.wallet_id, coalesce(o.earned_at, t.earned_at), -l.points
    FROM redeem.ledger AS l
    JOIN redeem.lots AS t ON t.lot_id = l.lot_id
    LEFT JOIN (
        SELECT r.lot_id, a.earned_at
        FROM renewed AS r
        JOIN redeem.lots AS a ON a.lot_id = r.parent_lot AND (a.parent_lot IS NULL OR a.given)
    ) AS o ON o.lot_id = l.lot_id
    WHERE l.kind IN ('reverse', 'cancel_hold', 'owe')
),
earned AS (
    -- What a wallet that was merged had earned, its heir has.
    SELECT
        coalesce(s.heir, c.wallet_id) AS wallet_id, extract(YEAR FROM c.counts_at AT TIME ZONE z.zone)::int AS year,
        sum(c.points)::bigint AS points
    FROM counted AS c
    JOIN redeem.wallets AS w ON w.wallet_id = c.wallet_id
    JOIN zones AS z ON z.programme = w.programme
    LEFT JOIN tiers.standings AS s ON s.wallet_id = c.wallet_id
    GROUP BY 1, 2
)
SELECT
    coalesce(e.wallet_id, q.wallet_id)::text AS wallet_id, coalesce(e.year, q.year) AS year, e.points AS earned, q.points AS counted
FROM earned AS e
FULL JOIN tiers.qualifications AS q ON q.wallet_id = e.wallet_id AND q.year = e.year
WHERE e.points IS DISTINCT FROM q.points;

-- name: qualified
-- How many wallets and years have qualifying points.
SELECT count(*) FROM tiers.qualifications;

-- name: standings
-- Every standing with its years and their points.
SELECT
    s.wallet_id::text AS id, s.member_id::text AS member_id, s.programme, s.tier, s.since, s.until, s.sequence, s.judged_version,
    s.heir IS NOT NULL AS merged,
    (SELECT array_agg(q.year ORDER BY q.year) FROM tiers.qualifications AS q WHERE q.wallet_id = s.wallet_id) AS years,
    (SELECT array_agg(q.points ORDER BY q.year) FROM tiers.qualifications AS q WHERE q.wallet_id = s.wallet_id) AS points
FROM tiers.standings AS s
ORDER BY s.wallet_id;

-- name: history
-- Every change of a standing, in the order of their wallets.
SELECT
    h.wallet_id::text AS id, h.sequence, h.from_tier, h.to_tier, h.direction, h.rule::text AS rule, h.programme,
    h.programme_version, h.numbers::text AS numbers, h.facts::text AS facts, h.effective_at, h.until, h.cause
FROM tiers.history AS h
ORDER BY h.wallet_id, h.sequence;

-- name: heard
-- The standings that earn heard.
SELECT t.wallet_id::text AS wallet_id, t.sequence, t.tier, t.event_id::text AS event_id, t.effective_at, t.until
FROM earn.tier_history AS t;

-- name: now
-- The moment of the snapshot.
SELECT transaction_timestamp();

-- name: versions
-- Every version that tiers judged with.
SELECT p.programme, p.version, p.activated_at, p.document::text AS document FROM tiers.programmes AS p;

-- name: uncounted
-- How many events of the bank tiers has not applied yet, cut or not; and points that belong to no year yet.
SELECT
    (SELECT c.base + c.n - 1 FROM redeem.cuts AS c ORDER BY c.no DESC LIMIT 1)
    - coalesce((
        SELECT p.applied_through + (
            SELECT coalesce(sum(upper(i.entries) - greatest(lower(i.entries), p.applied_through + 1)), 0)::bigint
            FROM tiers.inbox AS i
            WHERE i.stream = 'redeem' AND i.entries && int8range(p.applied_through + 1, NULL)
        )
        FROM tiers.positions AS p
        WHERE p.stream = 'redeem'
    ), 0)
    + (
        SELECT count(*)
        FROM redeem.outbox AS o, (SELECT c.snapshot FROM redeem.cuts AS c ORDER BY c.no DESC LIMIT 1) AS last
        WHERE o.xid >= pg_snapshot_xmin(last.snapshot) AND NOT pg_visible_in_snapshot(o.xid, last.snapshot)
    )
    + (SELECT count(*) FROM tiers.unplaced);
