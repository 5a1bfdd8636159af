-- Who was merged is found in every wallet of who they go on as, whenever that joined a programme: those who were merged into
-- somebody are looked for with each wallet that is told of.

CREATE INDEX merged_members_into ON merged_members (merged_into);

WITH RECURSIVE goes_on AS (
    SELECT
        m.member_id,
        m.merged_into
    FROM merged_members AS m
    UNION
    SELECT
        g.member_id,
        m.merged_into
    FROM goes_on AS g
    JOIN merged_members AS m ON g.merged_into = m.member_id
)

INSERT INTO member_wallets (member_id, programme, wallet_id)
SELECT
    g.member_id,
    w.programme,
    w.wallet_id
FROM goes_on AS g
JOIN member_wallets AS w ON g.merged_into = w.member_id
WHERE NOT EXISTS (SELECT FROM merged_members AS m WHERE m.member_id = g.merged_into)
ORDER BY g.member_id, w.programme
ON CONFLICT DO NOTHING;
