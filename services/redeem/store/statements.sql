-- What merchants accepted. The search path is redeem's schema.

-- name: clock$
-- PostgreSQL's clock, by which what is counted was written.
SELECT clock_timestamp();

-- name: merchant_known$
-- Whether there is such a merchant.
SELECT EXISTS (SELECT FROM merchants AS m WHERE m.merchant = :merchant);

-- name: programmes
-- This programme (null: every one), with what its versions have in common, whether or not this release can read the rest.
SELECT
    p.programme,
    p.document #>> '{programme,currency}' AS currency,
    p.document #>> '{programme,time_zone}' AS time_zone
FROM (
    SELECT
        v.programme,
        max(v.version) AS version
    FROM programmes AS v
    WHERE :programme::text IS NULL OR v.programme = :programme
    GROUP BY v.programme
) AS n
JOIN programmes AS p ON n.programme = p.programme AND n.version = p.version
ORDER BY p.programme;

-- name: statement
-- What was captured and returned of a programme between two moments of when we wrote it, by merchant and terminal (null: none was
-- named): of one merchant, or of all. What bought rewards paid for no bill, and stands apart. Money is told
-- up to what a column holds.
WITH moved AS (
    SELECT
        r.redemption_id,
        r.merchant,
        r.terminal,
        1 AS captured,
        r.points AS captured_points,
        r.money_minor AS captured_minor,
        0 AS returned,
        0::bigint AS returned_points,
        0::bigint AS returned_minor
    FROM redemptions AS r
    WHERE
        r.recorded_at >= :since AND r.recorded_at < :until AND r.programme = :programme
        AND (:merchant::text IS NULL OR r.merchant = :merchant)
        AND NOT EXISTS (SELECT FROM reservations AS s WHERE s.redemption_id = r.redemption_id)

    UNION ALL

    SELECT
        r.redemption_id,
        r.merchant,
        r.terminal,
        1,
        s.captured_points,
        s.captured_minor,
        0,
        0,
        0
    FROM reservations AS s
    JOIN redemptions AS r ON s.redemption_id = r.redemption_id
    WHERE
        s.settled_at >= :since AND s.settled_at < :until AND s.ended = 'captured' AND r.programme = :programme
        AND (:merchant::text IS NULL OR r.merchant = :merchant)

    UNION ALL

    SELECT
        r.redemption_id,
        r.merchant,
        r.terminal,
        0,
        0,
        0,
        1,
        o.points,
        o.money_minor
    FROM returns AS o
    JOIN redemptions AS r ON o.redemption_id = r.redemption_id
    WHERE
        o.recorded_at >= :since AND o.recorded_at < :until AND r.programme = :programme
        AND (:merchant::text IS NULL OR r.merchant = :merchant)
)

SELECT
    m.merchant,
    m.terminal,
    b.benefit_id IS NOT NULL AS rewards,
    sum(m.captured)::bigint AS captured,
    sum(m.captured_points)::bigint AS captured_points,
    least(sum(m.captured_minor), 9223372036854775807)::bigint AS captured_minor,
    sum(m.returned)::bigint AS returned,
    sum(m.returned_points)::bigint AS returned_points,
    least(sum(m.returned_minor), 9223372036854775807)::bigint AS returned_minor
FROM moved AS m
LEFT JOIN benefits AS b ON m.redemption_id = b.redemption_id
GROUP BY m.merchant, m.terminal, b.benefit_id IS NOT NULL
ORDER BY m.merchant, m.terminal NULLS FIRST;
