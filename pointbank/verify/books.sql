-- What every check needs to know first.

-- name: programmes
-- Every activated version, as earn judged with it.
SELECT p.programme, p.version, p.activated_at, p.document::text AS document
FROM earn.programmes AS p
ORDER BY p.programme, p.version;

-- name: rates
-- Every rate between currencies that earn knows.
SELECT r.from_currency, r.to_currency, r.number, r.rate, r.valid_from, r.source
FROM earn.currency_rates AS r;

-- name: positions
-- How far each service has applied what it hears without a gap.
SELECT 'earn' AS hearer, p.stream, p.applied_through FROM earn.positions AS p
UNION ALL
SELECT 'redeem', p.stream, p.applied_through FROM redeem.positions AS p
UNION ALL
SELECT 'tiers', p.stream, p.applied_through FROM tiers.positions AS p
UNION ALL
SELECT 'notifier', p.stream, p.applied_through FROM notifier.positions AS p
UNION ALL
SELECT 'members', p.stream, p.applied_through FROM members.positions AS p;

-- name: inbox_above
-- What was applied beyond the first gap, entry by entry; no further than was said.
WITH said AS (
    (SELECT 'members' AS stream, c.base + c.n - 1 AS top FROM members.cuts AS c ORDER BY c.no DESC LIMIT 1)
    UNION ALL
    (SELECT 'earn', c.base + c.n - 1 FROM earn.cuts AS c ORDER BY c.no DESC LIMIT 1)
    UNION ALL
    (SELECT 'redeem', c.base + c.n - 1 FROM redeem.cuts AS c ORDER BY c.no DESC LIMIT 1)
    UNION ALL
    (SELECT 'tiers', c.base + c.n - 1 FROM tiers.cuts AS c ORDER BY c.no DESC LIMIT 1)
),

heard AS (
    SELECT 'earn' AS hearer, i.stream, p.applied_through, i.entries
    FROM earn.inbox AS i
    JOIN earn.positions AS p ON p.stream = i.stream
    WHERE i.entries && int8range(p.applied_through + 1, NULL)
    UNION ALL
    SELECT 'redeem' AS hearer, i.stream, p.applied_through, i.entries
    FROM redeem.inbox AS i
    JOIN redeem.positions AS p ON p.stream = i.stream
    WHERE i.entries && int8range(p.applied_through + 1, NULL)
    UNION ALL
    SELECT 'tiers' AS hearer, i.stream, p.applied_through, i.entries
    FROM tiers.inbox AS i
    JOIN tiers.positions AS p ON p.stream = i.stream
    WHERE i.entries && int8range(p.applied_through + 1, NULL)
    UNION ALL
    SELECT 'notifier' AS hearer, i.stream, p.applied_through, i.entries
    FROM notifier.inbox AS i
    JOIN notifier.positions AS p ON p.stream = i.stream
    WHERE i.entries && int8range(p.applied_through + 1, NULL)
)

SELECT h.stream, h.hearer, g.n
FROM heard AS h
JOIN said AS s ON s.stream = h.stream
CROSS JOIN generate_series(
    greatest(lower(h.entries), h.applied_through + 1), least(coalesce(upper(h.entries) - 1, s.top), s.top)
) AS g (n);

-- name: dead_entries
-- Events of our own streams that became dead letters and were not done since.
WITH letters AS (
    SELECT d.stream, 'earn' AS hearer, d.entry_id FROM earn.dead_letters AS d WHERE d.state <> 'retried' AND d.stream <> 'pos'
    UNION ALL
    SELECT d.stream, 'redeem', d.entry_id FROM redeem.dead_letters AS d WHERE d.state <> 'retried'
    UNION ALL
    SELECT d.stream, 'tiers', d.entry_id FROM tiers.dead_letters AS d WHERE d.state <> 'retried'
    UNION ALL
    SELECT d.stream, 'notifier', d.entry_id FROM notifier.dead_letters AS d WHERE d.state <> 'retried'
)

SELECT l.stream, l.hearer, split_part(l.entry_id, '-', 1)::bigint AS n
FROM letters AS l
WHERE l.entry_id ~ '^[0-9]{1,18}-';

-- name: merged_wallets
-- Every wallet that was merged, and into which.
SELECT uuid_send(w.wallet_id) AS wallet_id, uuid_send(w.merged_into) AS merged_into
FROM redeem.wallets AS w
WHERE w.merged_into IS NOT NULL;

-- name: merged_members
-- Every member who goes on as another, as members says, and as earn and the bank have heard.
SELECT m.member_id::text AS member_id, m.merged_into::text AS merged_into
FROM members.members AS m
WHERE m.merged_into IS NOT NULL
UNION
SELECT m.member_id::text, m.merged_into::text FROM redeem.merged_members AS m
UNION
SELECT m.member_id::text, m.merged_into::text FROM earn.merged_members AS m;

-- name: thinned
-- Before when what guards counted of programmes may have been dropped.
SELECT t.programme, t.before
FROM earn.thinned_sightings AS t;
