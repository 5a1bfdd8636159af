-- Rewards and benefits.

-- name: rewards
-- Every reward, with its versions and how many benefits there are of it.
SELECT
    r.programme, r.reward, r.version, r.supplied, r.issued,
    ARRAY(SELECT v.version FROM redeem.reward_versions AS v WHERE v.programme = r.programme AND v.reward = r.reward ORDER BY v.version)
        AS versions,
    (SELECT count(*) FROM redeem.benefits AS b WHERE b.programme = r.programme AND b.reward = r.reward) AS benefits
FROM redeem.rewards AS r
ORDER BY r.programme, r.reward;

-- name: benefits
-- Every benefit with its redemption and the version of its reward; `place`: which one it is of its wallet's of that version.
SELECT
    uuid_send(b.benefit_id) AS benefit_id, uuid_send(b.redemption_id) AS redemption_id, uuid_send(b.wallet_id) AS wallet_id,
    b.programme, b.reward, b.version, b.tier, b.points, b.unit_cost_minor, b.issued_at, b.expires_at, b.consumed_at, b.merchant,
    b.bill_ref, r.redemption_id IS NOT NULL AS redeemed, uuid_send(r.wallet_id) AS redemption_wallet,
    r.programme AS redemption_programme, r.points AS redemption_points, r.effective_at AS redemption_at, r.programme_version,
    v.document::text AS document,
    row_number() OVER (PARTITION BY b.wallet_id, b.programme, b.reward, b.version ORDER BY b.issued_at, b.benefit_id) AS place
FROM redeem.benefits AS b
LEFT JOIN redeem.redemptions AS r ON r.redemption_id = b.redemption_id
LEFT JOIN redeem.reward_versions AS v ON v.programme = b.programme AND v.reward = b.reward AND v.version = b.version;
