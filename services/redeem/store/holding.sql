-- Rewards that authorisations hold. The search path is redeem's schema.

-- name: hold!
-- What authorisations hold of rewards, which are locked; and how much of each that is.
WITH held AS (
    UPDATE rewards AS r
    SET held = r.held + t.more
    FROM unnest(:programmes::text[], :rewards::text[], :mores::bigint[]) AS t (programme, reward, more)
    WHERE r.programme = t.programme AND r.reward = t.reward
)

INSERT INTO reward_holds (redemption_id, programme, reward, version, tier)
SELECT
    h.redemption_id,
    h.programme,
    h.reward,
    h.version,
    h.tier
FROM unnest(
    :hold_redemptions::uuid[], :hold_programmes::text[], :hold_rewards::text[], :hold_versions::integer[],
    :hold_tiers::text[]
) AS h (redemption_id, programme, reward, version, tier);

-- name: holds
-- What these redemptions, whose wallets are locked, hold or held of rewards.
SELECT
    h.redemption_id,
    h.programme,
    h.reward,
    h.version,
    h.tier,
    h.state,
    v.document
FROM reward_holds AS h
JOIN reward_versions AS v ON h.programme = v.programme AND h.reward = v.reward AND h.version = v.version
WHERE h.redemption_id = ANY(:redemption_ids::uuid[]);

-- name: end_holds!
-- What became of holds, and what that leaves held of their rewards, which are locked.
WITH less AS (
    UPDATE rewards AS r
    SET held = r.held - t.less
    FROM unnest(:programmes::text[], :rewards::text[], :lesses::bigint[]) AS t (programme, reward, less)
    WHERE r.programme = t.programme AND r.reward = t.reward
)

UPDATE reward_holds AS h
SET state = t.state
FROM unnest(:redemption_ids::uuid[], :states::text[]) AS t (redemption_id, state)
WHERE h.redemption_id = t.redemption_id;

-- name: bought_benefits
-- The benefits that these redemptions bought, and the gift cards that they are; which they are never changes.
SELECT
    b.redemption_id,
    b.benefit_id,
    b.programme,
    b.reward,
    c.card_id
FROM benefits AS b
LEFT JOIN gift_cards AS c ON b.benefit_id = c.benefit_id
WHERE b.redemption_id = ANY(:redemption_ids::uuid[]);
