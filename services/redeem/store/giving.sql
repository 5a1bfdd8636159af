-- Benefits that nobody bought, and those that are taken back unused. The search path is redeem's schema.

-- name: begin_asks!
-- A row for each request that issues, named by itself or by its withdrawal: both have one to lock.
INSERT INTO benefit_asks (effect_id)
SELECT t.effect_id
FROM unnest(:effect_ids::uuid[]) AS t (effect_id)
ORDER BY t.effect_id
ON CONFLICT DO NOTHING;

-- name: lock_asks
-- What became of these requests, locked in their order. `outcome` null: it did not come yet.
SELECT
    a.effect_id,
    a.wallet_id,
    a.member_id,
    a.programme,
    a.reward,
    a.source_kind,
    a.source_code,
    a.bill_id,
    a.effective_at,
    a.outcome,
    a.benefit_id,
    a.code,
    a.withdrawn_first
FROM benefit_asks AS a
WHERE a.effect_id = ANY(:effect_ids::uuid[])
ORDER BY a.effect_id
FOR NO KEY UPDATE;

-- name: known_withdrawals
-- Withdrawals that were asked before, and of what.
SELECT
    w.effect_id,
    w.issued_by
FROM benefit_withdrawals AS w
WHERE w.effect_id = ANY(:effect_ids::uuid[]);

-- name: answer_asks!
-- What requests came to, or that their withdrawal came first. Their rows are locked.
UPDATE benefit_asks AS a
SET
    wallet_id = t.wallet_id,
    member_id = t.member_id,
    programme = t.programme,
    reward = t.reward,
    source_kind = t.source_kind,
    source_code = t.source_code,
    bill_id = t.bill_id,
    effective_at = t.effective_at,
    outcome = t.outcome,
    benefit_id = t.benefit_id,
    code = t.code,
    withdrawn_first = t.withdrawn_first
FROM unnest(
    :effect_ids::uuid[], :wallet_ids::uuid[], :member_ids::uuid[], :programmes::text[], :rewards::text[],
    :source_kinds::text[], :source_codes::text[], :bill_ids::uuid[], :effective_ats::timestamptz[], :outcomes::text[],
    :benefit_ids::uuid[], :codes::text[], :withdrawn_firsts::boolean[]
) AS t (
    effect_id, wallet_id, member_id, programme, reward, source_kind, source_code, bill_id, effective_at, outcome,
    benefit_id, code, withdrawn_first
)
WHERE a.effect_id = t.effect_id;

-- name: keep_withdrawals!
-- Withdrawals, and what they came to.
INSERT INTO benefit_withdrawals (effect_id, issued_by, outcome, benefit_id)
SELECT
    t.effect_id,
    t.issued_by,
    t.outcome,
    t.benefit_id
FROM unnest(:effect_ids::uuid[], :issued_bys::uuid[], :outcomes::text[], :benefit_ids::uuid[])
    AS t (effect_id, issued_by, outcome, benefit_id)
ORDER BY t.effect_id;

-- name: lock_benefits_by_id
-- Benefits as they stand, locked in the order of their ids. After the stock, where that is locked too.
SELECT
    b.benefit_id,
    b.expires_at,
    b.consumed_at,
    b.withdrawn_at,
    b.lapsed_at
FROM benefits AS b
WHERE b.benefit_id = ANY(:benefit_ids::uuid[])
ORDER BY b.benefit_id
FOR NO KEY UPDATE;

-- name: withdraw!
-- Benefits that are taken back; they are locked.
UPDATE benefits AS b
SET withdrawn_at = :now::timestamptz, restocked = t.restocked, event_sequence = b.event_sequence + 1
FROM unnest(:benefit_ids::uuid[], :restockeds::boolean[]) AS t (benefit_id, restocked)
WHERE b.benefit_id = t.benefit_id;

-- name: restock!
-- What of rewards is on stock again; they are locked.
UPDATE rewards AS r
SET issued = r.issued - t.back
FROM unnest(:programmes::text[], :rewards::text[], :backs::bigint[]) AS t (programme, reward, back)
WHERE r.programme = t.programme AND r.reward = t.reward;

-- name: next_lapsing
-- Benefits that expired unused, the longest ago first.
SELECT b.benefit_id
FROM benefits AS b
WHERE b.consumed_at IS NULL AND b.withdrawn_at IS NULL AND b.lapsed_at IS NULL AND b.expires_at <= :now::timestamptz
ORDER BY b.expires_at, b.benefit_id
LIMIT :most::int;

-- name: lapsing_page
-- Benefits that expired unused and are not written off yet, and what each would have cost, the longest ago first, from after a place.
SELECT
    b.benefit_id,
    b.programme,
    b.reward,
    b.expires_at,
    b.unit_cost_minor
FROM benefits AS b
WHERE
    b.consumed_at IS NULL AND b.withdrawn_at IS NULL AND b.lapsed_at IS NULL AND b.expires_at <= :now::timestamptz
    AND (b.expires_at, b.benefit_id) > (:after_at::timestamptz, :after_id::uuid)
ORDER BY b.expires_at, b.benefit_id
LIMIT :most::int;

-- name: lapse
-- Of these locked benefits those that expired unused and were not written off: written off now.
UPDATE benefits AS b
SET lapsed_at = :now::timestamptz, event_sequence = b.event_sequence + 1
WHERE
    b.benefit_id = ANY(:benefit_ids::uuid[])
    AND b.consumed_at IS NULL AND b.withdrawn_at IS NULL AND b.lapsed_at IS NULL AND b.expires_at <= :now::timestamptz
RETURNING b.benefit_id;

-- name: liability
-- What became of the benefits of each reward, and what the open ones would cost.
SELECT
    b.programme,
    b.reward,
    (
        SELECT p.document #>> '{programme,currency}'
        FROM programmes AS p
        WHERE p.programme = b.programme
        ORDER BY p.version DESC
        LIMIT 1
    ) AS currency,
    count(*) AS issued,
    count(b.consumed_at) AS consumed,
    coalesce(sum(b.unit_cost_minor) FILTER (WHERE b.consumed_at IS NOT NULL), 0)::bigint AS consumed_minor,
    count(b.withdrawn_at) AS withdrawn,
    count(b.lapsed_at) AS written_off,
    count(*) FILTER (WHERE num_nonnulls(b.consumed_at, b.withdrawn_at, b.lapsed_at) = 0) AS open,
    coalesce(
        sum(b.unit_cost_minor) FILTER (WHERE num_nonnulls(b.consumed_at, b.withdrawn_at, b.lapsed_at) = 0), 0
    )::bigint AS open_minor,
    count(*) FILTER (
        WHERE num_nonnulls(b.consumed_at, b.withdrawn_at, b.lapsed_at) = 0 AND b.expires_at <= :now::timestamptz
    ) AS expired
FROM benefits AS b
WHERE :programme::text IS NULL OR b.programme = :programme
GROUP BY b.programme, b.reward
ORDER BY b.programme, b.reward;

-- name: benefit_ids_of_wallet
-- The benefits of a wallet and of all that were merged into it, the newest first, from before one of them; with a merchant without
-- those that were used elsewhere.
SELECT b.benefit_id
FROM benefits AS b
WHERE
    b.wallet_id = ANY(:wallet_id::uuid || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = :wallet_id))
    AND (b.issued_at, b.benefit_id) < (:before_at::timestamptz, :before_id::uuid)
    AND (:merchant::text IS NULL OR b.merchant IS NULL OR b.merchant = :merchant)
ORDER BY b.issued_at DESC, b.benefit_id DESC
LIMIT :most::int;
