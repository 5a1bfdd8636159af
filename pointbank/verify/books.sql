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
-- What was applied beyond the first gap, entry by entry.
SELECT i.stream, 'earn' AS hearer, g.n
FROM earn.inbox AS i
JOIN earn.positions AS p ON p.stream = i.stream
CROSS JOIN generate_series(greatest(lower(i.entries), p.applied_through + 1), upper(i.entries) - 1) AS g (n)
WHERE i.entries && int8range(p.applied_through + 1, NULL)
UNION ALL
SELECT i.stream, 'redeem', g.n
FROM redeem.inbox AS i
JOIN redeem.positions AS p ON p.stream = i.stream
CROSS JOIN generate_series(greatest(lower(i.entries), p.applied_through + 1), upper(i.entries) - 1) AS g (n)
WHERE i.entries && int8range(p.applied_through + 1, NULL)
UNION ALL
SELECT i.stream, 'tiers', g.n
FROM tiers.inbox AS i
JOIN tiers.positions AS p ON p.stream = i.stream
CROSS JOIN generate_series(greatest(lower(i.entries), p.applied_through + 1), upper(i.entries) - 1) AS g (n)
WHERE i.entries && int8range(p.applied_through + 1, NULL)
UNION ALL
SELECT i.stream, 'notifier', g.n
FROM notifier.inbox AS i
JOIN notifier.positions AS p ON p.stream = i.stream
CROSS JOIN generate_series(greatest(lower(i.entries), p.applied_through + 1), upper(i.entries) - 1) AS g (n)
WHERE i.entries && int8range(p.applied_through + 1, NULL);

-- name: dead_entries
-- Events of our own streams that became dead letters and were not done since.
SELECT d.stream, 'earn' AS hearer, split_part(d.entry_id, '-', 1)::bigint AS n
FROM earn.dead_letters AS d WHERE d.state <> 'retried' AND d.stream <> 'pos'
UNION ALL
SELECT d.stream, 'redeem', split_part(d.entry_id, '-', 1)::bigint FROM redeem.dead_letters AS d WHERE d.state <> 'retried'
UNION ALL
SELECT d.stream, 'tiers', split_part(d.entry_id, '-', 1)::bigint FROM tiers.dead_letters AS d WHERE d.state <> 'retried'
UNION ALL
SELECT d.stream, 'notifier', split_part(d.entry_id, '-', 1)::bigint FROM notifier.dead_letters AS d WHERE d.state <> 'retried';

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
