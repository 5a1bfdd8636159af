-- Referrals. The search path is earn's schema. Lists go in as arrays, one transaction's worth at a time.

-- name: learn_referrals!
-- Who told whom of a programme; the first that is heard stands.
INSERT INTO referrals (member_id, programme, referrer_id)
SELECT r.member_id, r.programme, r.referrer_id
FROM unnest(:member_ids::uuid[], :programmes::text[], :referrer_ids::uuid[]) AS r (member_id, programme, referrer_id)
ORDER BY r.member_id, r.programme COLLATE "C"
ON CONFLICT DO NOTHING;

-- name: lock_open_referrals
-- Those of these members' referrals that no bill has decided yet, locked.
SELECT r.member_id, r.programme
FROM referrals AS r
JOIN unnest(:member_ids::uuid[], :programmes::text[]) AS w (member_id, programme)
    ON w.member_id = r.member_id AND w.programme = r.programme
WHERE r.bill_id IS NULL
ORDER BY r.member_id, r.programme
FOR NO KEY UPDATE OF r;

-- name: wallets_with_bills
-- Those of these wallets that a bill was judged for.
SELECT w.wallet_id
FROM unnest(:wallet_ids::uuid[]) AS w (wallet_id)
WHERE EXISTS (SELECT FROM accruals AS a WHERE a.wallet_id = w.wallet_id);

-- name: decide_referrals!
-- What the first bill of each of these referred members decided.
UPDATE referrals AS r
SET
    outcome = d.outcome, bill_id = d.bill_id, occurred_at = d.occurred_at, version = d.version, amount_minor = d.amount_minor,
    minimum_minor = d.minimum_minor, due = d.outcome = 'reached'
FROM unnest(
    :member_ids::uuid[], :programmes::text[], :outcomes::text[], :bill_ids::uuid[], :occurred_ats::timestamptz[], :versions::int[],
    :amounts_minor::bigint[], :minimums_minor::bigint[]
) AS d (member_id, programme, outcome, bill_id, occurred_at, version, amount_minor, minimum_minor)
WHERE r.member_id = d.member_id AND r.programme = d.programme AND r.bill_id IS NULL;

-- name: due_referrals
-- Some of those whose acts are still to be recorded.
SELECT member_id, programme
FROM referrals
WHERE due
ORDER BY member_id, programme
LIMIT 500;

-- name: lock_due_referrals
-- Those of these whose acts are still to be recorded, locked.
SELECT r.member_id, r.programme, r.referrer_id, r.bill_id, r.occurred_at, r.amount_minor, r.minimum_minor
FROM referrals AS r
JOIN unnest(:member_ids::uuid[], :programmes::text[]) AS w (member_id, programme)
    ON w.member_id = r.member_id AND w.programme = r.programme
WHERE r.due
ORDER BY r.member_id, r.programme
FOR NO KEY UPDATE OF r;

-- name: mark_given!
-- Both acts of these are recorded.
UPDATE referrals AS r
SET due = false
FROM unnest(:member_ids::uuid[], :programmes::text[]) AS w (member_id, programme)
WHERE r.member_id = w.member_id AND r.programme = w.programme;
