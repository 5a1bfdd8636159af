-- Fraud guards.

-- name: sightings
-- The bills that guards count, and count still.
SELECT
    s.bill_id::text || '/' || s.wallet_id::text AS key, s.programme, s.merchant, s.terminal, s.currency, s.total_minor, s.occurred_at
FROM earn.sightings AS s
LEFT JOIN earn.thinned_sightings AS t ON t.programme = s.programme
WHERE t.before IS NULL OR s.occurred_at >= t.before;

-- name: reviews
-- What was flagged, and what the bank was asked of it.
SELECT
    v.accrual_id::text AS accrual_id, v.bill_id::text AS bill_id, v.wallet_id::text AS wallet_id, v.member_id::text AS member_id,
    v.programme, v.points, v.patterns, v.request_id::text AS request_id, v.sequence, v.decided_at, v.currency, v.point_value,
    v.merchant, v.bill_ref, v.terminal, v.cashier, v.occurred_at, v.total_minor
FROM earn.reviews AS v;

-- name: wrongly_settled
-- Reviews that are not decided and of which something was released, or that were cancelled and of which the bank took another
-- number than earn heard.
SELECT
    v.review_id::text AS review_id, v.state, v.points, coalesce(p.released, 0)::bigint AS released, v.taken,
    (a.cancelled + a.reversed + a.owed)::bigint AS reversed
FROM earn.reviews AS v
LEFT JOIN (
    SELECT h.accrual_id, sum(h.released) AS released FROM earn.hold_plans AS h GROUP BY h.accrual_id
) AS p ON p.accrual_id = v.accrual_id
LEFT JOIN redeem.asked AS a ON a.request_id = v.request_id
WHERE (v.state <> 'released' AND p.released > 0) OR (v.taken IS NOT NULL AND v.taken IS DISTINCT FROM a.cancelled + a.reversed + a.owed);

-- name: decided
-- How many were decided.
SELECT count(*) FROM earn.reviews AS v WHERE v.state <> 'open';
