-- What tiers asks of its tables to merge wallets. The search path is the service's schema.

-- name: merge_qualifications!
-- What the one has earned in each year, the other has. Both are locked.
WITH moved AS (
    DELETE FROM qualifications
    WHERE wallet_id = :wallet_id
    RETURNING year, points
)
INSERT INTO qualifications AS q (wallet_id, year, points)
SELECT :heir, m.year, m.points
FROM moved AS m
ON CONFLICT (wallet_id, year) DO UPDATE SET points = q.points + EXCLUDED.points;

-- name: end_standing!
-- A locked standing is another's from now on, and so are those that had become its own.
UPDATE standings
SET heir = :heir
WHERE wallet_id = :wallet_id OR heir = :wallet_id;

-- name: last_change^
-- What a wallet's standing rests on.
SELECT to_tier, programme, programme_version, numbers::text AS numbers, facts::text AS facts, until
FROM history
WHERE wallet_id = :wallet_id
ORDER BY sequence DESC
LIMIT 1;
