-- Entries that died.

-- name: dead_letters
-- How many, by service, state and code.
WITH letters AS (
    SELECT 'members' AS service, d.state, d.code FROM members.dead_letters AS d
    UNION ALL
    SELECT 'earn', d.state, d.code FROM earn.dead_letters AS d
    UNION ALL
    SELECT 'redeem', d.state, d.code FROM redeem.dead_letters AS d
    UNION ALL
    SELECT 'tiers', d.state, d.code FROM tiers.dead_letters AS d
    UNION ALL
    SELECT 'notifier', d.state, d.code FROM notifier.dead_letters AS d
)
SELECT l.service, l.state, l.code, count(*) AS n FROM letters AS l GROUP BY l.service, l.state, l.code ORDER BY 1, 2, 3;

-- name: died_twice
-- Entries with more than one dead letter.
WITH letters AS (
    SELECT 'members' AS service, d.stream, d.entry_id FROM members.dead_letters AS d
    UNION ALL
    SELECT 'earn', d.stream, d.entry_id FROM earn.dead_letters AS d
    UNION ALL
    SELECT 'redeem', d.stream, d.entry_id FROM redeem.dead_letters AS d
    UNION ALL
    SELECT 'tiers', d.stream, d.entry_id FROM tiers.dead_letters AS d
    UNION ALL
    SELECT 'notifier', d.stream, d.entry_id FROM notifier.dead_letters AS d
)
SELECT l.service, l.stream, l.entry_id, count(*) AS n
FROM letters AS l
GROUP BY l.service, l.stream, l.entry_id
HAVING count(*) > 1;

-- name: highest
-- The highest entry of each of our streams that died.
WITH letters AS (
    SELECT 'earn' AS service, d.stream, d.entry_id FROM earn.dead_letters AS d WHERE d.stream <> 'pos'
    UNION ALL
    SELECT 'redeem', d.stream, d.entry_id FROM redeem.dead_letters AS d
    UNION ALL
    SELECT 'tiers', d.stream, d.entry_id FROM tiers.dead_letters AS d
    UNION ALL
    SELECT 'notifier', d.stream, d.entry_id FROM notifier.dead_letters AS d
)

SELECT l.service, l.stream, max(split_part(l.entry_id, '-', 1)::bigint) AS highest
FROM letters AS l
WHERE l.entry_id ~ '^[0-9]{1,18}-'
GROUP BY l.service, l.stream;

-- name: no_entries
-- Dead letters of our streams under a name that no entry has.
WITH letters AS (
    SELECT 'earn' AS service, d.stream, d.entry_id FROM earn.dead_letters AS d WHERE d.stream <> 'pos'
    UNION ALL
    SELECT 'redeem', d.stream, d.entry_id FROM redeem.dead_letters AS d
    UNION ALL
    SELECT 'tiers', d.stream, d.entry_id FROM tiers.dead_letters AS d
    UNION ALL
    SELECT 'notifier', d.stream, d.entry_id FROM notifier.dead_letters AS d
)

SELECT l.service, l.stream, l.entry_id FROM letters AS l WHERE l.entry_id !~ '^[0-9]{1,18}-' LIMIT 5;
