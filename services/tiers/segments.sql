-- Segments, and the days by which ladders with conditions are judged. The search path is the service's schema.

-- name: learn_segments!
-- Words of members about stays, for ever.
INSERT INTO segment_stays (member_id, sequence, segment, from_at, until_at)
SELECT s.member_id, s.sequence, s.segment, s.from_at, s.until_at
FROM unnest(
    :member_ids::uuid[], :sequences::bigint[], :segments::text[], :from_ats::timestamptz[], :until_ats::timestamptz[]
) AS s (member_id, sequence, segment, from_at, until_at)
ORDER BY s.member_id, s.sequence
ON CONFLICT DO NOTHING;

-- name: segments_at
-- The segments that these members are in at a moment: of each stay, named by when it began, the last word stands.
SELECT t.member_id, array_agg(DISTINCT t.segment ORDER BY t.segment) AS segments
FROM (
    SELECT DISTINCT ON (s.member_id, s.segment, s.from_at) s.member_id, s.segment, s.from_at, s.until_at
    FROM segment_stays AS s
    WHERE s.member_id = ANY(:member_ids::uuid[])
    ORDER BY s.member_id, s.segment, s.from_at, s.sequence DESC
) AS t
WHERE t.from_at <= :at::timestamptz AND (t.until_at IS NULL OR t.until_at > :at::timestamptz)
GROUP BY t.member_id;

-- name: wallets_of
-- The wallets of these members.
SELECT wallet_id, member_id, programme
FROM standings
WHERE member_id = ANY(:member_ids::uuid[])
ORDER BY wallet_id;

-- name: latest
-- Each programme's latest version, and the last day by which all of its wallets were judged.
SELECT p.programme, max(p.version) AS version, max(d.day) FILTER (WHERE d.done) AS day
FROM programmes AS p
LEFT JOIN judged_days AS d ON d.programme = p.programme
GROUP BY p.programme
ORDER BY p.programme;

-- name: begin_day!
-- The row of the day that is judged, locked; a later day begins anew, an earlier one is left as it is.
INSERT INTO judged_days AS d (programme, day)
VALUES (:programme, :day)
ON CONFLICT (programme) DO UPDATE
SET
    day = greatest(d.day, EXCLUDED.day),
    through = CASE WHEN EXCLUDED.day > d.day THEN NULL ELSE d.through END,
    done = d.done AND EXCLUDED.day <= d.day;

-- name: next_of_day
-- The next wallets of a day that is not done.
SELECT s.wallet_id
FROM judged_days AS d
JOIN standings AS s ON s.programme = d.programme AND (d.through IS NULL OR s.wallet_id > d.through)
WHERE d.programme = :programme AND d.day = :day AND NOT d.done
ORDER BY s.wallet_id
LIMIT :most;

-- name: go_on!
-- How far it came.
UPDATE judged_days
SET through = coalesce(:through::uuid, through), done = done OR :done::boolean
WHERE programme = :programme AND day = :day;
