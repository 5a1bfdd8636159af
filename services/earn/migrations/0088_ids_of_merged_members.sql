-- The id of a member who was merged into one who was merged later named the second: now, as from the next merge on, who goes on.

WITH RECURSIVE ends AS (
    SELECT m.member_id, m.merged_into AS goes_on
    FROM merged_members AS m
    UNION
    SELECT e.member_id, m.merged_into
    FROM ends AS e
    JOIN merged_members AS m ON e.goes_on = m.member_id
)

UPDATE identities AS i
SET member_id = e.goes_on
FROM ends AS e
WHERE i.member_id = e.member_id AND NOT EXISTS (SELECT FROM merged_members AS m WHERE m.member_id = e.goes_on);
