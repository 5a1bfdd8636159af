-- What redeem asks of its tables to merge wallets. The search path is its schema.

-- name: merged_members
-- Of these members those that were merged, and into whom; through every merge that is known here.
WITH RECURSIVE ends AS (
    SELECT
        a.member_id,
        a.member_id AS goes_on
    FROM unnest(:member_ids::uuid[]) AS a (member_id)
    UNION ALL
    SELECT
        e.member_id,
        m.merged_into
    FROM ends AS e
    JOIN merged_members AS m ON e.goes_on = m.member_id
)

SELECT
    e.member_id,
    e.goes_on
FROM ends AS e
WHERE NOT EXISTS (SELECT FROM merged_members AS m WHERE m.member_id = e.goes_on);

-- name: add_merged_member!
-- Who goes on as whom; once for ever.
INSERT INTO merged_members (member_id, merged_into)
VALUES (:member_id, :merged_into)
ON CONFLICT DO NOTHING;

-- name: bear_wallets!
-- Wallets that were never named here, of the member who goes on.
INSERT INTO wallets (wallet_id, programme, member_id)
SELECT
    w.wallet_id,
    w.programme,
    w.member_id
FROM unnest(:wallet_ids::uuid[], :programmes::text[], :member_ids::uuid[]) AS w (wallet_id, programme, member_id)
ORDER BY w.wallet_id
ON CONFLICT DO NOTHING;

-- name: find_in_wallets!
-- In which wallets a member is found who others were merged into, and all of those, whenever they were: in the ones that were told of
-- now, or in their heirs, and in those that were known before.
WITH RECURSIVE family AS (
    SELECT :member_id::uuid AS member_id
    UNION
    SELECT m.member_id
    FROM family AS f
    JOIN merged_members AS m ON f.member_id = m.merged_into
),

told AS (
    SELECT
        w.programme,
        coalesce(h.heir, w.wallet_id) AS wallet_id
    FROM unnest(:programmes::text[], :wallet_ids::uuid[]) AS w (programme, wallet_id)
    LEFT JOIN heirs AS h ON w.wallet_id = h.wallet_id
),

own AS (
    SELECT
        t.programme,
        t.wallet_id
    FROM told AS t
    UNION ALL
    SELECT
        k.programme,
        k.wallet_id
    FROM member_wallets AS k
    WHERE k.member_id = :member_id AND NOT EXISTS (SELECT FROM told AS t WHERE t.programme = k.programme)
)

INSERT INTO member_wallets (member_id, programme, wallet_id)
SELECT
    f.member_id,
    o.programme,
    o.wallet_id
FROM family AS f
CROSS JOIN own AS o
ORDER BY f.member_id, o.programme
ON CONFLICT (member_id, programme) DO UPDATE SET wallet_id = excluded.wallet_id
WHERE member_wallets.wallet_id <> excluded.wallet_id;

-- name: lead_wallets!
-- Who was found in a wallet that is merged is found in its heir: all who were merged into its member before.
UPDATE member_wallets AS w
SET wallet_id = :heir
WHERE w.programme = :programme AND w.wallet_id = :wallet_id;

-- name: lead_identities!
-- Identities name the member who goes on; those of blocked cards go on naming nobody.
INSERT INTO identities (kind, hash, member_id)
SELECT
    i.kind,
    i.hash,
    :member_id
FROM unnest(:kinds::text[], :hashes::bytea[]) AS i (kind, hash)
ORDER BY i.hash, i.kind
ON CONFLICT (hash, kind) DO UPDATE SET member_id = excluded.member_id
WHERE identities.member_id IS NOT NULL;

-- name: end_wallet!
-- A locked wallet is merged, and so are all that were merged into it: its lots, open and closed, and what is still to come for any
-- of them are the heir's. Lots are found by the lines that name them: closed ones stand in no index by wallet.
WITH family AS MATERIALIZED (
    SELECT :wallet_id::uuid AS wallet_id
    UNION ALL
    SELECT h.wallet_id
    FROM heirs AS h
    WHERE h.heir = :wallet_id
),

ended AS (
    UPDATE wallets SET status = 'merged', merged_into = :heir
    WHERE wallet_id = :wallet_id
),

led AS (
    UPDATE heirs SET heir = :heir
    WHERE heir = :wallet_id
),

lines AS MATERIALIZED (
    SELECT DISTINCT e.lot_id
    FROM family AS f
    JOIN ledger AS e ON f.wallet_id = e.wallet_id
    WHERE e.lot_id IS NOT NULL
),

moved AS (
    UPDATE lots AS l
    SET wallet_id = :heir
    FROM lines AS e
    WHERE l.lot_id = e.lot_id AND l.wallet_id = :wallet_id
)

INSERT INTO heirs (wallet_id, heir)
VALUES (:wallet_id, :heir);

-- name: heirs_of
-- Of these wallets those that were merged, with the one that has their points now.
SELECT
    wallet_id,
    heir
FROM heirs
WHERE wallet_id = ANY(:wallet_ids::uuid[]);
