-- name: bills^
-- How many bills earn keeps, how many of them name nobody, and how many wallets they are worth something to.
SELECT
    (SELECT count(*) FROM earn.bills) AS bills,
    (SELECT count(*) FROM earn.bills AS b WHERE b.identity IS NULL) AS anonymous,
    (SELECT count(DISTINCT a.wallet_id) FROM earn.accruals AS a) AS members_with_bills,
    (SELECT count(*) FROM earn.waiting) AS waiting,
    (SELECT count(*) FROM earn.rejections) AS rejections;

-- name: members$
-- How many members there are.
SELECT count(*) FROM members.members;

-- name: buckets^
-- What the ledger's lines of a programme add up to, by bucket.
SELECT
    coalesce(sum(l.points) FILTER (WHERE l.from_bucket = 'issued' AND l.kind <> 'merge'), 0)::bigint AS earned,
    coalesce(
        sum(CASE WHEN l.to_bucket = 'available' THEN l.points WHEN l.from_bucket = 'available' THEN -l.points END), 0
    )::bigint AS available,
    coalesce(
        sum(CASE WHEN l.to_bucket = 'held' THEN l.points WHEN l.from_bucket = 'held' THEN -l.points END), 0
    )::bigint AS held,
    coalesce(
        sum(CASE WHEN l.to_bucket = 'reserved' THEN l.points WHEN l.from_bucket = 'reserved' THEN -l.points END), 0
    )::bigint AS reserved,
    coalesce(sum(l.points) FILTER (WHERE l.to_bucket = 'reversed' AND l.kind <> 'merge'), 0)::bigint AS reversed,
    coalesce(
        sum(CASE WHEN l.to_bucket = 'redeemed' THEN l.points WHEN l.from_bucket = 'redeemed' THEN -l.points END), 0
    )::bigint AS redeemed
FROM redeem.ledger AS l
WHERE l.wallet_id IN (SELECT w.wallet_id FROM redeem.wallets AS w WHERE w.programme = :programme);

-- name: most_earned
-- The wallets that earned most, best first; equal ones by wallet. What a merged wallet earned is its heir's.
SELECT
    coalesce(h.heir, l.wallet_id) AS wallet_id,
    sum(l.points)::bigint AS points
FROM redeem.ledger AS l
LEFT JOIN redeem.heirs AS h ON l.wallet_id = h.wallet_id
WHERE
    l.from_bucket = 'issued' AND l.kind <> 'merge'
    AND l.wallet_id IN (SELECT w.wallet_id FROM redeem.wallets AS w WHERE w.programme = :programme)
GROUP BY 1
ORDER BY points DESC, wallet_id
LIMIT :most;

-- name: wallets_in_tiers
-- How many wallets of a programme stand in each tier.
SELECT
    s.tier,
    count(*) AS wallets
FROM tiers.standings AS s
WHERE s.programme = :programme AND s.tier IS NOT NULL
GROUP BY s.tier;

-- name: messages
-- How many messages there are in each state.
SELECT
    coalesce(d.state, CASE WHEN s.settled_at IS NULL THEN 'due' ELSE 'delivered' END) AS state,
    count(*) AS messages
FROM notifier.messages AS m
LEFT JOIN notifier.dispatches AS s ON s.dispatch_id = m.dispatch_id
LEFT JOIN notifier.deliveries AS d ON d.message_id = m.message_id
GROUP BY 1;

-- name: dead_letters
-- The dead letters of the pos stream that are not dropped.
SELECT
    d.entry_id,
    d.code
FROM earn.dead_letters AS d
WHERE d.stream = 'pos' AND d.state <> 'dropped';
