-- Stock as it was counted, and as the books have it.

-- name: supplies
-- Every reward that was put, with what was ever supplied of it: as it stands, and as its history ends.
SELECT
    r.programme, r.reward, r.supplied,
    ARRAY(SELECT s.no FROM redeem.reward_supplies AS s WHERE s.programme = r.programme AND s.reward = r.reward ORDER BY s.no) AS nos,
    (
        SELECT s.supplied
        FROM redeem.reward_supplies AS s
        WHERE s.programme = r.programme AND s.reward = r.reward
        ORDER BY s.no DESC
        LIMIT 1
    ) AS last
FROM redeem.rewards AS r
WHERE r.version > 0
ORDER BY r.programme, r.reward;

-- name: counts
-- Every count, by reward, then in the order of days.
SELECT c.programme, c.reward, c.day, c.location, c.on_hand, c.used
FROM redeem.stock_counts AS c
ORDER BY c.programme, c.reward, c.day, c.location;

-- name: supplied_at
-- What was supplied of a reward when an instant came.
SELECT s.supplied
FROM redeem.reward_supplies AS s
WHERE s.programme = $1 AND s.reward = $2 AND s.since < $3
ORDER BY s.no DESC
LIMIT 1;

-- name: benefits
-- The benefits of a reward, and how each ended.
SELECT b.issued_at, b.consumed_at, b.expires_at, b.withdrawn_at, b.restocked, b.merchant, b.terminal
FROM redeem.benefits AS b
WHERE b.programme = $1 AND b.reward = $2;

-- name: differences
-- What the bank kept of counts that did not agree, by subject: `undecided` where it stands and nobody said anything about it.
SELECT d.subject, bool_or(d.state = 'open' AND d.reason IS NULL) AS undecided
FROM redeem.reconciliation_differences AS d
WHERE d.kind = 'stock'
GROUP BY d.subject;
