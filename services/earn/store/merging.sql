-- What earn asks of its tables to merge members. The search path is the service's schema.

-- name: add_merged_member!
-- Who goes on as whom; once for ever.
INSERT INTO merged_members (member_id, merged_into)
VALUES (:member_id, :merged_into)
ON CONFLICT DO NOTHING;

-- name: goes_on_as$
-- Who this member is now, through every merge that is known here.
WITH RECURSIVE ends AS (
    SELECT :member_id::uuid AS member_id
    UNION ALL
    SELECT m.merged_into
    FROM ends AS e
    JOIN merged_members AS m ON m.member_id = e.member_id
)
SELECT e.member_id
FROM ends AS e
WHERE NOT EXISTS (SELECT FROM merged_members AS m WHERE m.member_id = e.member_id);

-- name: lead_identities!
-- Identities name the member who goes on.
INSERT INTO identities AS n (identity, kind, member_id)
SELECT i.identity, i.kind, :member_id
FROM unnest(:identities::bytea[], :kinds::text[]) AS i (identity, kind)
ORDER BY i.identity
ON CONFLICT (identity) DO UPDATE SET member_id = EXCLUDED.member_id
WHERE n.member_id <> EXCLUDED.member_id;

-- name: lead_ids!
-- The ids of this member, and of those who were merged into it before, name who goes on: nobody tells them, as what else named it.
UPDATE identities SET member_id = :survivor WHERE member_id = :member_id AND kind = 'member_id';

-- name: add_heirs!
-- Which wallet goes on for which, those too that were merged into these before.
WITH pairs AS (
    SELECT p.wallet_id, coalesce(h.heir, p.merged_into) AS heir
    FROM unnest(:wallet_ids::uuid[], :merged_intos::uuid[]) AS p (wallet_id, merged_into)
    LEFT JOIN heirs AS h ON h.wallet_id = p.merged_into
),

led AS (
    UPDATE heirs AS o
    SET heir = p.heir, since = clock_timestamp()
    FROM pairs AS p
    WHERE o.heir = p.wallet_id
)
INSERT INTO heirs (wallet_id, heir)
SELECT p.wallet_id, p.heir
FROM pairs AS p
ORDER BY p.wallet_id
ON CONFLICT DO NOTHING;

-- name: heirs_of
-- Of these wallets those that were merged, with the one that goes on.
SELECT h.wallet_id, h.heir
FROM heirs AS h
WHERE h.wallet_id = ANY(:wallet_ids::uuid[]);
