-- The chain check: every line of a range of wallets, in the bytes that are hashed.

-- name: lines
-- The lines of the wallets from after $1 up to $2, in fields of fixed length. Sent in PostgreSQL's binary form a uuid, a bigint
-- and a timestamp are the very bytes that are hashed; PostgreSQL counts time from 2000, the hash from 1970, which are 262,968
-- hours apart. Names are padded, and are turned into codes where they are read.
SELECT
    l.wallet_id, l.seq, l.posting_id, l.kind::text::char(12) AS kind, l.from_bucket::text::char(12) AS from_bucket,
    l.to_bucket::text::char(12) AS to_bucket, l.points, l.money_minor,
    coalesce(l.lot_id, '00000000-0000-0000-0000-000000000000'::uuid) AS lot_id,
    coalesce(l.source_id, '00000000-0000-0000-0000-000000000000'::uuid) AS source_id,
    l.effective_at + interval '262968 hours' AS effective_at, l.posted_at + interval '262968 hours' AS posted_at,
    l.available_after, l.held_after, l.reserved_after, l.debt_after, l.hash
FROM redeem.ledger AS l
WHERE l.wallet_id > $1::uuid AND l.wallet_id <= $2::uuid
ORDER BY l.wallet_id, l.seq, l.posted_at;

-- name: wallets
-- The next wallets after $1, up to $2: what their rows say of their last line.
SELECT w.wallet_id AS id, uuid_send(w.wallet_id) AS wallet_id, w.seq, w.head, w.last_posted_at
FROM redeem.wallets AS w
WHERE w.wallet_id > $1::uuid AND w.wallet_id <= $2::uuid
ORDER BY w.wallet_id
LIMIT $3;

-- name: leaves
-- The sealed heads of the wallets from after $1 up to $2.
SELECT uuid_send(k.wallet_id) AS wallet_id, k.seq, k.head, k.no
FROM redeem.seal_leaves AS k
WHERE k.wallet_id > $1::uuid AND k.wallet_id <= $2::uuid
ORDER BY k.wallet_id, k.seq;

-- name: total
-- How many lines the wallets count.
SELECT coalesce(sum(w.seq), 0)::bigint FROM redeem.wallets AS w;
