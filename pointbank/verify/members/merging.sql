-- Who goes on as whom, and who is found where, as each keeper has it.

-- name: members
-- Members who go on as others.
SELECT 'members' AS keeper, m.member_id::text AS member_id, m.merged_into::text AS merged_into
FROM members.members AS m
WHERE m.merged_into IS NOT NULL
UNION ALL
SELECT 'earn', e.member_id::text, e.merged_into::text FROM earn.merged_members AS e
UNION ALL
SELECT 'redeem', r.member_id::text, r.merged_into::text FROM redeem.merged_members AS r;

-- name: wallets
-- Wallets that others go on for.
SELECT 'earn' AS keeper, h.wallet_id::text AS wallet_id, h.heir::text AS heir FROM earn.heirs AS h
UNION ALL
SELECT 'redeem', w.wallet_id::text, w.merged_into::text FROM redeem.wallets AS w WHERE w.merged_into IS NOT NULL
UNION ALL
SELECT 'tiers', s.wallet_id::text, s.heir::text FROM tiers.standings AS s WHERE s.heir IS NOT NULL;

-- name: finding
-- How many wallets members are found in at the bank.
SELECT count(*) FROM redeem.member_wallets;

-- name: strangers
-- Who is found at the bank in a wallet that is not their own, not of that programme, or over.
SELECT
    f.member_id::text AS member_id, f.programme, f.wallet_id::text AS wallet_id, w.member_id::text AS whose, w.programme AS of_programme,
    w.merged_into IS NOT NULL AS ended
FROM redeem.member_wallets AS f
LEFT JOIN redeem.wallets AS w ON w.wallet_id = f.wallet_id
WHERE (w.member_id, w.programme) IS DISTINCT FROM (f.member_id, f.programme) OR w.merged_into IS NOT NULL;

-- name: unfound
-- Who was merged, and is not found at the bank in a programme in which who they go on as, through every merge, is.
WITH RECURSIVE goes_on AS (
    SELECT m.member_id, m.merged_into FROM redeem.merged_members AS m
    UNION
    SELECT g.member_id, m.merged_into
    FROM goes_on AS g
    JOIN redeem.merged_members AS m ON m.member_id = g.merged_into
)
SELECT g.member_id::text AS member_id, f.programme, g.merged_into::text AS merged_into
FROM goes_on AS g
JOIN redeem.member_wallets AS f ON f.member_id = g.merged_into
WHERE NOT EXISTS (SELECT FROM redeem.merged_members AS m WHERE m.member_id = g.merged_into)
    AND NOT EXISTS (SELECT FROM redeem.member_wallets AS o WHERE o.member_id = g.member_id AND o.programme = f.programme);

-- name: ids
-- How many own ids of members name each, where that is not one, or who that is was merged; `known`: whether earn heard of who it is.
SELECT coalesce(k.member_id, i.member_id)::text AS member_id, k.member_id IS NOT NULL AS known, coalesce(i.n, 0) AS n
FROM (SELECT m.member_id FROM earn.members AS m UNION SELECT g.member_id FROM earn.merged_members AS g) AS k
FULL JOIN (
    SELECT e.member_id, count(*) AS n FROM earn.identities AS e WHERE e.kind = 'member_id' GROUP BY e.member_id
) AS i ON i.member_id = k.member_id
WHERE coalesce(i.n, 0) <> 1 OR k.member_id IS NULL;

-- name: own_ids
-- How many own ids earn has.
SELECT count(*) FROM earn.identities AS e WHERE e.kind = 'member_id';
