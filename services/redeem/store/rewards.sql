-- Rewards and benefits. The search path is redeem's schema.

-- name: begin_rewards!
-- Rewards that are put for the first time; without a version yet.
INSERT INTO rewards (programme, reward, version)
SELECT
    t.programme,
    t.reward,
    0
FROM unnest(:programmes::text[], :rewards::text[]) AS t (programme, reward)
ORDER BY t.programme, t.reward
ON CONFLICT DO NOTHING;

-- name: lock_rewards
-- Rewards as they are, with the document of their version, locked in the order of their names.
SELECT
    r.programme,
    r.reward,
    r.version,
    v.document,
    r.supplied,
    r.issued,
    r.held
FROM (
    SELECT *
    FROM rewards
    WHERE (programme, reward) IN (SELECT * FROM unnest(:programmes::text[], :rewards::text[]))
    ORDER BY programme, reward
    FOR NO KEY UPDATE
) AS r
LEFT JOIN reward_versions AS v ON r.programme = v.programme AND r.reward = v.reward AND r.version = v.version;

-- name: rewards_named
-- Rewards as they are, unlocked.
SELECT
    r.programme,
    r.reward,
    r.version,
    v.document,
    r.supplied,
    r.issued,
    r.held
FROM unnest(:programmes::text[], :rewards::text[]) AS t (programme, reward)
JOIN rewards AS r ON t.programme = r.programme AND t.reward = r.reward
JOIN reward_versions AS v ON r.programme = v.programme AND r.reward = v.reward AND r.version = v.version;

-- name: rewards_page
-- The rewards of a programme by name, after this one.
SELECT
    r.programme,
    r.reward,
    r.version,
    v.document,
    r.supplied,
    r.issued,
    r.held
FROM rewards AS r
JOIN reward_versions AS v ON r.programme = v.programme AND r.reward = v.reward AND r.version = v.version
WHERE r.programme = :programme AND r.reward > :after
ORDER BY r.reward
LIMIT :most;

-- name: keep_version!
-- A reward's next version.
INSERT INTO reward_versions (programme, reward, version, document, recorded_at)
VALUES (:programme, :reward, :version, :document::text::json, :now);

-- name: set_reward!
-- Which version counts, and how many were ever supplied.
UPDATE rewards
SET version = :version, supplied = :supplied
WHERE programme = :programme AND reward = :reward;

-- name: had
-- How many of a reward each wallet, with all that were merged into it, bought since a moment and kept, or has set aside; by when it was
-- sold, however much later it was captured. What it was given counts for no limit. A benefit is issued no sooner than it was sold: by
-- clocks of processes that differ by less than a day, which costs the benefits of a day more to look at.
WITH family AS (
    SELECT
        t.k,
        t.programme,
        t.reward,
        t.since,
        f.wallet_id
    FROM unnest(:wallet_ids::uuid[], :programmes::text[], :rewards::text[], :sinces::timestamptz[])
        WITH ORDINALITY AS t (wallet_id, programme, reward, since, k)
    CROSS JOIN LATERAL (
        SELECT t.wallet_id
        UNION ALL
        SELECT h.wallet_id
        FROM heirs AS h
        WHERE h.heir = t.wallet_id
    ) AS f
)

SELECT
    f.k,
    sum(
        (
            SELECT count(*)
            FROM benefits AS b
            JOIN redemptions AS r ON b.redemption_id = r.redemption_id AND r.effective_at >= f.since
            WHERE
                b.wallet_id = f.wallet_id AND b.issued_at >= f.since - interval '1 day' AND b.programme = f.programme
                AND b.reward = f.reward AND b.withdrawn_at IS NULL
        ) + (
            SELECT count(*)
            FROM redemptions AS r
            JOIN reward_holds AS h ON r.redemption_id = h.redemption_id AND h.state = 'held'
            WHERE
                r.wallet_id = f.wallet_id AND r.effective_at >= f.since AND h.programme = f.programme
                AND h.reward = f.reward
        )
    )::bigint AS had
FROM family AS f
GROUP BY f.k;

-- name: issue!
-- Benefits, and what they take of the stock.
WITH taken AS (
    UPDATE rewards AS r
    SET issued = r.issued + t.taken
    FROM unnest(:programmes::text[], :rewards::text[], :taken::bigint[]) AS t (programme, reward, taken)
    WHERE r.programme = t.programme AND r.reward = t.reward
)

INSERT INTO benefits (
    benefit_id, redemption_id, wallet_id, member_id, programme, reward, version, tier, points, unit_cost_minor, code_hash,
    issued_at, expires_at, origin, asked_by, programme_version
)
SELECT
    b.benefit_id,
    b.redemption_id,
    b.wallet_id,
    b.member_id,
    b.programme,
    b.reward,
    b.version,
    b.tier,
    b.points,
    b.unit_cost_minor,
    b.code_hash,
    b.issued_at,
    b.expires_at,
    b.origin,
    b.asked_by,
    b.programme_version
FROM unnest(
    :benefit_ids::uuid[], :redemption_ids::uuid[], :benefit_wallets::uuid[], :benefit_members::uuid[],
    :benefit_programmes::text[], :benefit_rewards::text[], :benefit_versions::integer[], :benefit_tiers::text[],
    :benefit_points::bigint[], :benefit_costs::bigint[], :code_hashes::bytea[], :issued_ats::timestamptz[],
    :expires_ats::timestamptz[], :origins::text[], :asked_bys::uuid[], :benefit_programme_versions::integer[]
) AS b (
    benefit_id, redemption_id, wallet_id, member_id, programme, reward, version, tier, points, unit_cost_minor,
    code_hash, issued_at, expires_at, origin, asked_by, programme_version
);

-- name: benefits_by_id
-- Benefits with what their rewards were when they were issued, and their programmes' currencies.
SELECT
    b.benefit_id,
    b.redemption_id,
    b.wallet_id,
    b.member_id,
    b.programme,
    b.reward,
    b.version,
    b.unit_cost_minor,
    b.issued_at,
    b.expires_at,
    b.consumed_at,
    b.merchant,
    b.terminal,
    b.cashier,
    b.bill_ref,
    b.event_sequence,
    b.origin,
    b.withdrawn_at,
    b.restocked,
    b.lapsed_at,
    v.document,
    (
        SELECT p.document #>> '{programme,currency}'
        FROM programmes AS p
        WHERE p.programme = b.programme
        ORDER BY p.version DESC
        LIMIT 1
    ) AS currency
FROM benefits AS b
JOIN reward_versions AS v ON b.programme = v.programme AND b.reward = v.reward AND b.version = v.version
WHERE b.benefit_id = ANY(:benefit_ids::uuid[]);

-- name: benefit_id_of$
-- The benefit that a code names: none that is a gift card.
SELECT b.benefit_id
FROM benefits AS b
WHERE b.code_hash = :code_hash
    AND NOT EXISTS (SELECT FROM gift_cards AS c WHERE c.benefit_id = b.benefit_id);

-- name: owner_status$
-- The status of the wallet that a benefit is of, or of that wallet's heir.
SELECT
    (
        SELECT w.status
        FROM wallets AS w
        WHERE w.wallet_id = coalesce((SELECT h.heir FROM heirs AS h WHERE h.wallet_id = b.wallet_id), b.wallet_id)
    ) AS wallet_status
FROM benefits AS b
WHERE b.benefit_id = :benefit_id;

-- name: lock_benefits
-- Benefits by their codes, locked in the order of their ids; each with the status of its wallet, or of that wallet's heir, which is
-- not locked: a use that a block overtakes came before it. One that is a gift card has no code.
SELECT
    b.benefit_id,
    b.code_hash,
    b.expires_at,
    b.consumed_at,
    b.withdrawn_at,
    b.lapsed_at,
    b.merchant,
    (
        SELECT w.status
        FROM wallets AS w
        WHERE w.wallet_id = coalesce((SELECT h.heir FROM heirs AS h WHERE h.wallet_id = b.wallet_id), b.wallet_id)
    ) AS wallet_status
FROM benefits AS b
WHERE b.code_hash = ANY(:code_hashes::bytea[])
    AND NOT EXISTS (SELECT FROM gift_cards AS c WHERE c.benefit_id = b.benefit_id)
ORDER BY b.benefit_id
FOR NO KEY UPDATE;

-- name: consume!
-- Benefits that are used.
UPDATE benefits AS b
SET
    consumed_at = :now::timestamptz,
    merchant = t.merchant,
    terminal = t.terminal,
    cashier = t.cashier,
    bill_ref = t.bill_ref,
    event_sequence = b.event_sequence + 1
FROM unnest(:benefit_ids::uuid[], :merchants::text[], :terminals::text[], :cashiers::text[], :bill_refs::text[])
    AS t (benefit_id, merchant, terminal, cashier, bill_ref)
WHERE b.benefit_id = t.benefit_id AND b.consumed_at IS NULL;

-- name: merchants_of
-- Merchants that are known, with their terminals.
SELECT
    m.merchant,
    m.terminals
FROM merchants AS m
WHERE m.merchant = ANY(:merchants::text[]);

-- name: wallet_of_member^
-- The wallet of a member in a programme, found by any identity, with its balance and standing.
SELECT
    w.wallet_id,
    w.available,
    w.status,
    s.tier,
    s.until
FROM member_wallets AS m
JOIN wallets AS w ON m.wallet_id = w.wallet_id
LEFT JOIN standings AS s ON w.wallet_id = s.wallet_id
WHERE
    m.programme = :programme
    AND m.member_id = coalesce(
        :member_id::uuid,
        (SELECT i.member_id FROM identities AS i WHERE i.hash = :identity_hash AND i.kind = :identity_kind)
    );
