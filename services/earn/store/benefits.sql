-- Stamp cards, and the rewards that the bank is asked to issue. Cards are locked in the order of their keys, then effects in
-- that of their ids, then caps and budgets.

-- name: lock_cards!
-- These cards, made where they are missing, and locked either way.
INSERT INTO stamp_cards (wallet_id, card)
SELECT c.wallet_id, c.card
FROM unnest(:wallet_ids::uuid[], :cards::text[]) AS c (wallet_id, card)
ORDER BY c.wallet_id, c.card COLLATE "C"
ON CONFLICT (wallet_id, card) DO UPDATE SET progress = stamp_cards.progress WHERE false;

-- name: cards
-- The stamps on these cards, together with those on the same cards of the wallets that were merged into theirs.
SELECT c.wallet_id, c.card, sum(k.progress)::bigint AS progress
FROM unnest(:wallet_ids::uuid[], :cards::text[]) AS c (wallet_id, card)
JOIN stamp_cards AS k
    ON k.wallet_id = ANY(c.wallet_id || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = c.wallet_id)) AND k.card = c.card
GROUP BY c.wallet_id, c.card;

-- name: move_cards!
-- So many stamps more (below zero: less) are on these cards, which are locked.
UPDATE stamp_cards AS k
SET progress = k.progress + c.more
FROM unnest(:wallet_ids::uuid[], :cards::text[], :more::bigint[]) AS c (wallet_id, card, more)
WHERE k.wallet_id = c.wallet_id AND k.card = c.card;

-- name: stamps_of_bills
-- The stamps that these bills gave.
SELECT bill_id, wallet_id, card, stamps, taken_back
FROM stamps
WHERE bill_id = ANY(:bill_ids::uuid[]);

-- name: take_stamps!
-- So many of these bills' stamps were taken back in all by now.
UPDATE stamps AS s
SET taken_back = t.taken_back
FROM unnest(:bill_ids::uuid[], :wallet_ids::uuid[], :cards::text[], :taken_backs::int[])
    AS t (bill_id, wallet_id, card, taken_back)
WHERE s.bill_id = t.bill_id AND s.wallet_id = t.wallet_id AND s.card = t.card;

-- name: answered_effects
-- The effects that these answers are about: to the asking, or to the asking back.
SELECT effect_id, kind, code, wallet_id
FROM effects
WHERE effect_id = ANY(:ids::uuid[]) OR withdrawal_id = ANY(:ids::uuid[]);

-- name: lock_effects
-- These effects as they stand, locked; those of a card are under its lock already.
SELECT
    effect_id, kind, code, bill_id, wallet_id, member_id, programme, reward, stamps, effective_at, status, benefit_id,
    answer_code, withdrawal_id, sequence, request_id, traceparent
FROM effects
WHERE effect_id = ANY(:effect_ids::uuid[])
ORDER BY effect_id
FOR NO KEY UPDATE;

-- name: standing_of_cards
-- The rewards of these cards that a member has, or is to have, as itself or as one that was merged into it.
SELECT e.effect_id
FROM unnest(:wallet_ids::uuid[], :cards::text[]) AS c (wallet_id, card)
JOIN effects AS e
    ON e.wallet_id = ANY(c.wallet_id || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = c.wallet_id)) AND e.code = c.card
WHERE e.kind = 'stamp_card' AND e.status IN ('asked', 'issued');

-- name: standing_of_bills
-- The rewards of campaigns that these bills gave these wallets, and that a member has, or is to have.
SELECT e.effect_id
FROM unnest(:bill_ids::uuid[], :wallet_ids::uuid[]) AS b (bill_id, wallet_id)
JOIN effects AS e ON e.bill_id = b.bill_id AND e.wallet_id = b.wallet_id
WHERE e.kind = 'campaign' AND e.status IN ('asked', 'issued');

-- name: decisions_about
-- The last decision about each of these bills that were recorded between these times, which find their partitions.
SELECT b.bill_id, d.decision
FROM unnest(:bill_ids::uuid[], :sinces::timestamptz[], :untils::timestamptz[]) AS wanted (bill_id, since, until)
JOIN bills AS b ON b.bill_id = wanted.bill_id AND b.recorded_at >= wanted.since AND b.recorded_at < wanted.until
JOIN LATERAL (
    SELECT x.decision
    FROM decisions AS x
    WHERE x.bill_id = b.bill_id AND x.recorded_at >= b.recorded_at - interval '1 hour'
    ORDER BY x.n DESC
    LIMIT 1
) AS d ON true;

-- name: move_effects!
-- Where these effects, which are locked, stand now.
UPDATE effects AS e
SET
    status = m.status, benefit_id = m.benefit_id, answer_code = m.answer_code, withdrawal_id = m.withdrawal_id,
    asked_at = CASE WHEN m.sequence > e.sequence THEN clock_timestamp() ELSE e.asked_at END, sequence = m.sequence
FROM unnest(
    :effect_ids::uuid[], :statuses::text[], :benefit_ids::uuid[], :answer_codes::text[], :withdrawal_ids::uuid[],
    :sequences::int[]
) AS m (effect_id, status, benefit_id, answer_code, withdrawal_id, sequence)
WHERE e.effect_id = m.effect_id;

-- name: unanswered_effects
-- Those that were asked for before that time, and not answered.
SELECT effect_id
FROM effects
WHERE status IN ('asked', 'withdrawing') AND asked_at < :asked_before
ORDER BY asked_at
LIMIT 200;

-- name: wallets_of_member
-- The wallets of a member and of who that one goes on as, through every merge, heirs in place of those that were merged; each once.
WITH RECURSIVE goes_on AS (
    SELECT :member_id::uuid AS member_id
    UNION
    SELECT m.merged_into
    FROM goes_on AS g
    JOIN merged_members AS m ON m.member_id = g.member_id
)
SELECT coalesce(h.heir, w.wallet_id) AS wallet_id, w.programme
FROM goes_on AS g
JOIN wallets AS w ON w.member_id = g.member_id
LEFT JOIN heirs AS h ON h.wallet_id = w.wallet_id
GROUP BY coalesce(h.heir, w.wallet_id), w.programme
ORDER BY w.programme, wallet_id;

-- name: wallet_programme^
-- The programme of a wallet, or of its heir where it was merged.
SELECT coalesce(h.heir, w.wallet_id) AS wallet_id, w.programme
FROM wallets AS w
LEFT JOIN heirs AS h ON h.wallet_id = w.wallet_id
WHERE w.wallet_id = :wallet_id;

-- name: cards_of_wallets
-- Every stamp card of these wallets that was ever stamped, theirs or that of one that was merged into them.
SELECT w.wallet_id, k.card, sum(k.progress)::bigint AS progress
FROM unnest(:wallet_ids::uuid[]) AS w (wallet_id)
JOIN stamp_cards AS k
    ON k.wallet_id = ANY(w.wallet_id || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = w.wallet_id))
GROUP BY w.wallet_id, k.card
ORDER BY w.wallet_id, k.card;

-- name: rewards_of_wallets
-- What full cards of these wallets, and of those that were merged into them, were given, the latest first.
SELECT wallet_id, code, effect_id, reward, status, benefit_id, answer_code, effective_at
FROM effects
WHERE
    wallet_id = ANY(:wallet_ids::uuid[] || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = ANY(:wallet_ids::uuid[])))
    AND kind = 'stamp_card'
ORDER BY effect_id DESC
LIMIT 200;
