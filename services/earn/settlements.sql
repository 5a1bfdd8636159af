-- Settlement: what merchants and banks say of days, against what bills say. The search path is earn's schema.

-- name: import_lines
-- New lines; gives those that it wrote.
INSERT INTO settlement_lines (merchant, day, kind, reference, currency, amount_minor, zone, file_hash)
SELECT l.merchant, l.day, l.kind, l.reference, l.currency, l.amount_minor, l.zone, l.file_hash
FROM unnest(
    :merchants::text[], :days::date[], :kinds::text[], :references::text[], :currencies::text[], :amounts::numeric[], :zones::text[],
    :file_hashes::bytea[]
) AS l (merchant, day, kind, reference, currency, amount_minor, zone, file_hash)
ORDER BY l.merchant, l.day, l.kind, l.reference
ON CONFLICT DO NOTHING
RETURNING merchant, day, kind, reference;

-- name: known_lines
-- What was imported under these keys.
SELECT l.merchant, l.day, l.kind, l.reference, l.currency, l.amount_minor
FROM unnest(:merchants::text[], :days::date[], :kinds::text[], :references::text[]) AS k (merchant, day, kind, reference)
JOIN settlement_lines AS l ON l.merchant = k.merchant AND l.day = k.day AND l.kind = k.kind AND l.reference = k.reference;

-- name: compared
-- Of each merchant, day and kind that lines name in a time: what they come to, and what bills less refunds of that day come to, each by
-- when it happened in the zone of the lines.
WITH said AS (
    SELECT l.merchant, l.day, l.kind, l.currency, min(l.zone) AS zone, sum(l.amount_minor) AS found_minor
    FROM settlement_lines AS l
    WHERE l.day BETWEEN :first AND :last
    GROUP BY l.merchant, l.day, l.kind, l.currency
),

days AS (
    SELECT DISTINCT
        s.merchant, s.day, s.currency, s.zone, s.day::timestamp AT TIME ZONE s.zone AS begins_at,
        (s.day + 1)::timestamp AT TIME ZONE s.zone AS ends_at
    FROM said AS s
),

sold AS (
    SELECT d.merchant, d.day, d.currency, d.zone, sum(b.total_minor) AS minor
    FROM days AS d
    JOIN bills AS b ON b.merchant = d.merchant AND b.currency = d.currency AND b.occurred_at >= d.begins_at AND b.occurred_at < d.ends_at
    GROUP BY d.merchant, d.day, d.currency, d.zone
),

refunded AS (
    SELECT d.merchant, d.day, d.currency, d.zone, sum(r.refunded_minor) AS minor
    FROM days AS d
    JOIN refunds AS r
        ON r.merchant = d.merchant AND r.currency = d.currency AND r.occurred_at >= d.begins_at AND r.occurred_at < d.ends_at
    WHERE r.n IS NOT NULL
    GROUP BY d.merchant, d.day, d.currency, d.zone
)

SELECT
    s.merchant, s.day, s.kind, s.currency, s.zone, (coalesce(b.minor, 0) - coalesce(r.minor, 0))::bigint AS expected_minor,
    s.found_minor
FROM said AS s
LEFT JOIN sold AS b ON b.merchant = s.merchant AND b.day = s.day AND b.currency = s.currency AND b.zone = s.zone
LEFT JOIN refunded AS r ON r.merchant = s.merchant AND r.day = s.day AND r.currency = s.currency AND r.zone = s.zone
ORDER BY s.merchant, s.day, s.kind;

-- name: keep_variances
-- Variances that were found; one that is not closed was seen again. What somebody closed is not raised again with the same numbers.
INSERT INTO settlement_variances (
    variance_id, merchant, day, kind, currency, zone, expected_minor, found_minor, first_seen, last_seen
)
SELECT v.variance_id, v.merchant, v.day, v.kind, v.currency, v.zone, v.expected_minor, v.found_minor, :seen AS first_seen, :seen AS last_seen
FROM unnest(
    :variance_ids::uuid[], :merchants::text[], :days::date[], :kinds::text[], :currencies::text[], :zones::text[],
    :expected_minors::bigint[], :found_minors::numeric[]
) AS v (variance_id, merchant, day, kind, currency, zone, expected_minor, found_minor)
WHERE NOT EXISTS (
    SELECT FROM settlement_variances AS c
    WHERE c.merchant = v.merchant AND c.day = v.day AND c.kind = v.kind AND c.state = 'closed'
        AND c.expected_minor = v.expected_minor AND c.found_minor = v.found_minor
)
ORDER BY v.merchant, v.day, v.kind
ON CONFLICT (merchant, day, kind) WHERE state <> 'closed' DO UPDATE
SET expected_minor = EXCLUDED.expected_minor, found_minor = EXCLUDED.found_minor, last_seen = EXCLUDED.last_seen,
    checked_at = EXCLUDED.checked_at
RETURNING variance_id;

-- name: agree
-- Variances of days that agree by now are closed.
UPDATE settlement_variances AS v
SET state = 'closed', reason = 'It agrees by now.', last_seen = :seen
FROM unnest(:merchants::text[], :days::date[], :kinds::text[]) AS a (merchant, day, kind)
WHERE v.merchant = a.merchant AND v.day = a.day AND v.kind = a.kind AND v.state <> 'closed'
RETURNING v.variance_id;

-- name: variance_page
-- Variances in these states, of a merchant where one is asked for, the newest first.
SELECT
    variance_id, merchant, day, kind, currency, zone, expected_minor, found_minor, first_seen, last_seen, owner, state, reason
FROM settlement_variances
WHERE state = ANY(:states::text[]) AND (:merchant::text IS NULL OR merchant = :merchant) AND variance_id < :before
ORDER BY variance_id DESC
LIMIT :most;

-- name: lock_variance^
-- One variance, locked.
SELECT
    variance_id, merchant, day, kind, currency, zone, expected_minor, found_minor, first_seen, last_seen, owner, state, reason
FROM settlement_variances
WHERE variance_id = :variance_id
FOR NO KEY UPDATE;

-- name: decide_variance!
-- Who has it, and what became of it.
UPDATE settlement_variances SET owner = :owner, state = :state, reason = :reason WHERE variance_id = :variance_id;
