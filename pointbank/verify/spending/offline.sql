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

-- name: taken_back
-- Accruals of these lots of which refunds found more over than has expired of them, though no person brought any of it back. With what
-- renewing returns made of their lots. Parameter: ids of lots.
WITH RECURSIVE own AS (
    SELECT l.accrual_id AS of_accrual, l.lot_id, l.expired
    FROM redeem.lots AS l
    WHERE l.accrual_id IN (SELECT u.accrual_id FROM redeem.lots AS u WHERE u.lot_id = ANY($1::uuid[]))
    UNION ALL
    SELECT o.of_accrual, l.lot_id, l.expired
    FROM own AS o
    JOIN redeem.lots AS l ON l.parent_lot = o.lot_id AND NOT l.given
)

SELECT uuid_send(q.accrual_id) AS accrual_id, q.lapsed, t.expired
FROM (
    SELECT o.of_accrual, sum(o.expired)::bigint AS expired
    FROM own AS o
    GROUP BY o.of_accrual
    HAVING NOT bool_or(EXISTS (SELECT FROM redeem.reinstatements AS r WHERE r.lot_id = o.lot_id))
) AS t
JOIN LATERAL (
    SELECT a.accrual_id, sum(a.lapsed)::bigint AS lapsed
    FROM redeem.asked AS a
    WHERE a.accrual_id = t.of_accrual AND a.state = 'done'
    GROUP BY a.accrual_id
) AS q ON q.lapsed > t.expired;

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
