-- Seals, and the ledger that they were taken of.

-- name: seals
-- Every seal, in order.
SELECT s.no, s.sealed_at, s.leaves, s.root, s.pages, s.previous, s.hash, s.public_key, s.signature
FROM redeem.seals AS s
ORDER BY s.no;

-- name: lost
-- Every seal that was recorded as lost, by epoch; `kept`: it stands in the chain all the same.
SELECT
    k.epoch, k.no, k.sealed_at, k.leaves, k.root, k.previous, k.hash, k.public_key, k.signature,
    EXISTS (SELECT FROM redeem.seals AS s WHERE s.hash = k.hash AND s.no = k.no) AS kept
FROM redeem.lost_seals AS k
ORDER BY k.epoch, k.no, k.hash;

-- name: adoptions
-- Every decision that the database goes on without seals that it lost, how many seals have a smaller number than it goes on with,
-- and whether the audit says it.
SELECT
    a.epoch, a.after_no, a.next_no, a.skipped,
    (SELECT count(*) FROM redeem.seals AS s WHERE s.no < a.next_no) AS taken,
    EXISTS (
        SELECT FROM redeem.audit AS u
        WHERE u.action = 'ledger.seals_adopt' AND u.object = 'seal/' || a.next_no AND u.actor = a.actor
    ) AS audited
FROM redeem.seal_adoptions AS a
ORDER BY a.epoch;

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
