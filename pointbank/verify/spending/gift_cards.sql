-- Gift cards.

-- name: lines
-- Every line of every card, across the partitions, in the order of its card.
SELECT
    uuid_send(l.card_id) AS card_id, l.seq, uuid_send(l.posting_id) AS posting_id, l.kind::text AS kind,
    l.from_bucket::text AS from_bucket, l.to_bucket::text AS to_bucket, l.amount_minor, uuid_send(l.source_id) AS source_id,
    l.effective_at, l.posted_at, l.issued_after, l.balance_after, l.used_after, l.expired_after, l.hash
FROM redeem.gift_card_lines AS l
ORDER BY l.card_id, l.seq, l.posted_at;

-- name: sealed
-- How many heads of cards are sealed.
SELECT count(*) FROM redeem.seal_leaves AS k WHERE k.card_id IS NOT NULL;

-- name: cards
-- Every card.
SELECT
    uuid_send(c.card_id) AS card_id, c.serial, c.programme, c.programme_version, c.amount_minor, c.pin_hash, c.status,
    c.activated_at, c.expires_at, c.wrong_pins, c.locked_until, c.issued, c.balance, c.used, c.expired, c.seq, c.head
FROM redeem.gift_cards AS c
ORDER BY c.card_id;

-- name: uses
-- Every use in the order of its card, with what its refunds come to, and how many of them are another merchant's: a reference is good
-- once at the merchant of the use.
SELECT
    uuid_send(u.card_id) AS card_id, uuid_send(u.use_id) AS use_id, u.programme, u.asked_minor, u.applied_minor, u.merchant,
    u.bill_ref, u.used_at, u.refunded_minor,
    (SELECT coalesce(sum(r.amount_minor), 0)::bigint FROM redeem.gift_card_refunds AS r WHERE r.use_id = u.use_id) AS refunds,
    (SELECT count(*) FROM redeem.gift_card_refunds AS r WHERE r.use_id = u.use_id AND r.merchant <> u.merchant) AS elsewhere
FROM redeem.gift_card_uses AS u
ORDER BY u.card_id;

-- name: postings
-- Every posting to a card that there ever was.
SELECT uuid_send(p.posting_id) AS posting_id, uuid_send(p.card_id) AS card_id, p.kind::text AS kind, p.amount_minor
FROM redeem.gift_card_postings AS p;

-- name: refunds
-- What was given back, by the posting that did.
SELECT uuid_send(r.refund_id) AS refund_id, uuid_send(r.use_id) AS use_id, r.amount_minor
FROM redeem.gift_card_refunds AS r;

-- name: blocked
-- Every card that is blocked.
SELECT c.card_id::text AS card_id FROM redeem.gift_cards AS c WHERE c.blocked;

-- name: count
-- How many cards there are.
SELECT count(*) FROM redeem.gift_cards;
