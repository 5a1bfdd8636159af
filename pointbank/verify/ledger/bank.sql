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
    w.transferred, w.adjusted, w.debt, w.seq, w.event_sequence, w.head, w.last_posted_at, w.last_active_at, w.member_id::text AS member_id,
    w.programme, b.member_id::text AS born_member_id, b.programme AS born_programme, o.active_elsewhere_at
FROM redeem.wallets AS w
LEFT JOIN members.wallets AS b ON b.wallet_id = w.wallet_id
LEFT JOIN (
    SELECT wallet_id, max(last_active_at) AS active_elsewhere_at FROM redeem.opening_activities GROUP BY wallet_id
) AS o ON o.wallet_id = w.wallet_id
ORDER BY w.wallet_id;

-- name: lots
-- Every lot, in the order of its wallet; with when it was to expire at first, and the lot that it was made of.
SELECT
    uuid_send(t.wallet_id) AS wallet_id, uuid_send(t.lot_id) AS lot_id, uuid_send(t.accrual_id) AS accrual_id,
    uuid_send(t.source_id) AS source_id, t.earned_at, t.expires_at, t.points, t.remaining, t.held, t.reserved, t.expired,
    t.reversed, t.owed, t.given, a.act_id IS NOT NULL AS by_act, uuid_send(t.parent_lot) AS parent_lot,
    CASE WHEN t.opened_expires_at IS NULL THEN t.expires_at ELSE nullif(t.opened_expires_at, 'infinity') END AS first_expires_at,
    uuid_send(p.wallet_id) AS parent_wallet, p.expires_at AS parent_expires_at, p.opened_expires_at IS NOT NULL AS parent_changed
FROM redeem.lots AS t
LEFT JOIN redeem.lots AS p ON p.lot_id = t.parent_lot
LEFT JOIN redeem.acts AS a ON a.act_id = t.source_id
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

-- name: asked
-- What earn asked, and what it came to.
SELECT
    a.request_id::text AS request_id, a.kind, a.state, uuid_send(a.accrual_id) AS accrual_id, a.through,
    uuid_send(a.wallet_id) AS wallet_id, uuid_send(a.posting_id) AS posting_id, a.released, a.cancelled, a.reversed, a.owed,
    a.lapsed, a.shortfall
FROM redeem.asked AS a
ORDER BY a.accrual_id;

-- name: recoveries
-- What reversals were short of and took later.
SELECT
    uuid_send(r.posting_id) AS posting_id, uuid_send(r.request_id) AS request_id, uuid_send(r.accrual_id) AS accrual_id,
    uuid_send(r.wallet_id) AS wallet_id, r.points
FROM redeem.recoveries AS r;

-- name: recovered_too_much
-- Accruals of which more was taken later than their reversals were short of.
SELECT uuid_send(r.accrual_id) AS accrual_id, sum(r.points)::bigint AS points, coalesce(max(a.shortfall), 0)::bigint AS shortfall
FROM redeem.recoveries AS r
LEFT JOIN (
    SELECT q.accrual_id, sum(q.shortfall) AS shortfall FROM redeem.asked AS q WHERE q.state = 'done' GROUP BY q.accrual_id
) AS a ON a.accrual_id = r.accrual_id
GROUP BY r.accrual_id
HAVING sum(r.points) > coalesce(max(a.shortfall), 0);

-- name: asked_against_lots
-- Accruals whose requests did not come to what their lots say: those that they opened, and those that a merge or a renewing return
-- made of them; never those that were given away.
WITH RECURSIVE up AS (
    SELECT l.lot_id, l.accrual_id, l.parent_lot, l.given, l.reversed, l.owed
    FROM redeem.lots AS l
    WHERE l.reversed > 0 OR l.owed > 0
    UNION
    SELECT u.lot_id, p.accrual_id, p.parent_lot, p.given, u.reversed, u.owed
    FROM up AS u
    JOIN redeem.lots AS p ON p.lot_id = u.parent_lot AND NOT u.given
)

SELECT
    uuid_send(coalesce(a.accrual_id, t.accrual_id)) AS accrual_id, coalesce(a.reversed, 0) AS asked_reversed,
    coalesce(a.owed, 0) AS asked_owed, coalesce(t.reversed, 0) AS lots_reversed, coalesce(t.owed, 0) AS lots_owed
FROM (
    SELECT x.accrual_id, sum(x.reversed) AS reversed, sum(x.owed) AS owed
    FROM (
        SELECT q.accrual_id, q.cancelled + q.reversed AS reversed, q.owed FROM redeem.asked AS q WHERE q.state = 'done'
        UNION ALL
        SELECT r.accrual_id, r.points, 0 FROM redeem.recoveries AS r
    ) AS x
    GROUP BY x.accrual_id
) AS a
FULL JOIN (
    SELECT u.accrual_id, sum(u.reversed) AS reversed, sum(u.owed) AS owed
    FROM up AS u
    WHERE u.given OR NOT EXISTS (SELECT FROM redeem.lots AS p WHERE p.lot_id = u.parent_lot)
    GROUP BY u.accrual_id
) AS t ON t.accrual_id = a.accrual_id
WHERE (coalesce(a.reversed, 0), coalesce(a.owed, 0)) IS DISTINCT FROM (coalesce(t.reversed, 0), coalesce(t.owed, 0))
ORDER BY 1;

-- name: notices
-- What members were told of points that were to expire.
SELECT uuid_send(n.wallet_id) AS wallet_id, n.expires_at, n.days, n.points
FROM redeem.notices AS n;

-- name: heirs
-- Which wallet has the points of which, as postings look it up.
SELECT uuid_send(h.wallet_id) AS wallet_id, uuid_send(h.heir) AS heir
FROM redeem.heirs AS h;
