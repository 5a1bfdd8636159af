-- Points that are held: plans, and what was asked to be released.

-- name: plans
-- Each held accrual's plans, with what was asked of it last, when that was, and when its bill was activated.
SELECT
    p.accrual_id::text AS accrual_id, p.bill_id::text AS bill_id, p.programme, p.rule, p.points, p.until, p.billed_on, p.days, p.last_on,
    p.zone, p.released, p.cancelled, a.activated_at, r.through, r.last_at, c.points AS earned
FROM earn.hold_plans AS p
LEFT JOIN earn.activations AS a ON a.bill_id = p.bill_id
LEFT JOIN earn.accruals AS c ON c.accrual_id = p.accrual_id
LEFT JOIN LATERAL (
    SELECT max(h.release_through) AS through, max(h.decided_at) AS last_at FROM earn.hold_releases AS h WHERE h.accrual_id = p.accrual_id
) AS r ON true
ORDER BY p.accrual_id, p.rule;

-- name: releases
-- What was asked to be released.
SELECT
    h.request_id::text AS request_id, h.bill_id::text AS bill_id, h.accrual_id::text AS accrual_id, h.release_through, h.sequence,
    h.effective_at, h.decided_at
FROM earn.hold_releases AS h;

-- name: unplanned
-- Held accruals without a plan.
SELECT c.accrual_id::text AS accrual_id
FROM earn.accruals AS c
WHERE c.kind = 'earn_held' AND c.points > 0 AND NOT EXISTS (SELECT FROM earn.hold_plans AS p WHERE p.accrual_id = c.accrual_id);
