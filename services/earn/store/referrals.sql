-- Referrals. The search path is earn's schema. Lists go in as arrays, one transaction's worth at a time.

-- name: learn_referrals!
-- Who told whom of a programme; the first that is heard stands.
INSERT INTO referrals (member_id, programme, referrer_id)
SELECT r.member_id, r.programme, r.referrer_id
FROM unnest(:member_ids::uuid[], :programmes::text[], :referrer_ids::uuid[]) AS r (member_id, programme, referrer_id)
ORDER BY r.member_id, r.programme COLLATE "C"
ON CONFLICT DO NOTHING;

-- name: lock_open_referrals
-- The referrals that no bill has decided yet of whose these wallets are, and of who is one with them by a merge, locked: who decides
-- one has judged its bill before, or knows of the merge.
SELECT r.member_id, r.programme
FROM referrals AS r
WHERE r.bill_id IS NULL AND (r.member_id, r.programme) IN (
    SELECT o.member_id, o.programme
    FROM unnest(:wallet_ids::uuid[]) AS w (wallet_id)
    LEFT JOIN heirs AS g ON g.wallet_id = w.wallet_id
    CROSS JOIN LATERAL (
        SELECT coalesce(g.heir, w.wallet_id) AS wallet_id
        UNION ALL
        SELECT h.wallet_id FROM heirs AS h WHERE h.heir = coalesce(g.heir, w.wallet_id)
    ) AS f
    JOIN wallets AS o ON o.wallet_id = f.wallet_id
)
ORDER BY r.member_id, r.programme
FOR NO KEY UPDATE OF r;

-- name: open_referrals
-- These referrals, each with the wallet that the referred one's goes on as, in the order in which those were enrolled; not those
-- whose referrer goes on as who was referred does, by a merge that came since.
SELECT r.member_id, r.programme, coalesce(h.heir, o.wallet_id) AS heir
FROM referrals AS r
JOIN unnest(:member_ids::uuid[], :programmes::text[]) AS w (member_id, programme)
    ON w.member_id = r.member_id AND w.programme = r.programme
JOIN wallets AS o ON o.member_id = r.member_id AND o.programme = r.programme
LEFT JOIN heirs AS h ON h.wallet_id = o.wallet_id
LEFT JOIN members AS m ON m.member_id = r.member_id
WHERE NOT EXISTS (
    WITH RECURSIVE goes_on AS (
        SELECT e.is_referrer, e.member_id
        FROM (VALUES (true, r.referrer_id), (false, r.member_id)) AS e (is_referrer, member_id)
        UNION
        SELECT g.is_referrer, n.merged_into
        FROM goes_on AS g
        JOIN merged_members AS n ON g.member_id = n.member_id
    )

    SELECT
    FROM goes_on AS a
    JOIN goes_on AS b ON a.member_id = b.member_id
    WHERE a.is_referrer AND NOT b.is_referrer
)
ORDER BY m.enrolled_at, r.member_id, r.programme;

-- name: families
-- The wallet that each of these goes on as, and whether a bill was judged for any that goes on as that one.
SELECT
    w.wallet_id,
    f.heir,
    EXISTS (
        SELECT
        FROM accruals AS a
        WHERE a.wallet_id = ANY(f.heir || ARRAY(SELECT o.wallet_id FROM heirs AS o WHERE o.heir = f.heir))
    ) AS has_bills
FROM unnest(:wallet_ids::uuid[]) AS w (wallet_id)
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT h.heir FROM heirs AS h WHERE h.wallet_id = w.wallet_id), w.wallet_id) AS heir
) AS f;

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

-- ---------------------------------------------------------------- what is taken back

-- name: review_referrals!
-- Refunds of these bills moved: whether their referrals still hold is to be looked at. Also of one that is marked: who looks at it
-- now, and has not seen these refunds, takes the mark off, and is waited for.
UPDATE referrals
SET review = true
WHERE bill_id = ANY(:bill_ids::uuid[]) AND outcome = 'reached';

-- name: referrals_to_review
-- Some of those that are to be looked at, and whose two acts are decided.
SELECT r.member_id, r.programme
FROM referrals AS r
WHERE r.review AND NOT r.due AND (
    SELECT count(*)
    FROM act_keys AS k
    JOIN act_decisions AS d ON d.act_id = k.act_id AND d.status IN ('earned', 'nothing')
    WHERE k.source = 'engine:referral' AND k.act_ref IN (
        r.member_id || '/' || r.programme || '/referrer', r.member_id || '/' || r.programme || '/referred'
    )
) = 2
ORDER BY r.member_id, r.programme
LIMIT 500;

-- name: lock_reviews
-- Those of these that are to be looked at, locked.
SELECT r.member_id, r.programme, r.bill_id, r.occurred_at, r.version, r.amount_minor, r.minimum_minor
FROM referrals AS r
JOIN unnest(:member_ids::uuid[], :programmes::text[]) AS w (member_id, programme)
    ON w.member_id = r.member_id AND w.programme = r.programme
WHERE r.review
ORDER BY r.member_id, r.programme
FOR NO KEY UPDATE OF r;

-- name: refunded_of
-- The refunds of these bills that began, in their order: not those that wait for another one, and not those that came too late for
-- every programme of the bill.
SELECT f.bill_id, b.total_minor, f.refund_id, f.refunded_minor, f.occurred_at
FROM refunds AS f
JOIN bills AS b ON b.bill_id = f.bill_id
WHERE f.bill_id = ANY(:bill_ids::uuid[]) AND f.n IS NOT NULL AND f.status <> 'queued' AND f.code IS DISTINCT FROM 'window_closed'
ORDER BY f.bill_id, f.n;

-- name: accruals_of_acts
-- What the acts with these references earned, each with its decision.
SELECT k.act_ref, c.accrual_id, c.act_id, c.wallet_id, c.points, d.decision, d.sequence
FROM act_keys AS k
JOIN act_accruals AS c ON c.act_id = k.act_id
JOIN act_decisions AS d ON d.act_id = k.act_id AND d.status = 'earned'
WHERE k.source = 'engine:referral' AND k.act_ref = ANY(:act_refs::text[])
ORDER BY c.accrual_id;

-- name: ask_reversals
-- Those of these accruals that nobody was asked to take back before, and that the bank is asked for from now on.
INSERT INTO act_reversals (
    accrual_id, request_id, act_id, bill_id, refund_id, wallet_id, programme, currency, point_value, points, on_spent, effective_at,
    decided_at, sequence
)
SELECT
    n.accrual_id, n.request_id, n.act_id, n.bill_id, n.refund_id, n.wallet_id, n.programme, n.currency, n.point_value, n.points,
    n.on_spent, n.effective_at, n.decided_at, n.sequence
FROM unnest(
    :accrual_ids::uuid[], :request_ids::uuid[], :act_ids::uuid[], :bill_ids::uuid[], :refund_ids::uuid[], :wallet_ids::uuid[],
    :programmes::text[], :currencies::text[], :point_values::text[], :points::bigint[], :on_spents::text[],
    :effective_ats::timestamptz[], :decided_ats::timestamptz[], :sequences::int[]
) AS n (
    accrual_id, request_id, act_id, bill_id, refund_id, wallet_id, programme, currency, point_value, points, on_spent, effective_at,
    decided_at, sequence
)
ORDER BY n.accrual_id
ON CONFLICT DO NOTHING
RETURNING accrual_id;

-- name: mark_reviewed!
-- These were looked at.
UPDATE referrals AS r
SET review = false
FROM unnest(:member_ids::uuid[], :programmes::text[]) AS w (member_id, programme)
WHERE r.member_id = w.member_id AND r.programme = w.programme;

-- name: lock_reversals
-- What was asked under these request ids, locked, with the decision that gave the points.
SELECT
    v.accrual_id, v.request_id, v.act_id, v.bill_id, v.wallet_id, v.programme, v.currency, v.point_value, v.points, v.on_spent,
    v.effective_at, v.decided_at, v.sequence, v.asked_at, v.status, v.through, d.decision
FROM act_reversals AS v
JOIN act_decisions AS d ON d.act_id = v.act_id AND d.status = 'earned'
WHERE v.request_id = ANY(:request_ids::uuid[])
ORDER BY v.accrual_id
FOR NO KEY UPDATE OF v;

-- name: answer_reversals!
-- What the bank answered.
UPDATE act_reversals AS v
SET status = a.status, through = a.through, code = a.code
FROM unnest(:request_ids::uuid[], :statuses::text[], :throughs::bigint[], :codes::text[]) AS a (request_id, status, through, code)
WHERE v.request_id = a.request_id;

-- name: overdue_reversals
-- Some that the bank has not answered since then.
SELECT request_id
FROM act_reversals
WHERE status = 'asked' AND asked_at < :asked_before
ORDER BY accrual_id
LIMIT 500;

-- name: ask_reversals_again!
-- These are asked once more.
UPDATE act_reversals
SET sequence = sequence + 1, asked_at = now()
WHERE request_id = ANY(:request_ids::uuid[]);
