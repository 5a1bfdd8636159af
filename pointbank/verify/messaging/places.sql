-- How many events there should be about each subject, where its row counts them.

-- name: members
-- Members, merchants and programmes.
SELECT m.member_id::text AS subject, m.event_sequence AS last FROM members.members AS m
UNION ALL
SELECT 'merchant/' || t.merchant, t.version FROM members.merchants AS t
UNION ALL
SELECT 'programme/' || p.code, p.event_sequence FROM members.programmes AS p WHERE p.event_sequence > 0;

-- name: earn
-- What was rejected, and days; bills count with their decisions.
SELECT r.subject, r.sequence AS last FROM earn.rejection_counts AS r WHERE r.sequence > 0
UNION ALL
SELECT t.day::text, max(t.sequence) FROM earn.told_days AS t GROUP BY t.day;

-- name: redeem
-- Wallets, the ledger as a whole, benefits, what was asked about them, gift cards, and bills that no redemption paid for.
SELECT w.wallet_id::text AS subject, w.event_sequence AS last FROM redeem.wallets AS w WHERE w.event_sequence > 0
UNION ALL
SELECT 'ledger', count(*) FROM redeem.seals HAVING count(*) > 0
UNION ALL
SELECT b.benefit_id::text, b.event_sequence FROM redeem.benefits AS b
UNION ALL
SELECT a.effect_id::text, 1 FROM redeem.benefit_asks AS a WHERE a.outcome IS NOT NULL
UNION ALL
SELECT w.effect_id::text, 1 FROM redeem.benefit_withdrawals AS w
UNION ALL
SELECT g.card_id::text, g.event_sequence FROM redeem.gift_cards AS g
UNION ALL
SELECT b.bill_id::text, b.event_sequence FROM redeem.bill_events AS b;

-- name: tiers
-- Standings.
SELECT s.wallet_id::text AS subject, s.sequence AS last FROM tiers.standings AS s WHERE s.sequence > 0;

-- name: notifier
-- A message is told once.
SELECT m.message_id::text AS subject, 1 AS last
FROM notifier.messages AS m
LEFT JOIN notifier.dispatches AS s ON s.dispatch_id = m.dispatch_id
LEFT JOIN notifier.deliveries AS d ON d.message_id = m.message_id
WHERE d.state = 'delivered' OR (d.message_id IS NULL AND s.settled_at IS NOT NULL);
