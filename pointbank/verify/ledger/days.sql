-- What was told of the accruals of each day.

-- name: told
-- Each telling of a day.
SELECT t.day::text AS day, t.sequence, t.programmes::text AS programmes FROM earn.told_days AS t ORDER BY t.day, t.sequence;

-- name: heard
-- What the bank heard last of each day, and what it held its ledger against.
SELECT t.day::text AS day, t.sequence, t.programmes::text AS programmes, t.compared FROM redeem.told_days AS t ORDER BY t.day;

-- name: accruals
-- The accruals that earn announced, of days that were told.
SELECT a.accrual_id, w.programme, a.points
FROM (
    SELECT b.accrual_id, b.wallet_id, b.points FROM earn.accruals AS b
    UNION ALL
    SELECT c.accrual_id, c.wallet_id, c.points FROM earn.act_accruals AS c
) AS a
LEFT JOIN earn.wallets AS w ON w.wallet_id = a.wallet_id
WHERE a.points > 0 AND EXISTS (SELECT FROM earn.told_days);

-- name: posted
-- The accruals in the ledger, by their lines.
SELECT l.posting_id AS accrual_id, w.programme, sum(l.points)::bigint AS points
FROM redeem.ledger AS l
LEFT JOIN redeem.wallets AS w ON w.wallet_id = l.wallet_id
WHERE l.kind IN ('earn', 'earn_held') AND EXISTS (SELECT FROM redeem.told_days)
GROUP BY l.posting_id, w.programme;

-- name: differences
-- What the bank kept of days that did not agree, whatever became of it.
SELECT DISTINCT d.subject FROM redeem.reconciliation_differences AS d WHERE d.kind = 'accruals';
