-- What refunds took back of held points is counted by plan: until now only whole accruals were marked, so that after a part of
-- one was taken back a rule's release could free another rule's points before their time.

ALTER TABLE hold_plans
    DROP CONSTRAINT hold_plans_release_what_they_hold,
    ALTER COLUMN cancelled DROP DEFAULT,
    ALTER COLUMN cancelled TYPE bigint USING 0,
    ALTER COLUMN cancelled SET DEFAULT 0,
    ADD CONSTRAINT hold_plans_release_what_they_hold CHECK (released >= 0 AND cancelled >= 0 AND released + cancelled <= points);

-- The answers that are kept say how much it was; plans take it in proportion to what each holds, rounded cumulatively.
WITH held AS (
    SELECT
        p.accrual_id, p.rule, p.points - p.released AS remaining,
        sum(p.points - p.released) OVER (PARTITION BY p.accrual_id ORDER BY p.rule) AS reached,
        sum(p.points - p.released) OVER (PARTITION BY p.accrual_id) AS whole
    FROM hold_plans AS p
), taken AS (
    SELECT q.accrual_id, sum(a.hold_cancelled) AS points
    FROM refund_answers AS a
    JOIN refund_requests AS q ON q.request_id = a.request_id
    WHERE a.hold_cancelled > 0
    GROUP BY q.accrual_id
), shares AS (
    SELECT
        h.accrual_id, h.rule,
        div(least(t.points, h.whole) * h.reached, h.whole) - div(least(t.points, h.whole) * (h.reached - h.remaining), h.whole) AS points
    FROM held AS h
    JOIN taken AS t ON t.accrual_id = h.accrual_id
    WHERE h.whole > 0
)
UPDATE hold_plans AS p
SET cancelled = s.points, next_at = CASE WHEN p.released + s.points < p.points THEN p.next_at END
FROM shares AS s
WHERE p.accrual_id = s.accrual_id AND p.rule = s.rule;
