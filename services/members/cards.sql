-- What members asks of its tables to block a card. The search path is its schema.

-- name: lock_members_of_cards
-- The members of these cards, and all whom those that were merged go on as, locked in the order of their ids until the transaction
-- ends; with the events about each.
WITH RECURSIVE whose AS (
    SELECT w.member_id
    FROM cards AS c
    JOIN wallets AS w ON w.wallet_id = c.wallet_id
    WHERE c.card_id = ANY(:card_ids::uuid[])
    UNION
    SELECT m.merged_into
    FROM whose AS o
    JOIN members AS m ON m.member_id = o.member_id
    WHERE m.merged_into IS NOT NULL
)

SELECT m.member_id, m.event_sequence
FROM members AS m
WHERE m.member_id IN (SELECT member_id FROM whose)
ORDER BY m.member_id
FOR NO KEY UPDATE;

-- name: cards_by_id
-- These cards, with whose they are.
SELECT c.card_id, c.card_number, c.status, c.wallet_id, w.programme, w.member_id, m.merged_into
FROM cards AS c
JOIN wallets AS w ON w.wallet_id = c.wallet_id
JOIN members AS m ON m.member_id = w.member_id
WHERE c.card_id = ANY(:card_ids::uuid[]);

-- name: homes
-- The wallets of these members, and whether each has an active card.
SELECT w.member_id, w.programme, w.wallet_id, c.card_id IS NOT NULL AS carded
FROM wallets AS w
LEFT JOIN cards AS c ON c.wallet_id = w.wallet_id AND c.status = 'active'
WHERE w.member_id = ANY(:member_ids::uuid[]);

-- name: block_card!
-- Blocks a card whose member is locked.
UPDATE cards SET status = 'blocked' WHERE card_id = :card_id AND status = 'active';

-- name: count_events!
-- How many events were told of each of these members, who are locked.
UPDATE members AS m
SET event_sequence = c.event_sequence
FROM unnest(:member_ids::uuid[], :event_sequences::bigint[]) AS c (member_id, event_sequence)
WHERE m.member_id = c.member_id;
