-- The bank's books.

-- name: lines
-- Every line of every wallet, across the partitions, in the order of its wallet.
SELECT
    uuid_send(l.wallet_id) AS wallet_id, l.seq, uuid_send(l.posting_id) AS posting_id, l.kind::text AS kind,
    l.from_bucket::text AS from_bucket, l.to_bucket::text AS to_bucket, l.points, l.money_minor, uuid_send(l.lot_id) AS lot_id,
    uuid_send(l.source_id) AS source_id, l.effective_at, l.posted_at, l.available_after, l.held_after, l.reserved_after,
    l.debt_after, l.hash
FROM redeem.ledger AS l
ORDER BY l.wallet_id, l.seq, l.posted_at;

-- name: wallets
-- Every wallet, with whose it is where it was born.
SELECT
    uuid_send(w.wallet_id) AS wallet_id, w.issued, w.held, w.available, w.reserved, w.redeemed, w.expired, w.reversed,
    w.transferred, w.adjusted, w.debt, w.seq, w.event_sequence, w.head, w.last_posted_at, w.member_id::text AS member_id,
    w.programme, b.member_id::text AS born_member_id, b.programme AS born_programme
FROM redeem.wallets AS w
LEFT JOIN members.wallets AS b ON b.wallet_id = w.wallet_id
ORDER BY w.wallet_id;

-- name: lots
-- Every lot, in the order of its wallet.
SELECT
    uuid_send(t.wallet_id) AS wallet_id, uuid_send(t.lot_id) AS lot_id, uuid_send(t.accrual_id) AS accrual_id,
    uuid_send(t.source_id) AS source_id, t.earned_at, t.expires_at, t.points, t.remaining, t.held, t.reserved
FROM redeem.lots AS t
ORDER BY t.wallet_id;

-- name: postings
-- Every posting id that was ever used.
SELECT uuid_send(p.posting_id) AS posting_id, uuid_send(p.wallet_id) AS wallet_id, p.kind::text AS kind, p.points
FROM redeem.postings AS p;

-- name: closings
-- Which months are closed, or being closed, in their order.
SELECT c.as_of, uuid_send(c.through) AS through, c.closed
FROM redeem.closings AS c
ORDER BY c.as_of;

-- name: snapshots
-- What each wallet's lots held at the end of a month.
SELECT
    uuid_send(s.wallet_id) AS wallet_id, s.as_of, s.seq, s.debt, ARRAY(SELECT uuid_send(u) FROM unnest(s.lot_ids) AS u) AS lot_ids,
    s.lot_available, s.lot_held, s.lot_reserved
FROM redeem.snapshots AS s
ORDER BY s.wallet_id, s.as_of;

-- name: strays
-- The lines that happened in another month than they were written in, of closed months.
SELECT
    uuid_send(t.wallet_id) AS wallet_id, t.span, t.starts_at, t.seq, t.ends_at, t.late, t.points, uuid_send(t.lot_id) AS lot_id,
    t.from_bucket::text AS from_bucket, t.to_bucket::text AS to_bucket
FROM redeem.strays AS t
ORDER BY t.wallet_id;
