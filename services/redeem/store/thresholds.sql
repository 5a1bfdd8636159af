-- Rewards that issue themselves. The search path is redeem's schema.

-- name: thresholds
-- The active rewards that issue themselves at a number of points.
SELECT
    r.programme,
    r.reward,
    v.document
FROM rewards AS r
JOIN reward_versions AS v ON r.programme = v.programme AND r.reward = v.reward AND r.version = v.version
WHERE v.document ->> 'issues_at' IS NOT NULL AND coalesce((v.document ->> 'active')::boolean, true)
ORDER BY r.programme, r.reward;

-- name: had_by_threshold
-- Which of these wallets, themselves or as what was merged into them, were issued this reward because they reached its threshold.
-- Under their locks.
SELECT coalesce(o.heir, b.wallet_id) AS wallet_id
FROM benefits AS b
LEFT JOIN heirs AS o ON b.wallet_id = o.wallet_id
WHERE
    b.programme = :programme AND b.reward = :reward AND b.origin = 'threshold'
    AND b.wallet_id = ANY(:wallet_ids::uuid[] || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = ANY(:wallet_ids::uuid[])));

-- name: reached_page
-- Active wallets that have reached a threshold and were not issued its reward, by their ids, after one. A blocked one is found again
-- when it is unblocked.
SELECT w.wallet_id
FROM wallets AS w
WHERE
    w.programme = :programme AND w.wallet_id > :after AND w.status = 'active'
    AND CASE WHEN :of_balance::boolean THEN w.available ELSE -w.issued - w.held - w.reversed END >= :points::bigint
    AND NOT EXISTS (
        SELECT
        FROM benefits AS b
        WHERE
            b.wallet_id = ANY(w.wallet_id || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = w.wallet_id))
            AND b.programme = w.programme AND b.reward = :reward AND b.origin = 'threshold'
    )
ORDER BY w.wallet_id
LIMIT :most::int;
