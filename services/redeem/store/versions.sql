-- Versions of programmes: what of them counts. The search path is redeem's schema.

-- name: newest_versions
-- The newest version of each of these programmes that is known here, in the order of their codes.
SELECT
    programme,
    max(version) AS version
FROM programmes
WHERE programme = ANY(:programmes::text[])
GROUP BY programme
ORDER BY programme;

-- name: all_newest_versions
-- The same of every programme.
SELECT
    programme,
    max(version) AS version
FROM programmes
GROUP BY programme
ORDER BY programme;

-- name: versions_at
-- The version that was active at each of these moments (null: the newest), the first one before all of them; k says of which.
SELECT
    a.k,
    coalesce(max(p.version) FILTER (WHERE a.at IS NULL OR p.activated_at <= a.at), min(p.version)) AS version
FROM unnest(:programmes::text[], :ats::timestamptz[]) WITH ORDINALITY AS a (programme, at, k)
JOIN programmes AS p ON a.programme = p.programme
GROUP BY a.k
ORDER BY a.k;

-- name: programme$
-- The document of a programme's version.
SELECT document
FROM programmes
WHERE programme = :programme AND version = :version;

-- name: idle_versions
-- The programmes of which a version ends balances that were left alone: those of their versions, in order, that say something else of
-- expiry or of the time zone than the one before.
SELECT
    v.programme,
    v.version,
    v.activated_at
FROM (
    SELECT
        s.programme,
        s.version,
        s.activated_at,
        s.said,
        lag(s.said) OVER (PARTITION BY s.programme ORDER BY s.version) AS said_before,
        bool_or(s.said #>> '{0,policy}' = 'inactivity') OVER (PARTITION BY s.programme) AS ends_some
    FROM (
        SELECT
            p.programme,
            p.version,
            p.activated_at,
            jsonb_build_array(p.document -> 'expiry', p.document #> '{programme,time_zone}') AS said
        FROM programmes AS p
    ) AS s
) AS v
WHERE v.ends_some AND v.said IS DISTINCT FROM v.said_before
ORDER BY v.programme, v.version;
