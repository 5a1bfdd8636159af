-- Birthdays. The search path is the service's schema.

-- name: zones
-- The time zone of each active programme.
SELECT p.code, v.document -> 'programme' ->> 'time_zone' AS zone
FROM programmes AS p
JOIN programme_versions AS v ON v.programme = p.code AND v.version = p.active_version
ORDER BY p.code;

-- name: due
-- Members who have their birthday on one of these days in a programme that they were in by its end, and of whom, and of those who
-- were merged into them, through every merge, that was not told this year.
SELECT m.member_id, w.wallet_id, d.programme, d.year, d.begins_at
FROM unnest(
    :programmes::text[], :years::int[], :months::int[], :days::int[], :begins_ats::timestamptz[], :ends_ats::timestamptz[]
) AS d (programme, year, month, day, begins_at, ends_at)
JOIN contacts AS c ON extract(MONTH FROM c.birthday) = d.month AND extract(DAY FROM c.birthday) = d.day
JOIN members AS m ON m.member_id = c.member_id AND m.status = 'active' AND m.enrolled_at < d.ends_at
JOIN wallets AS w ON w.member_id = m.member_id AND w.programme = d.programme
WHERE NOT EXISTS (
    SELECT FROM birthdays_told AS t
    WHERE t.member_id = m.member_id AND t.programme = d.programme AND t.year = d.year
) AND NOT EXISTS (
    WITH RECURSIVE ended AS (
        SELECT o.member_id
        FROM members AS o
        WHERE o.merged_into = m.member_id
        UNION ALL
        SELECT o.member_id
        FROM ended AS e
        JOIN members AS o ON o.merged_into = e.member_id
    )
    SELECT FROM ended AS e
    JOIN birthdays_told AS t ON t.member_id = e.member_id
    WHERE t.programme = d.programme AND t.year = d.year
)
ORDER BY m.member_id, d.programme
LIMIT :most;

-- name: claim
-- Those of these birthdays that were not told, and are from now on. Their members are locked: who was merged since they were found
-- is left out, and so is who goes on as somebody that was told.
INSERT INTO birthdays_told (member_id, programme, year)
SELECT b.member_id, b.programme, b.year
FROM unnest(:member_ids::uuid[], :programmes::text[], :years::int[]) AS b (member_id, programme, year)
JOIN members AS m ON m.member_id = b.member_id AND m.status = 'active'
WHERE NOT EXISTS (
    WITH RECURSIVE ended AS (
        SELECT o.member_id
        FROM members AS o
        WHERE o.merged_into = m.member_id
        UNION ALL
        SELECT o.member_id
        FROM ended AS e
        JOIN members AS o ON o.merged_into = e.member_id
    )
    SELECT FROM ended AS e
    JOIN birthdays_told AS t ON t.member_id = e.member_id
    WHERE t.programme = b.programme AND t.year = b.year
)
ORDER BY b.member_id, b.programme, b.year
ON CONFLICT DO NOTHING
RETURNING member_id, programme, year;

-- name: lock_members
-- How many events these members have, locked.
SELECT member_id, event_sequence
FROM members
WHERE member_id = ANY(:member_ids::uuid[])
ORDER BY member_id
FOR NO KEY UPDATE;

-- name: count_events!
-- How many events these members have by now.
UPDATE members AS m
SET event_sequence = n.event_sequence
FROM unnest(:member_ids::uuid[], :event_sequences::bigint[]) AS n (member_id, event_sequence)
WHERE m.member_id = n.member_id;

-- name: asking
-- The time zone of each active programme, and which of these segments its rules, campaigns, stamp cards and ladder ask for.
SELECT
    p.code, v.document -> 'programme' ->> 'time_zone' AS zone,
    ARRAY(
        SELECT s.segment
        FROM unnest(:segments::text[]) AS s (segment)
        WHERE jsonb_path_exists(
            v.document, '$.**."member.segments".** ? (@ == $segment)', jsonb_build_object('segment', s.segment)
        )
    ) AS segments
FROM programmes AS p
JOIN programme_versions AS v ON v.programme = p.code AND v.version = p.active_version
WHERE v.document::text LIKE '%"member.segments"%'
ORDER BY p.code;

-- name: due_stays
-- Stays around birthdays that are to be told: of members who were in the programme before they end, each once, whatever became of it.
SELECT DISTINCT m.member_id, d.segment, d.from_at, d.until_at
FROM unnest(
    :programmes::text[], :segments::text[], :months::int[], :days::int[], :from_ats::timestamptz[], :until_ats::timestamptz[]
) AS d (programme, segment, month, day, from_at, until_at)
JOIN contacts AS c ON extract(MONTH FROM c.birthday) = d.month AND extract(DAY FROM c.birthday) = d.day
JOIN members AS m ON m.member_id = c.member_id AND m.status = 'active' AND m.enrolled_at < d.until_at
JOIN wallets AS w ON w.member_id = m.member_id AND w.programme = d.programme
WHERE NOT EXISTS (
    SELECT FROM segment_stays AS s
    WHERE s.member_id = m.member_id AND s.segment = d.segment AND s.from_at = d.from_at
)
ORDER BY m.member_id, d.segment, d.from_at
LIMIT :most;
