-- Settlement.

-- name: variances
-- Every variance, with what lines, bills and refunds of its day come to; `later` where some of them were written after it was seen last,
-- `since` where some were after it was found to agree, by about a minute; `another`: there is one more of that day. A total that may
-- take other currencies is both, too, where a version or a rate began to hold after it was seen last, or so shortly before that
-- earn need not have heard of it; or where it was seen last by a release that took what the newest version accepts. A refund is of when
-- it ended, and of now while it is under way: it may have waited for its bill.
SELECT
    v.variance_id::text AS variance_id, v.merchant, v.day, v.kind, v.currency, v.missing, v.expected_minor, v.found_minor,
    v.agreed, v.state = 'closed' AS closed,
    coalesce(greatest(l.at, o.at, b.at, r.at, f.at) > v.last_seen - interval '1 minute', false) OR t.otherwise AS since,
    EXISTS (
        SELECT FROM earn.settlement_variances AS n
        WHERE (n.merchant, n.day, n.kind, n.currency) = (v.merchant, v.day, v.kind, v.currency) AND n.variance_id <> v.variance_id
    ) AS another,
    l.minor AS found, (coalesce(b.minor, 0) - coalesce(r.minor, 0))::bigint AS expected,
    coalesce(b.minor, r.minor) IS NULL AS without_bills, f.of_currencies, f.minors, f.rates, f.accepted,
    coalesce(greatest(l.at, o.at, b.at, r.at, f.at) > v.checked_at - interval '1 minute', false) OR t.otherwise AS later
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
    SELECT
        sum(x.refunded_minor) AS minor,
        max(greatest(x.recorded_at, CASE WHEN x.status IN ('queued', 'pending') THEN now() ELSE x.settled_at END)) AS at
    FROM earn.refunds AS x
    WHERE x.merchant = v.merchant AND x.currency = v.currency AND x.n IS NOT NULL
        AND (x.occurred_at AT TIME ZONE v.zone)::date = v.day
) AS r ON true
-- Of a total of a programme that accepts other currencies, or ever did: bills and refunds in those of which nobody said a total that
-- day; `accepted` by the version that the bill happened under, as the first where there was none.
LEFT JOIN LATERAL (
    SELECT
        array_agg(m.currency ORDER BY m.bill_id, m.minor) AS of_currencies, array_agg(m.minor ORDER BY m.bill_id, m.minor) AS minors,
        array_agg(coalesce(k.rate, c.rate) ORDER BY m.bill_id, m.minor) AS rates,
        array_agg(coalesce(h.accepted, false) ORDER BY m.bill_id, m.minor) AS accepted, max(m.at) AS at
    FROM (
        SELECT x.bill_id, x.currency, x.total_minor AS minor, x.recorded_at AS at
        FROM earn.bills AS x
        WHERE x.merchant = v.merchant AND x.currency <> v.currency AND (x.occurred_at AT TIME ZONE v.zone)::date = v.day
        UNION ALL
        SELECT
            y.bill_id, y.currency, -y.refunded_minor AS minor,
            greatest(y.recorded_at, CASE WHEN y.status IN ('queued', 'pending') THEN now() ELSE y.settled_at END) AS at
        FROM earn.refunds AS y
        WHERE y.merchant = v.merchant AND y.currency <> v.currency AND y.n IS NOT NULL
            AND (y.occurred_at AT TIME ZONE v.zone)::date = v.day
    ) AS m
    JOIN earn.bills AS i ON i.bill_id = m.bill_id
    LEFT JOIN LATERAL (
        SELECT j.judged -> 'conversion' ->> 'rate' AS rate
        FROM earn.decisions AS d
        CROSS JOIN LATERAL json_array_elements(
            CASE json_typeof(d.decision -> 'programmes') WHEN 'array' THEN d.decision -> 'programmes' ELSE '[]' END
        ) AS j (judged)
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
    LEFT JOIN LATERAL (
        SELECT (p.document::jsonb -> 'programme' -> 'accepts') ? m.currency AS accepted
        FROM earn.programmes AS p
        WHERE p.programme = v.programme
        ORDER BY p.activated_at <= i.occurred_at DESC, abs(extract(EPOCH FROM p.activated_at - i.occurred_at)), p.version DESC
        LIMIT 1
    ) AS h ON true
    WHERE NOT EXISTS (
        SELECT FROM earn.settlement_lines AS s
        WHERE s.merchant = v.merchant AND s.day = v.day AND s.kind = 'total' AND s.currency = m.currency
    )
    AND EXISTS (
        SELECT FROM earn.programmes AS p
        WHERE p.programme = v.programme AND (p.document::jsonb -> 'programme' -> 'accepts') ? m.currency
    )
) AS f ON v.kind = 'total'
CROSS JOIN LATERAL (
    SELECT
        v.kind = 'total'
        AND coalesce(bool_or(coalesce(p.document::jsonb -> 'programme' -> 'accepts', '[]') NOT IN ('[]', 'null')), false)
        AND coalesce(
            greatest(
                max(p.activated_at),
                (
                    SELECT max(q.published_at)
                    FROM members.currency_rates AS q
                    WHERE q.to_currency = v.currency AND q.valid_from < (v.day + 2)::timestamptz
                )
            ) > v.last_seen - interval '26 hours'
            OR v.checked_at < (SELECT m.at FROM earn.migrations AS m WHERE m.name LIKE '%/0089_settlement_references.sql'),
            false
        ) AS otherwise
    FROM earn.programmes AS p
    WHERE p.programme = v.programme
) AS t;

-- name: unnoticed
-- Days whose lines are off from their bills, and of which no variance says so, though a check looked at them more than a day after the
-- last of them was written; of totals that took other currencies once, after they ended it too. Not totals of days on which they did,
-- or on which something in another currency was given back: its bill may be of a day when they were taken.
WITH nights AS MATERIALIZED (
    SELECT a.recorded_at, a.at, (a.after ->> 'from_day')::date AS first, (a.after ->> 'to_day')::date AS last
    FROM earn.audit AS a
    WHERE a.action = 'settlement.check' AND a.after ? 'from_day'
),

said AS (
    SELECT
        l.merchant, l.day, l.kind, l.currency, min(l.zone) AS zone, sum(l.amount_minor) AS minor, max(l.imported_at) AS at,
        min(l.programme) AS programme
    FROM earn.settlement_lines AS l
    GROUP BY l.merchant, l.day, l.kind, l.currency
),

zones AS (
    SELECT DISTINCT s.merchant, s.currency, s.zone FROM said AS s
),

sold AS (
    SELECT z.merchant, z.currency, z.zone, (b.occurred_at AT TIME ZONE z.zone)::date AS day, sum(b.total_minor) AS minor, max(b.recorded_at) AS at
    FROM zones AS z
    JOIN earn.bills AS b ON b.merchant = z.merchant AND b.currency = z.currency
    GROUP BY 1, 2, 3, 4
),

refunded AS (
    SELECT
        z.merchant, z.currency, z.zone, (r.occurred_at AT TIME ZONE z.zone)::date AS day, sum(r.refunded_minor) AS minor,
        max(greatest(r.recorded_at, CASE WHEN r.status IN ('queued', 'pending') THEN now() ELSE r.settled_at END)) AS at
    FROM zones AS z
    JOIN earn.refunds AS r ON r.merchant = z.merchant AND r.currency = z.currency
    WHERE r.n IS NOT NULL
    GROUP BY 1, 2, 3, 4
),

compared AS (
    SELECT
        s.merchant, s.day, s.kind, s.currency, s.minor AS found_minor, coalesce(b.minor, 0) - coalesce(r.minor, 0) AS expected_minor,
        greatest(s.at, b.at, r.at) AS at, s.programme, s.zone
    FROM said AS s
    LEFT JOIN sold AS b ON (b.merchant, b.currency, b.zone, b.day) = (s.merchant, s.currency, s.zone, s.day)
    LEFT JOIN refunded AS r ON (r.merchant, r.currency, r.zone, r.day) = (s.merchant, s.currency, s.zone, s.day)
)

SELECT c.merchant, c.day, c.kind, c.currency, c.found_minor, c.expected_minor
FROM compared AS c
LEFT JOIN LATERAL (
    SELECT
        bool_or(
            x.accepts AND (x.place = 1 OR (x.activated_at AT TIME ZONE c.zone)::date <= c.day)
            AND coalesce((x.until AT TIME ZONE c.zone)::date >= c.day, true)
        ) AS accepts,
        max(x.activated_at) FILTER (WHERE x.ever AND NOT x.accepts) AS ended_at
    FROM (
        SELECT
            p.activated_at, bool_or(a.accepts) OVER () AS ever, a.accepts,
            row_number() OVER (ORDER BY p.activated_at, p.version) AS place,
            lead(p.activated_at) OVER (ORDER BY p.activated_at, p.version) AS until
        FROM earn.programmes AS p
        CROSS JOIN LATERAL (
            SELECT coalesce(p.document::jsonb -> 'programme' -> 'accepts', '[]') NOT IN ('[]', 'null') AS accepts
        ) AS a
        WHERE p.programme = c.programme
    ) AS x
) AS p ON true
WHERE abs(c.found_minor - c.expected_minor) > 0.5
    AND (c.kind = 'deposit' OR p.accepts IS NOT true)
    AND NOT EXISTS (
        SELECT FROM earn.refunds AS r
        WHERE c.kind = 'total' AND p.ended_at IS NOT NULL AND r.merchant = c.merchant AND r.currency <> c.currency AND r.n IS NOT NULL
            AND (r.occurred_at AT TIME ZONE c.zone)::date = c.day
    )
    AND EXISTS (
        SELECT FROM nights AS n
        WHERE c.day BETWEEN n.first AND n.last AND n.recorded_at > c.at + interval '26 hours'
            AND (c.kind = 'deposit' OR p.ended_at IS NULL OR n.at > p.ended_at + interval '26 hours')
    )
    AND NOT EXISTS (
        SELECT FROM earn.settlement_variances AS v
        WHERE (v.merchant, v.day, v.kind, v.currency) = (c.merchant, c.day, c.kind, c.currency)
    );

-- name: said
-- How many days merchants and banks spoke of.
SELECT count(*) FROM (SELECT DISTINCT l.merchant, l.day, l.kind, l.currency FROM earn.settlement_lines AS l) AS s;
