-- Who is in which segment, at members, and as earn heard it.

-- name: stays
-- Every stay.
SELECT s.member_id::text AS member_id, s.segment, s.from_at, s.until_at
FROM members.segment_stays AS s;

-- name: learned
-- Every word that earn and tiers keep.
SELECT 'earn' AS hearer, e.member_id::text AS member_id, e.sequence, e.segment, e.from_at, e.until_at FROM earn.segment_stays AS e
UNION ALL
SELECT 'tiers', t.member_id::text, t.sequence, t.segment, t.from_at, t.until_at FROM tiers.segment_stays AS t;

-- name: words_about
-- What earn heard about these members.
SELECT s.member_id::text AS member_id, s.sequence, s.segment, s.from_at, s.until_at
FROM earn.segment_stays AS s
WHERE s.member_id = ANY($1::uuid[])
ORDER BY s.member_id, s.sequence;
