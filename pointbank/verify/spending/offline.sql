-- Tills that could not ask.

-- name: overdrawn
-- What offline redemptions spent beyond the balance.
SELECT uuid_send(o.redemption_id) AS redemption_id, o.overdrawn_points
FROM redeem.offline_redemptions AS o
WHERE o.overdrawn_points > 0;

-- name: not_offline
-- Which of these redemptions no till reported that could not ask. Parameter: their ids.
SELECT uuid_send(u.redemption_id) AS redemption_id
FROM unnest($1::uuid[]) AS u (redemption_id)
WHERE NOT EXISTS (SELECT FROM redeem.offline_redemptions AS o WHERE o.redemption_id = u.redemption_id);

-- name: allowances
-- Each allowance with what was spent on it, and how many of its uses are not of its wallet, place and time. A till's clock may be
-- five minutes behind when it is given.
SELECT
    w.allowance_id::text AS allowance_id, w.points, w.used_points, coalesce(sum(r.points), 0)::bigint AS spent,
    count(*) FILTER (
        WHERE r.wallet_id NOT IN (w.wallet_id, coalesce(h.heir, w.wallet_id))
            OR (r.merchant, r.terminal, r.programme) <> (w.merchant, w.terminal, w.programme)
            OR r.effective_at < w.issued_at - interval '5 minutes' OR r.effective_at >= w.expires_at
            OR o.reported_at > w.report_until
    ) AS elsewhere
FROM redeem.allowances AS w
LEFT JOIN redeem.heirs AS h ON h.wallet_id = w.wallet_id
LEFT JOIN redeem.offline_redemptions AS o ON o.allowance_id = w.allowance_id
LEFT JOIN redeem.redemptions AS r ON r.redemption_id = o.redemption_id
GROUP BY w.allowance_id;
