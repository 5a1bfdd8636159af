-- Settlement.

-- name: variances
-- Variances that are not closed, with what lines, bills and refunds of their days come to; `later` where some of them were written
-- after the variance was seen last.
SELECT
    v.variance_id::text AS variance_id, v.merchant, v.day, v.kind, v.expected_minor, v.found_minor, l.minor AS found,
    (coalesce(b.minor, 0) - coalesce(r.minor, 0))::bigint AS expected,
    coalesce(greatest(l.at, b.at, r.at) > v.checked_at - interval '1 minute', false) AS later
FROM earn.settlement_variances AS v
LEFT JOIN LATERAL (
    SELECT sum(s.amount_minor) AS minor, max(s.imported_at) AS at
    FROM earn.settlement_lines AS s
    WHERE s.merchant = v.merchant AND s.day = v.day AND s.kind = v.kind
) AS l ON true
LEFT JOIN LATERAL (
    SELECT sum(x.total_minor) AS minor, max(x.recorded_at) AS at
    FROM earn.bills AS x
    WHERE x.merchant = v.merchant AND x.currency = v.currency
        AND (x.occurred_at AT TIME ZONE v.zone)::date = v.day
) AS b ON true
LEFT JOIN LATERAL (
    SELECT sum(f.refunded_minor) AS minor, max(f.recorded_at) AS at
    FROM earn.refunds AS f
    WHERE f.merchant = v.merchant AND f.currency = v.currency AND f.n IS NOT NULL
        AND (f.occurred_at AT TIME ZONE v.zone)::date = v.day
) AS r ON true
WHERE v.state <> 'closed';
