-- Points that are held. The search path is earn's schema. Lists go in as arrays, one transaction's worth at a time.

-- name: due_bills
-- Bills after :after with held points that a day releases by :now, or that were activated, oldest first; those with a refund in
-- flight wait for what the bank says that it took, those under review for somebody.
SELECT p.bill_id
FROM (
    SELECT DISTINCT x.bill_id FROM hold_plans AS x WHERE x.next_at <= :now
    UNION
    SELECT a.bill_id
    FROM activations AS a
    LEFT JOIN waiting AS w ON w.bill_id = a.bill_id
    WHERE NOT a.applied AND w.bill_id IS NULL
) AS p
WHERE p.bill_id > :after
    AND NOT EXISTS (SELECT FROM refunds AS r WHERE r.bill_id = p.bill_id AND r.status = 'pending')
    AND NOT EXISTS (SELECT FROM reviews AS v WHERE v.bill_id = p.bill_id AND (v.state = 'open' OR (v.state = 'cancelled' AND v.answer_event_id IS NULL)))
ORDER BY p.bill_id
LIMIT :most;

-- name: settled_through
-- The place of the last event that the decisions said about each of these bills that were recorded between these times, which find
-- their partitions; and whether it still waits to be settled.
SELECT b.bill_id, d.sequence, w.bill_id IS NOT NULL AS waits
FROM unnest(:bill_ids::uuid[], :sinces::timestamptz[], :untils::timestamptz[]) AS wanted (bill_id, since, until)
JOIN bills AS b ON b.bill_id = wanted.bill_id AND b.recorded_at >= wanted.since AND b.recorded_at < wanted.until
JOIN LATERAL (
    SELECT x.sequence
    FROM decisions AS x
    WHERE x.bill_id = b.bill_id AND x.recorded_at >= b.recorded_at - interval '1 hour'
    ORDER BY x.n DESC
    LIMIT 1
) AS d ON true
LEFT JOIN waiting AS w ON w.bill_id = b.bill_id;

-- name: plans_of
-- The plans of these bills, whose sagas are locked.
SELECT
    accrual_id, rule, bill_id, wallet_id, programme, currency, point_value, points, until, billed_on, days, last_on, zone, released,
    next_at, cancelled
FROM hold_plans
WHERE bill_id = ANY(:bill_ids::uuid[])
ORDER BY bill_id, accrual_id, rule;

-- name: in_flight
-- Those of these bills, whose sagas are locked, of whose refund the bank has not said what it took, or which nobody has let pass.
SELECT bill_id
FROM refunds
WHERE bill_id = ANY(:bill_ids::uuid[]) AND status = 'pending'
UNION
SELECT bill_id
FROM reviews
WHERE bill_id = ANY(:bill_ids::uuid[]) AND (state = 'open' OR (state = 'cancelled' AND answer_event_id IS NULL));

-- name: activated
-- Which of these bills were activated, and when.
SELECT bill_id, activated_at
FROM activations
WHERE bill_id = ANY(:bill_ids::uuid[]);

-- name: activate!
-- Bills that are activated from now on, said once.
INSERT INTO activations (bill_id, activated_at)
SELECT a.bill_id, a.activated_at
FROM unnest(:bill_ids::uuid[], :activated_ats::timestamptz[]) AS a (bill_id, activated_at)
ORDER BY a.bill_id
ON CONFLICT (bill_id) DO NOTHING;

-- name: applied!
-- What these activations release is asked for.
UPDATE activations SET applied = true WHERE bill_id = ANY(:bill_ids::uuid[]) AND NOT applied;

-- name: move_plans!
-- How far plans of locked bills are now.
UPDATE hold_plans AS p
SET released = m.released, next_at = m.next_at
FROM unnest(:accrual_ids::uuid[], :rules::text[], :released::bigint[], :next_ats::timestamptz[])
    AS m (accrual_id, rule, released, next_at)
WHERE p.accrual_id = m.accrual_id AND p.rule = m.rule;

-- name: cancel_plans!
-- How much of plans of locked bills refunds took back by now.
UPDATE hold_plans AS p
SET cancelled = m.cancelled, next_at = m.next_at
FROM unnest(:accrual_ids::uuid[], :rules::text[], :cancelleds::bigint[], :next_ats::timestamptz[])
    AS m (accrual_id, rule, cancelled, next_at)
WHERE p.accrual_id = m.accrual_id AND p.rule = m.rule;

-- name: due_summary^
-- How many bills, and points at most, are due by :now.
SELECT count(DISTINCT p.bill_id) AS bills, coalesce(sum(p.points - p.released - p.cancelled), 0)::bigint AS points
FROM hold_plans AS p
WHERE p.next_at <= :now
    AND NOT EXISTS (SELECT FROM refunds AS r WHERE r.bill_id = p.bill_id AND r.status = 'pending')
    AND NOT EXISTS (SELECT FROM reviews AS v WHERE v.bill_id = p.bill_id AND (v.state = 'open' OR (v.state = 'cancelled' AND v.answer_event_id IS NULL)));
