-- Settlement: what merchants and banks say of days, against what bills say. The search path is earn's schema.

-- name: import_lines
-- New lines; gives those that it wrote.
INSERT INTO settlement_lines (merchant, day, kind, reference, currency, amount_minor, zone, file_hash, programme)
SELECT l.merchant, l.day, l.kind, l.reference, l.currency, l.amount_minor, l.zone, l.file_hash, l.programme
FROM unnest(
    :merchants::text[], :days::date[], :kinds::text[], :references::text[], :currencies::text[], :amounts::numeric[], :zones::text[],
    :file_hashes::bytea[], :programmes::text[]
) AS l (merchant, day, kind, reference, currency, amount_minor, zone, file_hash, programme)
ORDER BY l.merchant, l.day, l.kind, l.reference
ON CONFLICT DO NOTHING
RETURNING merchant, day, kind, reference;

-- name: known_lines
-- What was imported under these keys.
SELECT l.merchant, l.day, l.kind, l.reference, l.currency, l.amount_minor
FROM unnest(:merchants::text[], :days::date[], :kinds::text[], :references::text[]) AS k (merchant, day, kind, reference)
JOIN settlement_lines AS l ON l.merchant = k.merchant AND l.day = k.day AND l.kind = k.kind AND l.reference = k.reference;

-- name: compared
-- Of each merchant, day, kind and currency that lines name in a time: what they come to, and what bills less refunds of that day come to
-- in that currency, each by when it happened in the zone of the lines: by what the clocks showed, for a midnight may come twice.
WITH said AS (
    SELECT
        l.merchant, l.day, l.kind, l.currency, min(l.zone) AS zone, sum(l.amount_minor) AS found_minor, min(l.programme) AS programme
    FROM settlement_lines AS l
    WHERE l.day BETWEEN :first AND :last
    GROUP BY l.merchant, l.day, l.kind, l.currency
),

days AS (
    SELECT DISTINCT s.merchant, s.day, s.currency, s.zone
    FROM said AS s
),

sold AS (
    SELECT d.merchant, d.day, d.currency, d.zone, sum(b.total_minor) AS minor
    FROM days AS d
    JOIN bills AS b
        ON b.merchant = d.merchant AND b.currency = d.currency AND b.occurred_at >= d.day - 1 AND b.occurred_at < d.day + 2
        AND (b.occurred_at AT TIME ZONE d.zone)::date = d.day
    GROUP BY d.merchant, d.day, d.currency, d.zone
),

refunded AS (
    SELECT d.merchant, d.day, d.currency, d.zone, sum(r.refunded_minor) AS minor
    FROM days AS d
    JOIN refunds AS r
        ON r.merchant = d.merchant AND r.currency = d.currency AND r.occurred_at >= d.day - 1 AND r.occurred_at < d.day + 2
        AND (r.occurred_at AT TIME ZONE d.zone)::date = d.day
    WHERE r.n IS NOT NULL
    GROUP BY d.merchant, d.day, d.currency, d.zone
)

SELECT
    s.merchant, s.day, s.kind, s.currency, s.zone, (coalesce(b.minor, 0) - coalesce(r.minor, 0))::bigint AS expected_minor,
    s.found_minor, s.programme, CASE WHEN coalesce(b.minor, r.minor) IS NULL THEN 'bills' END AS missing
FROM said AS s
LEFT JOIN sold AS b ON b.merchant = s.merchant AND b.day = s.day AND b.currency = s.currency AND b.zone = s.zone
LEFT JOIN refunded AS r ON r.merchant = s.merchant AND r.day = s.day AND r.currency = s.currency AND r.zone = s.zone
ORDER BY s.merchant, s.day, s.kind, s.currency;

-- name: foreign
-- Bills, and refunds (below zero), of these merchants' days in another currency than a total is in, each with the rate by which the
-- programme counts the bill: that of its decision, else the one that holds for when it happened; and when that was.
WITH days AS (
    SELECT t.merchant, t.day, t.programme, t.currency, t.zone
    FROM unnest(:merchants::text[], :days::date[], :programmes::text[], :currencies::text[], :zones::text[])
        AS t (merchant, day, programme, currency, zone)
),

moved AS (
    SELECT d.merchant, d.day, d.programme, d.currency, b.bill_id, b.currency AS of_currency, b.total_minor AS minor
    FROM days AS d
    JOIN bills AS b
        ON b.merchant = d.merchant AND b.currency <> d.currency AND b.occurred_at >= d.day - 1 AND b.occurred_at < d.day + 2
        AND (b.occurred_at AT TIME ZONE d.zone)::date = d.day
    UNION ALL
    SELECT d.merchant, d.day, d.programme, d.currency, r.bill_id, r.currency AS of_currency, -r.refunded_minor AS minor
    FROM days AS d
    JOIN refunds AS r
        ON r.merchant = d.merchant AND r.currency <> d.currency AND r.occurred_at >= d.day - 1 AND r.occurred_at < d.day + 2
        AND (r.occurred_at AT TIME ZONE d.zone)::date = d.day
    WHERE r.n IS NOT NULL
)

SELECT
    m.merchant, m.day, m.programme, m.currency, m.of_currency, m.minor, coalesce(kept.rate, known.rate) AS rate, b.occurred_at
FROM moved AS m
JOIN bills AS b ON b.bill_id = m.bill_id
LEFT JOIN LATERAL (
    SELECT j.judged -> 'conversion' ->> 'rate' AS rate
    FROM decisions AS x
    CROSS JOIN LATERAL json_array_elements(x.decision -> 'programmes') AS j (judged)
    WHERE x.bill_id = m.bill_id AND j.judged ->> 'programme' = m.programme
    ORDER BY x.n DESC
    LIMIT 1
) AS kept ON true
LEFT JOIN LATERAL (
    SELECT x.rate
    FROM currency_rates AS x
    WHERE x.from_currency = m.of_currency AND x.to_currency = m.currency AND x.valid_from <= b.occurred_at
    ORDER BY x.valid_from DESC, x.number DESC
    LIMIT 1
) AS known ON true;

-- name: sold
-- What bills less refunds of each merchant's day come to, by currency, in a time that begins no earlier than the first day of which
-- anybody said a total; in the zone of the merchant's latest total, else of anybody's.
WITH totals AS (
    SELECT min(l.day) AS since FROM settlement_lines AS l WHERE l.kind = 'total'
),

anybody AS (
    SELECT l.zone FROM settlement_lines AS l WHERE l.kind = 'total' ORDER BY l.day DESC, l.merchant LIMIT 1
),

zones AS (
    SELECT DISTINCT ON (l.merchant) l.merchant, l.zone
    FROM settlement_lines AS l
    WHERE l.kind = 'total'
    ORDER BY l.merchant, l.day DESC
),

moved AS (
    SELECT b.merchant, b.currency, b.occurred_at, b.total_minor AS minor
    FROM bills AS b
    WHERE b.occurred_at >= :first::date - 1 AND b.occurred_at < :last::date + 2
    UNION ALL
    SELECT r.merchant, r.currency, r.occurred_at, -r.refunded_minor AS minor
    FROM refunds AS r
    WHERE r.n IS NOT NULL AND r.occurred_at >= :first::date - 1 AND r.occurred_at < :last::date + 2
),

placed AS (
    SELECT
        m.merchant, m.currency, m.minor, coalesce(z.zone, a.zone) AS zone,
        (m.occurred_at AT TIME ZONE coalesce(z.zone, a.zone))::date AS day
    FROM moved AS m
    CROSS JOIN anybody AS a
    LEFT JOIN zones AS z ON z.merchant = m.merchant
)

SELECT p.merchant, p.day, p.currency, p.zone, sum(p.minor)::bigint AS minor
FROM placed AS p
CROSS JOIN totals AS t
WHERE p.day BETWEEN greatest(:first::date, t.since) AND :last::date
GROUP BY p.merchant, p.day, p.currency, p.zone
ORDER BY p.merchant, p.day, p.currency;

-- name: keep_variances
-- Variances that were found; one that is not closed was seen again. What somebody closed is not raised again with the same numbers; where
-- one stands beside it, that has these numbers now.
INSERT INTO settlement_variances (
    variance_id, merchant, day, kind, currency, zone, expected_minor, found_minor, programme, missing, first_seen, last_seen
)
SELECT
    v.variance_id, v.merchant, v.day, v.kind, v.currency, v.zone, v.expected_minor, v.found_minor, v.programme, v.missing,
    :seen AS first_seen, :seen AS last_seen
FROM unnest(
    :variance_ids::uuid[], :merchants::text[], :days::date[], :kinds::text[], :currencies::text[], :zones::text[],
    :expected_minors::bigint[], :found_minors::numeric[], :programmes::text[], :missings::text[]
) AS v (variance_id, merchant, day, kind, currency, zone, expected_minor, found_minor, programme, missing)
WHERE NOT EXISTS (
    SELECT FROM settlement_variances AS c
    WHERE c.merchant = v.merchant AND c.day = v.day AND c.kind = v.kind AND c.currency = v.currency AND c.state = 'closed'
        AND NOT c.agreed AND c.expected_minor = v.expected_minor AND c.found_minor = v.found_minor
)
OR EXISTS (
    SELECT FROM settlement_variances AS o
    WHERE o.merchant = v.merchant AND o.day = v.day AND o.kind = v.kind AND o.currency = v.currency AND o.state <> 'closed'
)
ORDER BY v.merchant, v.day, v.kind, v.currency
ON CONFLICT (merchant, day, kind, currency) WHERE state <> 'closed' DO UPDATE
SET expected_minor = EXCLUDED.expected_minor, found_minor = EXCLUDED.found_minor, programme = EXCLUDED.programme,
    missing = EXCLUDED.missing, last_seen = EXCLUDED.last_seen, checked_at = EXCLUDED.checked_at
RETURNING variance_id;

-- name: agree
-- Variances of days that agree by now are closed.
UPDATE settlement_variances AS v
SET state = 'closed', reason = 'It agrees by now.', agreed = true, last_seen = :seen
FROM unnest(:merchants::text[], :days::date[], :kinds::text[], :currencies::text[]) AS a (merchant, day, kind, currency)
WHERE v.merchant = a.merchant AND v.day = a.day AND v.kind = a.kind AND v.currency = a.currency AND v.state <> 'closed'
RETURNING v.variance_id;

-- name: variance_page
-- Variances in these states, of a merchant where one is asked for, the newest first.
SELECT
    variance_id, merchant, day, kind, currency, zone, expected_minor, trim_scale(found_minor)::text AS found_minor, first_seen, last_seen,
    owner, state, reason, programme, missing
FROM settlement_variances
WHERE state = ANY(:states::text[]) AND (:merchant::text IS NULL OR merchant = :merchant) AND variance_id < :before
ORDER BY variance_id DESC
LIMIT :most;

-- name: lock_variance^
-- One variance, locked.
SELECT
    variance_id, merchant, day, kind, currency, zone, expected_minor, trim_scale(found_minor)::text AS found_minor, first_seen, last_seen,
    owner, state, reason, programme, missing
FROM settlement_variances
WHERE variance_id = :variance_id
FOR NO KEY UPDATE;

-- name: standing_variance$
-- The other one of the same merchant, day, kind and currency that is not closed.
SELECT o.variance_id
FROM settlement_variances AS v
INNER JOIN settlement_variances AS o
    ON v.merchant = o.merchant AND v.day = o.day AND v.kind = o.kind AND v.currency = o.currency
WHERE v.variance_id = :variance_id AND o.variance_id <> v.variance_id AND o.state <> 'closed';

-- name: decide_variance!
-- Who has it, and what became of it. Another state or reason than the job gave is a person's word.
UPDATE settlement_variances
SET owner = :owner, state = :state, reason = :reason, agreed = agreed AND state = :state AND reason = :reason
WHERE variance_id = :variance_id;
