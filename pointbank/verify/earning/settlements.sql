-- Settlement.

-- name: variances
-- Variances that are not closed, with what lines, bills and refunds of their days come to; `later` where some of them were written
-- after the variance was seen last.
SELECT
    v.variance_id::text AS variance_id, v.merchant, v.day, v.kind, v.currency, v.missing, v.expected_minor, v.found_minor,
    l.minor AS found, (coalesce(b.minor, 0) - coalesce(r.minor, 0))::bigint AS expected,
    coalesce(b.minor, r.minor) IS NULL AS without_bills, f.of_currencies, f.minors, f.rates,
    coalesce(greatest(l.at, o.at, b.at, r.at, f.at) > v.checked_at - interval '1 minute', false) AS later
FROM earn.settlement_variances AS v
LEFT JOIN LATERAL (
    SELECT sum(s.amount_minor) AS minor, max(s.imported_at) AS at
    FROM earn.settlement_lines AS s
    WHERE s.merchant = v.merchant AND s.day = v.day AND s.kind = v.kind AND s.currency = v.currency
) AS l ON true
LEFT JOIN LATERAL (
    SELECT max(s.imported_at) AS at FROM earn.settlement_lines AS s WHERE s.merchant = v.merchant AND s.day = v.day
) AS o ON true
LEFT JOIN LATERAL (
    SELECT sum(x.total_minor) AS minor, max(x.recorded_at) AS at
    FROM earn.bills AS x
    WHERE x.merchant = v.merchant AND x.currency = v.currency
        AND (x.occurred_at AT TIME ZONE v.zone)::date = v.day
) AS b ON true
LEFT JOIN LATERAL (
    SELECT sum(x.refunded_minor) AS minor, max(x.recorded_at) AS at
    FROM earn.refunds AS x
    WHERE x.merchant = v.merchant AND x.currency = v.currency AND x.n IS NOT NULL
        AND (x.occurred_at AT TIME ZONE v.zone)::date = v.day
) AS r ON true
-- Of a total of a programme that accepts other currencies: bills and refunds in those of which nobody said a total that day.
LEFT JOIN LATERAL (
    SELECT
        array_agg(m.currency ORDER BY m.bill_id, m.minor) AS of_currencies, array_agg(m.minor ORDER BY m.bill_id, m.minor) AS minors,
        array_agg(coalesce(k.rate, c.rate) ORDER BY m.bill_id, m.minor) AS rates, max(m.at) AS at
    FROM (
        SELECT x.bill_id, x.currency, x.total_minor AS minor, x.recorded_at AS at
        FROM earn.bills AS x
        WHERE x.merchant = v.merchant AND x.currency <> v.currency AND (x.occurred_at AT TIME ZONE v.zone)::date = v.day
        UNION ALL
        SELECT y.bill_id, y.currency, -y.refunded_minor AS minor, y.recorded_at AS at
        FROM earn.refunds AS y
        WHERE y.merchant = v.merchant AND y.currency <> v.currency AND y.n IS NOT NULL
            AND (y.occurred_at AT TIME ZONE v.zone)::date = v.day
    ) AS m
    JOIN earn.bills AS i ON i.bill_id = m.bill_id
    LEFT JOIN LATERAL (
        SELECT j.judged -> 'conversion' ->> 'rate' AS rate
        FROM earn.decisions AS d
        CROSS JOIN LATERAL json_array_elements(d.decision -> 'programmes') AS j (judged)
        WHERE d.bill_id = m.bill_id AND j.judged ->> 'programme' = v.programme
        ORDER BY d.n DESC
        LIMIT 1
    ) AS k ON true
    LEFT JOIN LATERAL (
        SELECT q.rate
        FROM earn.currency_rates AS q
        WHERE q.from_currency = m.currency AND q.to_currency = v.currency AND q.valid_from <= i.occurred_at
        ORDER BY q.valid_from DESC, q.number DESC
        LIMIT 1
    ) AS c ON true
    WHERE NOT EXISTS (
        SELECT FROM earn.settlement_lines AS s
        WHERE s.merchant = v.merchant AND s.day = v.day AND s.kind = 'total' AND s.currency = m.currency
    )
    AND (
        SELECT (p.document::jsonb -> 'programme' -> 'accepts') ? m.currency
        FROM earn.programmes AS p
        WHERE p.programme = v.programme
        ORDER BY p.version DESC
        LIMIT 1
    )
) AS f ON v.kind = 'total'
WHERE v.state <> 'closed';
