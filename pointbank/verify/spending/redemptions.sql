-- The life of redemptions.

-- name: redemptions
-- Every redemption, with its reservation and the sums of its returns.
SELECT
    uuid_send(r.redemption_id) AS redemption_id, uuid_send(r.posting_id) AS posting_id, uuid_send(r.wallet_id) AS wallet_id,
    r.programme, r.programme_version, r.status, r.points, r.effective_at, r.terminal, r.money_minor, r.merchant, r.bill_ref,
    r.returned_points, r.returned_minor,
    s.redemption_id IS NOT NULL AS authorised, s.points AS set_aside, s.expires_at, s.captured_points, s.captured_minor,
    uuid_send(s.capture_posting) AS capture_posting, uuid_send(s.void_posting) AS void_posting, s.ended, s.ended_at,
    coalesce(b.points, 0)::bigint AS back_points, coalesce(b.money_minor, 0)::bigint AS back_minor
FROM redeem.redemptions AS r
LEFT JOIN redeem.reservations AS s ON s.redemption_id = r.redemption_id
LEFT JOIN (
    SELECT o.redemption_id, sum(o.points) AS points, sum(o.money_minor) AS money_minor FROM redeem.returns AS o GROUP BY o.redemption_id
) AS b ON b.redemption_id = r.redemption_id;

-- name: lots
-- What redemptions took of lots and what became of it, in the order of their wallets.
SELECT
    uuid_send(r.wallet_id) AS wallet_id, uuid_send(p.redemption_id) AS redemption_id, p.place, uuid_send(p.lot_id) AS lot_id,
    p.lent, p.captured, p.voided, p.returned
FROM redeem.redemption_lots AS p
JOIN redeem.redemptions AS r ON r.redemption_id = p.redemption_id
ORDER BY r.wallet_id, p.redemption_id, p.place;

-- name: returned_lots
-- Where returned points went, in the order of their wallets.
SELECT
    uuid_send(r.wallet_id) AS wallet_id, uuid_send(o.return_id) AS return_id, uuid_send(o.redemption_id) AS redemption_id,
    uuid_send(o.posting_id) AS posting_id, o.points, o.money_minor, o.effective_at, uuid_send(b.lot_id) AS lot_id,
    uuid_send(b.to_lot) AS to_lot, b.points AS lot_points
FROM redeem.returns AS o
JOIN redeem.redemptions AS r ON r.redemption_id = o.redemption_id
LEFT JOIN redeem.returned_lots AS b ON b.return_id = o.return_id
ORDER BY r.wallet_id, o.return_id;

-- name: codes_twice
-- Codes that name more than one redemption.
SELECT s.code_hash FROM redeem.reservations AS s GROUP BY s.code_hash HAVING count(*) > 1;

-- name: refunds
-- Redemptions that paid for refunded bills: how many points were to come back, and how many did. One that bought a reward paid for
-- no bill. In requests of before they kept which they meant it is not known where a later redemption paid for the bill too; one that
-- was authorised is always meant, and one that a till had let a member spend offline, whenever it was told of.
SELECT q.request_id::text AS request_id, p.redemption_id::text AS redemption_id, p.due, p.returned_points
FROM redeem.return_requests AS q
JOIN LATERAL (
    SELECT
        r.redemption_id, r.returned_points, s.redemption_id IS NOT NULL OR o.redemption_id IS NOT NULL AS always,
        count(*) OVER () AS redemptions,
        coalesce(s.captured_points, r.points) * least(q.returned_minor, q.total_minor) / q.total_minor AS due
    FROM redeem.redemptions AS r
    LEFT JOIN redeem.reservations AS s ON s.redemption_id = r.redemption_id
    LEFT JOIN redeem.offline_redemptions AS o ON o.redemption_id = r.redemption_id
    WHERE r.merchant = q.merchant AND r.bill_ref = q.bill_ref AND r.status = 'captured'
        AND NOT EXISTS (SELECT FROM redeem.benefits AS n WHERE n.redemption_id = r.redemption_id)
) AS p ON p.redemption_id = ANY(q.meant) OR p.redemptions = q.redemptions OR p.always;

-- name: asked
-- Everything that earn asked to come back.
SELECT
    uuid_send(q.request_id) AS request_id, q.refund_id::text AS refund_id, q.bill_id::text AS bill_id, q.merchant, q.bill_ref,
    q.returned_minor, q.total_minor, q.decided_at
FROM redeem.return_requests AS q;

-- name: refunds_meant
-- Requests that brought back points of redemptions that they had not found, though these were not captured, or told of, only later; or
-- that name others than they count. Those of before they kept which they meant count them alone.
SELECT q.request_id::text AS request_id, q.redemptions, cardinality(q.meant) AS named, coalesce(cardinality(b.back), 0) AS back
FROM redeem.return_requests AS q
LEFT JOIN (
    SELECT o.request_id, array_agg(DISTINCT o.redemption_id) AS back
    FROM redeem.returns AS o
    WHERE o.request_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM redeem.reservations AS s WHERE s.redemption_id = o.redemption_id)
        AND NOT EXISTS (SELECT FROM redeem.offline_redemptions AS f WHERE f.redemption_id = o.redemption_id)
    GROUP BY o.request_id
) AS b ON b.request_id = q.request_id
WHERE cardinality(q.meant) <> q.redemptions OR NOT b.back <@ q.meant OR cardinality(b.back) > q.redemptions
LIMIT 5;

-- name: refunds_given
-- Redemptions of which refunds brought back more than the highest of their bill asks for.
SELECT g.redemption_id::text AS redemption_id, g.returned, coalesce(max(g.due), 0) AS due
FROM (
    SELECT
        r.redemption_id, b.returned,
        coalesce(s.captured_points, r.points) * least(q.returned_minor, q.total_minor) / q.total_minor AS due
    FROM (
        SELECT o.redemption_id, sum(o.points) AS returned FROM redeem.returns AS o WHERE o.request_id IS NOT NULL GROUP BY o.redemption_id
    ) AS b
    JOIN redeem.redemptions AS r ON r.redemption_id = b.redemption_id
    LEFT JOIN redeem.reservations AS s ON s.redemption_id = r.redemption_id
    LEFT JOIN redeem.return_requests AS q ON q.merchant = r.merchant AND q.bill_ref = r.bill_ref
) AS g
GROUP BY g.redemption_id, g.returned
HAVING g.returned > coalesce(max(g.due), 0)
LIMIT 5;

-- name: returns
-- Every return.
SELECT
    uuid_send(o.return_id) AS return_id, uuid_send(o.redemption_id) AS redemption_id, uuid_send(o.posting_id) AS posting_id,
    o.points, o.money_minor, o.effective_at, uuid_send(o.request_id) AS request_id
FROM redeem.returns AS o;

-- name: counts
-- How many there are to look at.
SELECT count(*) AS reservations FROM redeem.reservations;

-- name: recorded
-- What stands on another day of a statement than its points were posted on: more than a minute apart, or without a posting.
SELECT q.what, q.recorded_at, q.posted_at
FROM (
    SELECT 'redemption ' || r.redemption_id AS what, r.recorded_at, p.recorded_at AS posted_at
    FROM redeem.redemptions AS r
    LEFT JOIN redeem.postings AS p ON p.posting_id = r.posting_id
    UNION ALL
    SELECT 'capture of redemption ' || s.redemption_id, s.settled_at, p.recorded_at AS posted_at
    FROM redeem.reservations AS s
    LEFT JOIN redeem.postings AS p ON p.posting_id = s.capture_posting
    WHERE s.ended = 'captured'
    UNION ALL
    SELECT 'return ' || o.return_id, o.recorded_at, p.recorded_at AS posted_at
    FROM redeem.returns AS o
    LEFT JOIN redeem.postings AS p ON p.posting_id = o.posting_id
    WHERE o.posting_id IS NOT NULL
) AS q
WHERE coalesce(abs(extract(EPOCH FROM q.recorded_at - q.posted_at)) >= 60, true)
LIMIT 5;
