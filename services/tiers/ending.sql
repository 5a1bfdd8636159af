-- Standings that come to their end. The search path is the service's schema.

-- name: first_ends
-- When the first standing of each of these programmes ends that are not another's by now.
SELECT f.programme, f.until
FROM (
    SELECT
        p.programme,
        (SELECT min(s.until) FROM standings AS s WHERE s.programme = p.programme AND s.until IS NOT NULL AND s.heir IS NULL) AS until
    FROM unnest(:programmes::text[]) AS p (programme)
) AS f
WHERE f.until IS NOT NULL;

-- name: ended
-- Some wallets whose standing is over, the longest first.
SELECT wallet_id
FROM standings
WHERE programme = :programme AND until <= :now AND heir IS NULL
ORDER BY until, wallet_id
LIMIT :most;
