-- Points that are held: plans, and what was asked to be released.

-- name: plans
-- Each held accrual's plans, with what was asked of it, when that was first and last, when its bill was activated, and what each
-- refund took of it while it was held.
SELECT
    p.accrual_id::text AS accrual_id, p.bill_id::text AS bill_id, p.programme, p.rule, p.points, p.until, p.billed_on, p.days, p.last_on,
    p.zone, p.released, p.cancelled, a.activated_at, w.state AS review, w.answer_event_id IS NOT NULL AS ended, r.through, r.first_at, r.last_at, c.points AS earned, t.taken, t.taken_at
FROM earn.hold_plans AS p
LEFT JOIN earn.activations AS a ON a.bill_id = p.bill_id
LEFT JOIN earn.accruals AS c ON c.accrual_id = p.accrual_id
LEFT JOIN earn.reviews AS w ON w.accrual_id = p.accrual_id
LEFT JOIN LATERAL (
    SELECT max(h.release_through) AS through, min(h.decided_at) AS first_at, max(h.decided_at) AS last_at
    FROM earn.hold_releases AS h
    WHERE h.accrual_id = p.accrual_id
) AS r ON true
LEFT JOIN LATERAL (
    SELECT array_agg(y.points ORDER BY y.n) AS taken, array_agg(y.at ORDER BY y.n) AS taken_at
    FROM (
        SELECT x.hold_cancelled AS points, x.recorded_at AS at, f.n
        FROM earn.refund_requests AS q
        JOIN earn.refunds AS f ON f.refund_id = q.refund_id
        JOIN earn.refund_answers AS x ON x.request_id = q.request_id
        WHERE q.bill_id = p.bill_id AND q.accrual_id = p.accrual_id AND x.hold_cancelled > 0
        UNION ALL
        SELECT v.taken AS points, v.decided_at AS at, 1000000 AS n
        FROM earn.reviews AS v
        WHERE v.accrual_id = p.accrual_id AND v.taken > 0
    ) AS y
) AS t ON true
ORDER BY p.accrual_id, p.rule;

-- name: terms
-- Each held accrual's plans: what of it waits for what.
SELECT
    p.accrual_id::text AS accrual_id, p.rule, p.bill_id::text AS bill_id, p.wallet_id::text AS wallet_id, p.programme, p.currency,
    p.point_value, p.points, p.until, p.billed_on, p.days, p.last_on, p.zone
FROM earn.hold_plans AS p;

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

-- name: stuck
-- Plans whose points were due an hour ago and are held still, or never will be due, although no refund of their bill is in flight.
SELECT p.accrual_id::text AS accrual_id, p.rule, p.points - p.released - p.cancelled AS points, p.next_at
FROM earn.hold_plans AS p
LEFT JOIN earn.activations AS a ON a.bill_id = p.bill_id
WHERE p.released + p.cancelled < p.points
    AND (
        p.next_at < transaction_timestamp() - interval '1 hour'
        OR (p.next_at IS NULL AND (p.until NOT IN ('activation', 'review') OR a.activated_at < transaction_timestamp() - interval '1 hour'))
    )
    AND NOT EXISTS (SELECT FROM earn.refunds AS r WHERE r.bill_id = p.bill_id AND r.status = 'pending')
    AND NOT EXISTS (
        SELECT FROM earn.reviews AS v
        WHERE v.bill_id = p.bill_id AND (v.state = 'open' OR (v.state = 'cancelled' AND v.answer_event_id IS NULL))
    );

-- name: told_activations
-- What tills told of activations by their stream; whether the bill of each is there, is theirs, and counts as activated.
SELECT
    t.merchant, t.bill_ref, t.occurred_at, t.stream_id, t.source, t.event_id, t.recorded_event_id::text AS recorded_event_id, t.waited,
    t.bill_id::text AS bill_id, t.settled_event_id::text AS settled_event_id, k.bill_id::text AS own_bill_id,
    a.bill_id IS NOT NULL AS activated, (
        SELECT json_agg(json_build_array(l.stream_id, l.source, l.event_id) ORDER BY l.n)::text
        FROM earn.listeners AS l
        JOIN earn.pos_events AS p ON p.source = l.source AND p.event_id = l.event_id
        WHERE l.subject_id = t.recorded_event_id
    ) AS listeners, coalesce(s.told, 1) AS told
FROM earn.told_activations AS t
LEFT JOIN earn.bill_keys AS k ON k.merchant = t.merchant AND k.bill_ref = t.bill_ref
LEFT JOIN earn.activations AS a ON a.bill_id = t.bill_id
LEFT JOIN earn.settled_events AS s ON s.subject_id = t.recorded_event_id AND s.event_id = t.settled_event_id;
