-- Who is in which segment, at members, and as earn heard it.

-- name: stays
-- Every stay.
SELECT s.member_id::text AS member_id, s.segment, s.from_at, s.until_at
FROM members.segment_stays AS s;

-- name: learned
-- Every word that earn keeps.
SELECT s.member_id::text AS member_id, s.sequence, s.segment, s.from_at, s.until_at
FROM earn.segment_stays AS s;

-- name: words_about
-- What earn heard about these members.
SELECT s.member_id::text AS member_id, s.sequence, s.segment, s.from_at, s.until_at
FROM earn.segment_stays AS s
WHERE s.member_id = ANY($1::uuid[])
ORDER BY s.member_id, s.sequence;
