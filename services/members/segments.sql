-- Who is in which segment. The search path is the service's schema.

-- name: lock_members
-- These members, locked in their order until the transaction ends; those that don't exist are left out.
SELECT member_id, event_sequence, merged_into
FROM members
WHERE member_id = ANY(:member_ids::uuid[])
ORDER BY member_id
FOR NO KEY UPDATE;

-- name: count_events!
-- How many events have told of these members, which are locked.
UPDATE members AS m
SET event_sequence = c.event_sequence
FROM unnest(:member_ids::uuid[], :event_sequences::bigint[]) AS c (member_id, event_sequence)
WHERE m.member_id = c.member_id;

-- name: stays_of
-- Every stay of these members.
SELECT member_id, segment, from_at, until_at
FROM segment_stays
WHERE member_id = ANY(:member_ids::uuid[])
ORDER BY member_id, segment, from_at;

-- name: write_stays!
-- Stays as they are now.
INSERT INTO segment_stays (member_id, segment, from_at, until_at)
SELECT s.member_id, s.segment, s.from_at, s.until_at
FROM unnest(:member_ids::uuid[], :segments::text[], :from_ats::timestamptz[], :until_ats::timestamptz[])
    AS s (member_id, segment, from_at, until_at)
ORDER BY s.member_id, s.segment, s.from_at
ON CONFLICT (member_id, segment, from_at) DO UPDATE SET until_at = EXCLUDED.until_at;
