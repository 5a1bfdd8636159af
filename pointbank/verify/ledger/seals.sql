-- Seals, and the ledger that they were taken of.

-- name: seals
-- Every seal, in order.
SELECT s.no, s.sealed_at, s.leaves, s.root, s.pages, s.previous, s.hash, s.public_key, s.signature
FROM redeem.seals AS s
ORDER BY s.no;

-- name: leaves
-- The leaves of every seal, in order.
SELECT
    k.no, k.position, CASE WHEN k.card_id IS NULL THEN 'wallet' ELSE 'card' END AS holder,
    uuid_send(coalesce(k.wallet_id, k.card_id)) AS id, k.seq, k.head
FROM redeem.seal_leaves AS k
ORDER BY k.no, k.position;

-- name: count_leaves
-- How many leaves there are.
SELECT count(*) FROM redeem.seal_leaves;

-- name: off_chain
-- Sealed heads that are no line's hash any more, with what that line's hash is now.
SELECT k.no, uuid_send(k.wallet_id) AS id, k.seq, l.hash
FROM redeem.seal_leaves AS k
LEFT JOIN redeem.ledger AS l ON l.wallet_id = k.wallet_id AND l.seq = k.seq
WHERE k.wallet_id IS NOT NULL AND l.hash IS DISTINCT FROM k.head
ORDER BY k.wallet_id, k.seq;

-- name: off_card_chain
-- The same of gift cards.
SELECT k.no, uuid_send(k.card_id) AS id, k.seq, l.hash
FROM redeem.seal_leaves AS k
LEFT JOIN redeem.gift_card_lines AS l ON l.card_id = k.card_id AND l.seq = k.seq
WHERE k.card_id IS NOT NULL AND l.hash IS DISTINCT FROM k.head
ORDER BY k.card_id, k.seq;

-- name: uncovered
-- Wallets with lines that were posted an hour before the last seal, or earlier, and that no seal covers.
SELECT uuid_send(t.wallet_id) AS id, t.seq, coalesce(k.seq, 0) AS sealed
FROM (
    SELECT l.wallet_id, max(l.seq) AS seq
    FROM redeem.ledger AS l
    WHERE l.posted_at < (SELECT max(s.sealed_at) FROM redeem.seals AS s) - interval '1 hour'
    GROUP BY l.wallet_id
) AS t
LEFT JOIN (
    SELECT k.wallet_id, max(k.seq) AS seq FROM redeem.seal_leaves AS k GROUP BY k.wallet_id
) AS k ON k.wallet_id = t.wallet_id
WHERE t.seq > coalesce(k.seq, 0)
ORDER BY t.wallet_id;

-- name: uncovered_cards
-- The same of gift cards.
SELECT uuid_send(t.card_id) AS id, t.seq, coalesce(k.seq, 0) AS sealed
FROM (
    SELECT l.card_id, max(l.seq) AS seq
    FROM redeem.gift_card_lines AS l
    WHERE l.posted_at < (SELECT max(s.sealed_at) FROM redeem.seals AS s) - interval '1 hour'
    GROUP BY l.card_id
) AS t
LEFT JOIN (
    SELECT k.card_id, max(k.seq) AS seq FROM redeem.seal_leaves AS k GROUP BY k.card_id
) AS k ON k.card_id = t.card_id
WHERE t.seq > coalesce(k.seq, 0)
ORDER BY t.card_id;
