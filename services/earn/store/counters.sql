-- Caps and budgets: the last locks of a transaction, caps before budgets, each in the order of their keys.

-- name: lock_caps!
-- These caps, made where they are missing, and locked either way.
INSERT INTO caps (wallet_id, campaign, period, since)
SELECT c.wallet_id, c.campaign, c.period, c.since
FROM unnest(:wallet_ids::uuid[], :campaigns::text[], :periods::text[], :sinces::date[]) AS c (
    wallet_id, campaign, period, since)
ORDER BY c.wallet_id, c.campaign COLLATE "C", c.period COLLATE "C", c.since
ON CONFLICT (wallet_id, campaign, period, since) DO UPDATE SET decided = caps.decided WHERE false;

-- name: lock_budgets!
-- These budgets, made where they are missing, and locked either way.
INSERT INTO budgets (programme, campaign)
SELECT b.programme, b.campaign
FROM unnest(:programmes::text[], :campaigns::text[]) AS b (programme, campaign)
ORDER BY b.programme COLLATE "C", b.campaign COLLATE "C"
ON CONFLICT (programme, campaign) DO UPDATE SET decided = budgets.decided WHERE false;

-- name: spent_of_caps
-- What was given against these caps, less what was given back: to the wallet, and to those that were merged into it.
SELECT c.wallet_id, c.campaign, c.period, c.since, sum(k.decided - k.given_back)::bigint AS spent
FROM unnest(:wallet_ids::uuid[], :campaigns::text[], :periods::text[], :sinces::date[]) AS c (
    wallet_id, campaign, period, since)
CROSS JOIN LATERAL (
    SELECT c.wallet_id
    UNION ALL
    SELECT h.wallet_id FROM heirs AS h WHERE h.heir = c.wallet_id
) AS f (wallet_id)
JOIN caps AS k
    ON k.wallet_id = f.wallet_id AND k.campaign = c.campaign AND k.period = c.period AND k.since = c.since
GROUP BY c.wallet_id, c.campaign, c.period, c.since;

-- name: spent_of_budgets
-- What was given out of these budgets, less what was given back.
SELECT k.programme, k.campaign, k.decided - k.given_back AS spent
FROM unnest(:programmes::text[], :campaigns::text[]) AS b (programme, campaign)
JOIN budgets AS k ON k.programme = b.programme AND k.campaign = b.campaign;

-- name: count_caps!
-- Counts what was decided and what is given back against these caps, which are locked.
UPDATE caps AS k
SET decided = k.decided + c.decided, given_back = k.given_back + c.given_back
FROM unnest(
    :wallet_ids::uuid[], :campaigns::text[], :periods::text[], :sinces::date[], :decided::bigint[], :given_back::bigint[]
) AS c (wallet_id, campaign, period, since, decided, given_back)
WHERE k.wallet_id = c.wallet_id AND k.campaign = c.campaign AND k.period = c.period AND k.since = c.since;

-- name: count_budgets!
-- Counts what was decided and what is given back in these budgets, which are locked.
UPDATE budgets AS k
SET decided = k.decided + b.decided, given_back = k.given_back + b.given_back
FROM unnest(:programmes::text[], :campaigns::text[], :decided::bigint[], :given_back::bigint[]) AS b (
    programme, campaign, decided, given_back)
WHERE k.programme = b.programme AND k.campaign = b.campaign;
