-- What earn may not rest over. The search path is earn's schema.

-- name: next_due$
-- When time alone brings something: a past moment where it waits already, NULL for never. What waits for an event is not here:
-- its stream wakes who rests. Held points that a review or a refund keeps back are brought by those.
SELECT least(
    (SELECT 'epoch'::timestamptz FROM waiting WHERE ready LIMIT 1),
    (SELECT 'epoch'::timestamptz FROM waiting WHERE NOT unclaimed LIMIT 1),
    (SELECT 'epoch'::timestamptz FROM act_waiting WHERE ready LIMIT 1),
    (SELECT 'epoch'::timestamptz FROM act_waiting WHERE NOT unclaimed LIMIT 1),
    (SELECT 'epoch'::timestamptz FROM referrals WHERE due LIMIT 1),
    (SELECT 'epoch'::timestamptz FROM referrals WHERE review LIMIT 1),
    (SELECT 'epoch'::timestamptz FROM act_reversals WHERE status = 'asked' LIMIT 1),
    (SELECT 'epoch'::timestamptz FROM refunds WHERE status IN ('queued', 'pending') LIMIT 1),
    (SELECT 'epoch'::timestamptz FROM effects WHERE status IN ('asked', 'withdrawing') LIMIT 1),
    (SELECT min(next_at) FROM hold_plans WHERE next_at > :now::timestamptz)
);
