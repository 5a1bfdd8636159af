-- Fraud guards: what they count, and the reviews of what they flag. The search path is earn's schema. Lists go in as arrays.

-- name: lock_terminals!
-- The terminals whose bills are counted: who judges another bill of one of them waits.
SELECT t.terminal
FROM unnest(:merchants::text[], :terminals::text[]) AS wanted (merchant, terminal)
JOIN terminals AS t ON t.merchant = wanted.merchant AND t.terminal = wanted.terminal
ORDER BY t.merchant, t.terminal
FOR NO KEY UPDATE OF t;

-- name: seen_of_wallets
-- The bills of wallets, and of those that were merged into them, that guards count, from and to those moments.
SELECT s.bill_id, w.wallet_id, s.programme, s.merchant, s.terminal, s.currency, s.total_minor, s.occurred_at
FROM unnest(:wallet_ids::uuid[], :froms::timestamptz[], :tos::timestamptz[]) AS w (wallet_id, from_at, to_at)
JOIN sightings AS s
    ON s.wallet_id = ANY(w.wallet_id || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = w.wallet_id))
    AND s.occurred_at BETWEEN w.from_at AND w.to_at;

-- name: seen_at_terminals
-- The bills at terminals that guards of a programme count, from and to those moments; of who was merged as the heir's.
SELECT s.bill_id, coalesce(h.heir, s.wallet_id) AS wallet_id, s.programme, s.merchant, s.terminal, s.currency, s.total_minor, s.occurred_at
FROM unnest(
    :programmes::text[], :merchants::text[], :terminals::text[], :froms::timestamptz[], :tos::timestamptz[]
) AS w (programme, merchant, terminal, from_at, to_at)
JOIN sightings AS s
    ON s.programme = w.programme AND s.merchant = w.merchant AND s.terminal = w.terminal
    AND s.occurred_at BETWEEN w.from_at AND w.to_at
LEFT JOIN heirs AS h ON h.wallet_id = s.wallet_id;

-- name: refunds_of_wallets
-- When bills of these wallets, and of those that were merged into them, were refunded, each refund once, since and until those
-- moments: whatever they had earned, and whatever became of the points.
SELECT w.wallet_id, r.refund_id, r.occurred_at
FROM unnest(:wallet_ids::uuid[], :froms::timestamptz[], :tos::timestamptz[]) AS w (wallet_id, from_at, to_at)
JOIN LATERAL (
    SELECT DISTINCT a.bill_id
    FROM accruals AS a
    WHERE a.wallet_id = ANY(w.wallet_id || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = w.wallet_id))
) AS b ON true
JOIN refunds AS r ON r.bill_id = b.bill_id AND r.n IS NOT NULL AND r.occurred_at BETWEEN w.from_at AND w.to_at;

-- name: earliest_waiting$
-- When the earliest of the bills happened that are still to be judged.
SELECT min(b.occurred_at) FROM waiting AS w JOIN bills AS b ON b.bill_id = w.bill_id AND b.recorded_at = w.recorded_at;

-- name: any_sighting$
-- Whether guards have counted anything.
SELECT exists(SELECT FROM sightings);

-- name: note_thinned!
-- Before when nothing is needed any more; who thins at the same time waits.
INSERT INTO thinned_sightings (programme, before)
SELECT t.programme, t.before
FROM unnest(:programmes::text[], :befores::timestamptz[]) AS t (programme, before)
ORDER BY t.programme COLLATE "C"
ON CONFLICT (programme) DO UPDATE SET before = greatest(thinned_sightings.before, excluded.before);

-- name: thin
-- Drops some of what is not needed any more.
DELETE FROM sightings AS s
USING (
    SELECT x.wallet_id, x.bill_id
    FROM sightings AS x
    JOIN unnest(:programmes::text[], :befores::timestamptz[]) AS t (programme, before)
        ON t.programme = x.programme AND x.occurred_at < t.before
    LIMIT :most
) AS old
WHERE s.wallet_id = old.wallet_id AND s.bill_id = old.bill_id
RETURNING s.bill_id;

-- name: cashiers
-- Who these cashiers are as members, as far as their merchants say: of who was merged, who goes on.
WITH RECURSIVE named AS (
    SELECT w.merchant, w.cashier, (m.cashiers ->> w.cashier)::uuid AS member_id
    FROM unnest(:merchants::text[], :cashiers::text[]) AS w (merchant, cashier)
    JOIN merchants AS m ON m.merchant = w.merchant
    WHERE m.cashiers ->> w.cashier IS NOT NULL
    UNION ALL
    SELECT n.merchant, n.cashier, g.merged_into
    FROM named AS n
    JOIN merged_members AS g ON g.member_id = n.member_id
)

SELECT n.merchant, n.cashier, n.member_id
FROM named AS n
WHERE NOT EXISTS (SELECT FROM merged_members AS g WHERE g.member_id = n.member_id);

-- name: reviewed
-- Reviews, as they are now; under the locks of their bills' sagas nobody decides them meanwhile.
SELECT
    review_id, bill_id, merchant, bill_ref, terminal, cashier, occurred_at, total_minor, member_id, wallet_id, programme, accrual_id,
    points, currency, point_value, patterns, flagged_at, state, decided_at, decided_by, reason, request_id, sequence,
    answer_event_id, taken
FROM reviews
WHERE review_id = ANY(:review_ids::uuid[]);

-- name: cancelled_by
-- The reviews that asked the bank under these ids.
SELECT
    review_id, bill_id, merchant, bill_ref, terminal, cashier, occurred_at, total_minor, member_id, wallet_id, programme, accrual_id,
    points, currency, point_value, patterns, flagged_at, state, decided_at, decided_by, reason, request_id, sequence,
    answer_event_id, taken
FROM reviews
WHERE request_id = ANY(:request_ids::uuid[]);

-- name: review_page
-- Reviews in these states, with a pattern and of a merchant where those are asked for, the newest first.
SELECT
    review_id, bill_id, merchant, bill_ref, terminal, cashier, occurred_at, total_minor, member_id, wallet_id, programme, accrual_id,
    points, currency, point_value, patterns, flagged_at, state, decided_at, decided_by, reason, request_id, sequence,
    answer_event_id, taken
FROM reviews
WHERE state = ANY(:states::text[])
    AND (:pattern::text IS NULL OR :pattern = ANY(patterns))
    AND (:merchant::text IS NULL OR merchant = :merchant)
    AND review_id < :before
ORDER BY review_id DESC
LIMIT :most;

-- name: decide_reviews!
-- What was decided about open reviews of locked bills.
UPDATE reviews AS r
SET state = d.state, decided_at = :decided_at, decided_by = d.decided_by, reason = d.reason, request_id = d.request_id, sequence = d.sequence
FROM unnest(
    :review_ids::uuid[], :states::text[], :decided_bys::text[], :reasons::text[], :request_ids::uuid[], :sequences::int[]
) AS d (review_id, state, decided_by, reason, request_id, sequence)
WHERE r.review_id = d.review_id AND r.state = 'open';

-- name: answer_reviews!
-- What the bank took of cancelled reviews, said once.
UPDATE reviews AS r
SET answer_event_id = a.answer_event_id, taken = a.taken
FROM unnest(:review_ids::uuid[], :answer_event_ids::uuid[], :takens::bigint[]) AS a (review_id, answer_event_id, taken)
WHERE r.review_id = a.review_id AND r.answer_event_id IS NULL;

-- name: due_reviews!
-- The plans of released reviews are due.
UPDATE hold_plans
SET next_at = :now
WHERE accrual_id = ANY(:accrual_ids::uuid[]) AND until = 'review' AND released + cancelled < points;
