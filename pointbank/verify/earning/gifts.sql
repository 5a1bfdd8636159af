-- Stamps, and rewards that earn asked of the bank.

-- name: effects
-- Every reward that was asked for.
SELECT
    e.effect_id::text AS effect_id, e.kind, e.code, e.bill_id::text AS bill_id, e.wallet_id::text AS wallet_id,
    e.member_id::text AS member_id, e.programme, e.reward, e.stamps, e.effective_at, e.status, e.benefit_id::text AS benefit_id,
    e.withdrawal_id::text AS withdrawal_id, e.sequence, e.answer_code IS NOT NULL AS refused
FROM earn.effects AS e;

-- name: refused
-- The rewards of campaigns that the bank refused, in the order of their bills.
SELECT e.bill_id::text AS id, e.effect_id::text AS effect_id
FROM earn.effects AS e
WHERE e.kind = 'campaign' AND e.answer_code IS NOT NULL
ORDER BY e.bill_id, e.effect_id;

-- name: stamps
-- The stamps of every bill.
SELECT s.bill_id::text AS bill_id, s.wallet_id::text AS wallet_id, s.card, s.stamps, s.taken_back
FROM earn.stamps AS s;

-- name: cards
-- What is on every card.
SELECT c.wallet_id::text AS wallet_id, c.card, c.progress
FROM earn.stamp_cards AS c;

-- name: heirs
-- Wallets that were merged, each with the one that goes on.
SELECT h.wallet_id::text AS wallet_id, h.heir::text AS heir
FROM earn.heirs AS h;
