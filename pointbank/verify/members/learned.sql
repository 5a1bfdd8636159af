-- What others learned of members and tiers.

-- name: merchants
-- Every merchant as each hearer keeps it, with the terminals that it lists; the bank knows neither brands nor cashiers.
SELECT
    'earn' AS hearer, m.merchant, m.version, m.brand, m.cashiers::text AS cashiers,
    ARRAY(SELECT t.terminal FROM earn.terminals AS t WHERE t.merchant = m.merchant AND t.listed) AS terminals
FROM earn.merchants AS m
UNION ALL
SELECT 'redeem', r.merchant, r.version, NULL, NULL, r.terminals FROM redeem.merchants AS r;

-- name: identities
-- Whom each identity names, where it was given and at each hearer. Blocked cards name nobody at the bank; that a member is found by its
-- own id earn makes up itself.
SELECT 'members' AS hearer, m.kind, encode(m.hash, 'hex') AS hash, m.member_id::text AS member_id FROM members.identities AS m
UNION ALL
SELECT 'earn', e.kind, encode(e.identity, 'hex'), e.member_id::text FROM earn.identities AS e WHERE e.kind <> 'member_id'
UNION ALL
SELECT 'redeem', r.kind, encode(r.hash, 'hex'), r.member_id::text FROM redeem.identities AS r WHERE r.member_id IS NOT NULL;

-- name: consents
-- Whom messages are sent to, and how, as the notifier keeps it.
SELECT m.member_id::text AS member_id, m.locale, m.consented, m.enrolled_at FROM notifier.members AS m;

-- name: names
-- What programmes are called, as the notifier keeps it.
SELECT p.programme, p.version, p.names::text AS names FROM notifier.programmes AS p;

-- name: standings
-- Standings by which earn and the bank judge that are not the last of their history.
WITH latest AS (
    SELECT DISTINCT ON (h.wallet_id) h.wallet_id, h.sequence, h.to_tier, h.effective_at, h.until
    FROM tiers.history AS h
    ORDER BY h.wallet_id, h.sequence DESC
)

SELECT 'redeem' AS hearer, coalesce(s.wallet_id, l.wallet_id)::text AS wallet_id, s.tier, s.until, l.to_tier, l.until AS told_until
FROM redeem.standings AS s
FULL JOIN latest AS l ON l.wallet_id = s.wallet_id
WHERE (s.sequence, s.tier, s.until) IS DISTINCT FROM (l.sequence, l.to_tier, l.until)
UNION ALL
SELECT 'earn', coalesce(w.wallet_id, l.wallet_id)::text, w.tier, w.tier_until, l.to_tier, l.until
FROM (SELECT e.* FROM earn.wallets AS e WHERE e.tier IS NOT NULL OR e.tier_until IS NOT NULL) AS w
FULL JOIN latest AS l ON l.wallet_id = w.wallet_id
LEFT JOIN earn.tier_history AS t ON t.wallet_id = w.wallet_id AND t.sequence = w.tier_sequence
WHERE (w.tier_sequence, w.tier, w.tier_effective_at, w.tier_until, w.tier_event_id)
    IS DISTINCT FROM (l.sequence, l.to_tier, l.effective_at, l.until, t.event_id);

-- name: standing
-- How many wallets have a standing.
SELECT count(*) FROM tiers.standings AS s WHERE s.sequence > 0;
