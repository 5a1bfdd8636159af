-- What members asks of its tables to merge members. The search path is its schema.

-- name: lock_members
-- These members, locked in the order of their ids until the transaction ends; those that don't exist are left out.
SELECT member_id, status, merged_into, event_sequence
FROM members
WHERE member_id = ANY(:member_ids::uuid[])
ORDER BY member_id
FOR NO KEY UPDATE;

-- name: wallets_of
-- The wallets of these members.
SELECT member_id, programme, wallet_id
FROM wallets
WHERE member_id = ANY(:member_ids::uuid[])
ORDER BY programme, member_id;

-- name: bear_wallets!
-- New wallets of a member who is locked.
INSERT INTO wallets (wallet_id, member_id, programme)
SELECT w.wallet_id, :member_id, w.programme
FROM unnest(:wallet_ids::uuid[], :programmes::text[]) AS w (wallet_id, programme);

-- name: merge_member!
-- A locked member goes on as another, who is locked too.
WITH merged AS (
    UPDATE members SET status = 'merged', merged_into = :into, event_sequence = :event_sequence
    WHERE member_id = :member_id
)
INSERT INTO merges (merge_id, member_id, merged_into, reason, merged_at)
VALUES (:merge_id, :member_id, :into, :reason, :merged_at);

-- name: merge_wallets!
-- Which wallet has the points of which.
INSERT INTO merged_wallets (wallet_id, merged_into, born)
SELECT w.wallet_id, w.merged_into, w.born
FROM unnest(:wallet_ids::uuid[], :merged_intos::uuid[], :borns::boolean[]) AS w (wallet_id, merged_into, born);

-- name: lead_identities
-- All that named the one names the other; gives them.
UPDATE identities
SET member_id = :into
WHERE member_id = :member_id
RETURNING kind, hash;

-- name: merged_wallets
-- Which wallet of a merged member has become which.
SELECT w.programme, w.wallet_id, m.merged_into
FROM wallets AS w
JOIN merged_wallets AS m ON m.wallet_id = w.wallet_id
WHERE w.member_id = :member_id
ORDER BY w.programme;
