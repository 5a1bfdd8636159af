-- Sealing, and what is proved with seals. All of a seal is read in one snapshot.

-- name: take_turn^
-- Whether nobody else is sealing, for as long as this transaction runs; when it began, and what it sees.
SELECT
    pg_try_advisory_xact_lock(x'7365616c'::bigint) AS mine, transaction_timestamp() AS began,
    pg_current_snapshot()::text AS snapshot,
    set_config('statement_timeout', :patience_ms, true) AS patient,
    -- The moment asked for tells how many lines are newer; a plan for any moment would read the whole key instead.
    set_config('plan_cache_mode', 'force_custom_plan', true) AS plans,
    set_config('enable_indexonlyscan', 'off', true) AS index_only;

-- name: take_lock$
-- Whether nobody else is sealing, for as long as this transaction runs.
SELECT pg_try_advisory_xact_lock(x'7365616c'::bigint);

-- name: last_seal^
-- The newest seal.
SELECT no, sealed_at, hash FROM seals ORDER BY no DESC LIMIT 1;

-- name: next_place^
-- The next seal's number, above those of seals that were lost; and the count of seals with it: no number was left out but theirs.
SELECT place.no, place.no - coalesce(a.skipped, 0) AS sequence
FROM (SELECT max(epoch) AS epoch FROM seal_adoptions) AS newest
LEFT JOIN seal_adoptions AS a ON a.epoch = newest.epoch
CROSS JOIN LATERAL (
    SELECT greatest(coalesce((SELECT max(s.no) FROM seals AS s), 0) + 1, a.next_no) AS no
) AS place;

-- name: sealed_within$
-- Whether the last seal is younger than so many seconds.
SELECT sealed_at > clock_timestamp() - make_interval(secs => :seconds) FROM seals ORDER BY no DESC LIMIT 1;

-- name: covered_until$
-- Every line that was posted before this moment was seen by the last seal. What that one did not see has an id at or above the
-- oldest of its snapshot; a seal with a smaller id took it after it began, and so before all of those took theirs, and they
-- read the clock after that. (A snapshot's own end says nothing: ids above it may be taken already.)
-- NULL where none can tell: then every wallet has to be looked at.
WITH last AS (
    SELECT snapshot FROM seals ORDER BY no DESC LIMIT 1
)
SELECT s.sealed_at
FROM seals AS s
WHERE s.xid < (SELECT pg_snapshot_xmin(last.snapshot) FROM last)
ORDER BY s.no DESC
LIMIT 1;

-- name: cards_sealed$
-- Whether any seal covers a gift card: seals of before did not.
SELECT EXISTS (SELECT FROM seal_leaves WHERE card_id IS NOT NULL);

-- name: wallet_heads_since
-- The heads of wallets that were posted to since a moment and that no seal has, by wallet.
SELECT w.wallet_id, NULL::uuid AS card_id, w.seq, w.head
FROM (SELECT DISTINCT l.wallet_id FROM ledger AS l WHERE l.posted_at >= :since) AS t
JOIN wallets AS w ON w.wallet_id = t.wallet_id
WHERE NOT EXISTS (SELECT FROM seal_leaves AS k WHERE k.wallet_id = w.wallet_id AND k.seq = w.seq)
ORDER BY w.wallet_id;

-- name: wallet_heads
-- The heads of all wallets with lines that no seal has, by wallet.
SELECT w.wallet_id, NULL::uuid AS card_id, w.seq, w.head
FROM wallets AS w
WHERE w.seq > 0 AND NOT EXISTS (SELECT FROM seal_leaves AS k WHERE k.wallet_id = w.wallet_id AND k.seq = w.seq)
ORDER BY w.wallet_id;

-- name: card_heads_since
-- The heads of gift cards that were posted to since a moment and that no seal has, by card.
SELECT NULL::uuid AS wallet_id, c.card_id, c.seq, c.head
FROM (SELECT DISTINCT l.card_id FROM gift_card_lines AS l WHERE l.posted_at >= :since) AS t
JOIN gift_cards AS c ON c.card_id = t.card_id
WHERE NOT EXISTS (SELECT FROM seal_leaves AS k WHERE k.card_id = c.card_id AND k.seq = c.seq)
ORDER BY c.card_id;

-- name: card_heads
-- The heads of all gift cards with lines that no seal has, by card.
SELECT NULL::uuid AS wallet_id, c.card_id, c.seq, c.head
FROM gift_cards AS c
WHERE c.seq > 0 AND NOT EXISTS (SELECT FROM seal_leaves AS k WHERE k.card_id = c.card_id AND k.seq = c.seq)
ORDER BY c.card_id;

-- name: add_seal!
-- A seal, in the snapshot that its leaves were read in.
INSERT INTO seals (no, sealed_at, snapshot, leaves, root, pages, previous, hash, public_key, signature)
VALUES (
    :no, :sealed_at, :snapshot::text::pg_snapshot, :leaves, :root, :pages, :previous, :hash, :public_key, :signature
);

-- name: seals_from
-- Seals from a number on, in their order.
SELECT no, sealed_at, leaves, root, previous, hash, public_key, signature
FROM seals
WHERE no >= :no
ORDER BY no
LIMIT 1000;

-- name: standing^
-- The number of the newest seal, 0 for none; and the moment in which that was so.
SELECT coalesce(max(no), 0) AS no, clock_timestamp() AS at FROM seals;

-- name: first_since^
-- The first seal after a number that began at a moment or later.
SELECT no, sealed_at, leaves, root, previous, hash, public_key, signature
FROM seals
WHERE no > :after AND sealed_at >= :at
ORDER BY no
LIMIT 1;

-- name: seal_page
-- Seals before a number, the newest first.
SELECT no, sealed_at, leaves, root, previous, hash, public_key, signature
FROM seals
WHERE no < :before
ORDER BY no DESC
LIMIT :most;

-- name: covering_card^
-- The first seal that covers a line of a gift card: which head it has there, at which place.
SELECT
    k.no, k.position, k.seq, k.head, s.sealed_at, s.leaves, s.root, s.pages, s.previous, s.hash, s.public_key, s.signature
FROM seal_leaves AS k
JOIN seals AS s ON s.no = k.no
WHERE k.card_id = :card_id AND k.seq >= :seq
ORDER BY k.seq
LIMIT 1;

-- name: covering_wallet^
-- The first seal that covers a line of a wallet: which head it has there, at which place.
SELECT
    k.no, k.position, k.seq, k.head, s.sealed_at, s.leaves, s.root, s.pages, s.previous, s.hash, s.public_key, s.signature
FROM seal_leaves AS k
JOIN seals AS s ON s.no = k.no
WHERE k.wallet_id = :wallet_id AND k.seq >= :seq
ORDER BY k.seq
LIMIT 1;

-- name: leaves_of_page
-- The leaves of a seal from one place to before another.
SELECT wallet_id, card_id, seq, head
FROM seal_leaves
WHERE no = :no AND position >= :first AND position < :end
ORDER BY position;

-- name: lines_between
-- A wallet's lines from one number to another, as they are hashed.
SELECT
    l.wallet_id, l.seq, l.posting_id, l.posted_at, l.effective_at, l.points, l.money_minor, l.available_after, l.held_after,
    l.reserved_after, l.debt_after, l.lot_id, l.source_id, l.kind, l.from_bucket, l.to_bucket, l.hash
FROM ledger AS l
WHERE l.wallet_id = :wallet_id AND l.seq >= :first AND l.seq <= :last
ORDER BY l.seq;

-- name: card_lines_between
-- A gift card's lines from one number to another, as they are hashed.
SELECT
    l.card_id, l.seq, l.posting_id, l.posted_at, l.effective_at, l.amount_minor, l.issued_after, l.balance_after, l.used_after,
    l.expired_after, l.source_id, l.kind, l.from_bucket, l.to_bucket, l.hash
FROM gift_card_lines AS l
WHERE l.card_id = :card_id AND l.seq >= :first AND l.seq <= :last
ORDER BY l.seq;

-- name: unknown_seals
-- Of seals by number and the first eight bytes of the hash, those that are neither here nor adopted as lost, in their order.
SELECT f.no, f.beginning
FROM unnest(:nos::bigint[], :beginnings::bytea[]) AS f (no, beginning)
WHERE NOT EXISTS (SELECT FROM seals AS s WHERE s.no = f.no AND substr(s.hash, 1, 8) = f.beginning)
    AND NOT EXISTS (SELECT FROM lost_seals AS k WHERE k.no = f.no AND substr(k.hash, 1, 8) = f.beginning)
ORDER BY f.no, f.beginning;

-- name: keys_used
-- The keys that seals were signed with.
SELECT DISTINCT public_key FROM seals;

-- name: add_adoption$
-- The database goes on as it is, from a number that no seal had; gives the epoch.
INSERT INTO seal_adoptions (epoch, after_no, next_no, skipped, actor, reason)
SELECT coalesce(max(a.epoch), 0) + 1, :after_no, :next_no, :skipped, :actor, :reason
FROM seal_adoptions AS a
RETURNING epoch;
