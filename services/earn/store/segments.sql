-- Which segments members are in, as earn heard it.

-- name: learn_segments!
-- Words of members about stays, for ever.
INSERT INTO segment_stays (member_id, sequence, segment, from_at, until_at)
SELECT s.member_id, s.sequence, s.segment, s.from_at, s.until_at
FROM unnest(
    :member_ids::uuid[], :sequences::bigint[], :segments::text[], :from_ats::timestamptz[], :until_ats::timestamptz[]
) AS s (member_id, sequence, segment, from_at, until_at)
ORDER BY s.member_id, s.sequence
ON CONFLICT DO NOTHING;

-- name: segments_of
-- The stays of these members as they were told last.
SELECT DISTINCT ON (member_id, segment, from_at) member_id, segment, from_at, until_at
FROM segment_stays
WHERE member_id = ANY(:member_ids::uuid[])
ORDER BY member_id, segment, from_at, sequence DESC;
