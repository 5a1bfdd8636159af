-- Gift cards. The search path is redeem's schema.

-- name: issue_cards
-- Cards that are issued; a serial that there is already is left out.
INSERT INTO gift_cards (
    card_id, serial, programme, programme_version, amount_minor, pin_hash, benefit_id, issued_at, event_sequence
)
SELECT
    t.card_id,
    t.serial,
    t.programme,
    t.programme_version,
    t.amount_minor,
    t.pin_hash,
    t.benefit_id,
    :now::timestamptz,
    1
FROM unnest(
    :card_ids::uuid[], :serials::text[], :programmes::text[], :programme_versions::integer[], :amounts::bigint[], :pin_hashes::text[],
    :benefit_ids::uuid[]
) AS t (card_id, serial, programme, programme_version, amount_minor, pin_hash, benefit_id)
ORDER BY t.serial
ON CONFLICT ON CONSTRAINT gift_cards_serial_once DO NOTHING
RETURNING card_id;

-- name: pin_of^
-- What a card's PIN is checked against.
SELECT
    card_id,
    pin_hash
FROM gift_cards
WHERE serial = :serial;

-- name: named
-- Which card a serial, or a use, is of: that never changes.
SELECT
    c.serial AS name,
    c.card_id
FROM gift_cards AS c
WHERE c.serial = ANY(:serials::text[])
UNION ALL
SELECT
    u.use_id::text,
    u.card_id
FROM gift_card_uses AS u
WHERE u.use_id = ANY(:use_ids::uuid[]);

-- name: lock_cards
-- Cards, locked in the order of their ids; `clock` is read after each one's lock, for the inner query comes first.
-- The columns are those of domain.giftcards.ledger.Card, in its order.
SELECT
    c.card_id,
    c.serial,
    c.programme,
    c.programme_version,
    c.amount_minor,
    c.pin_hash,
    clock_timestamp() AS clock,
    c.status,
    c.activated_at,
    c.expires_at,
    c.blocked,
    c.wrong_pins,
    c.locked_until,
    c.issued,
    c.balance,
    c.used,
    c.expired,
    c.seq,
    c.event_sequence,
    c.head,
    c.last_posted_at
FROM (
    SELECT *
    FROM gift_cards
    WHERE card_id = ANY(:card_ids::uuid[])
    ORDER BY card_id
    FOR NO KEY UPDATE
) AS c;

-- name: see_cards
-- The same, unlocked.
SELECT
    c.card_id,
    c.serial,
    c.programme,
    c.programme_version,
    c.amount_minor,
    c.pin_hash,
    clock_timestamp() AS clock,
    c.status,
    c.activated_at,
    c.expires_at,
    c.blocked,
    c.wrong_pins,
    c.locked_until,
    c.issued,
    c.balance,
    c.used,
    c.expired,
    c.seq,
    c.event_sequence,
    c.head,
    c.last_posted_at
FROM gift_cards AS c
WHERE c.card_id = ANY(:card_ids::uuid[]);

-- name: uses
-- Uses by their ids, in the columns of domain.giftcards.card.Used; asked under the locks of their cards.
SELECT
    u.use_id,
    u.card_id,
    u.programme,
    u.asked_minor,
    u.applied_minor,
    u.merchant,
    u.terminal,
    u.cashier,
    u.bill_ref,
    u.used_at,
    u.refunded_minor
FROM gift_card_uses AS u
WHERE u.use_id = ANY(:use_ids::uuid[]);

-- name: refunds
-- What was given back under these references.
SELECT
    r.merchant,
    r.refund_ref,
    r.use_id,
    r.asked_minor,
    r.answer
FROM unnest(:merchants::text[], :refund_refs::text[]) AS t (merchant, refund_ref)
JOIN gift_card_refunds AS r ON t.merchant = r.merchant AND t.refund_ref = r.refund_ref;

-- name: write_cards!
-- Locked cards, as a batch's decisions leave them.
UPDATE gift_cards AS c
SET
    pin_hash = t.pin_hash,
    status = t.status,
    activated_at = t.activated_at,
    expires_at = t.expires_at,
    blocked = t.blocked,
    wrong_pins = t.wrong_pins,
    locked_until = t.locked_until,
    issued = t.issued,
    balance = t.balance,
    used = t.used,
    expired = t.expired,
    seq = t.seq,
    event_sequence = t.event_sequence,
    head = t.head,
    last_posted_at = t.last_posted_at
FROM unnest(
    :card_ids::uuid[], :pin_hashes::text[], :statuses::text[], :activated_ats::timestamptz[], :expires_ats::timestamptz[],
    :blockeds::boolean[], :wrong_pins::integer[], :locked_untils::timestamptz[], :issueds::bigint[], :balances::bigint[],
    :useds::bigint[], :expireds::bigint[], :seqs::bigint[], :event_sequences::bigint[], :heads::bytea[],
    :last_posted_ats::timestamptz[]
) AS t (
    card_id, pin_hash, status, activated_at, expires_at, blocked, wrong_pins, locked_until, issued, balance, used, expired,
    seq, event_sequence, head, last_posted_at
)
WHERE c.card_id = t.card_id;

-- name: write_lines!
-- Lines, and the permanent keys of their postings.
WITH lines AS (
    SELECT *
    FROM unnest(
        :card_ids::uuid[], :seqs::bigint[], :posting_ids::uuid[], :posted_ats::timestamptz[], :effective_ats::timestamptz[],
        :amounts::bigint[], :issued_afters::bigint[], :balance_afters::bigint[], :used_afters::bigint[],
        :expired_afters::bigint[], :source_ids::uuid[], :kinds::text[], :from_buckets::text[], :to_buckets::text[],
        :hashes::bytea[]
    ) AS t (
        card_id, seq, posting_id, posted_at, effective_at, amount_minor, issued_after, balance_after, used_after,
        expired_after, source_id, kind, from_bucket, to_bucket, hash
    )
),

keys AS (
    INSERT INTO gift_card_postings (posting_id, card_id, kind, amount_minor)
    SELECT
        l.posting_id,
        l.card_id,
        l.kind::gift_card_kind,
        l.amount_minor
    FROM lines AS l
    ORDER BY l.posting_id
)

INSERT INTO gift_card_lines (
    card_id, seq, posting_id, posted_at, effective_at, amount_minor, issued_after, balance_after, used_after, expired_after,
    source_id, kind, from_bucket, to_bucket, hash
)
SELECT
    l.card_id,
    l.seq,
    l.posting_id,
    l.posted_at,
    l.effective_at,
    l.amount_minor,
    l.issued_after,
    l.balance_after,
    l.used_after,
    l.expired_after,
    l.source_id,
    l.kind::gift_card_kind,
    l.from_bucket::gift_card_bucket,
    l.to_bucket::gift_card_bucket,
    l.hash
FROM lines AS l;

-- name: write_uses!
-- Uses that were made.
INSERT INTO gift_card_uses (
    use_id, card_id, programme, asked_minor, applied_minor, merchant, terminal, cashier, bill_ref, used_at, refunded_minor
)
SELECT
    t.use_id,
    t.card_id,
    t.programme,
    t.asked_minor,
    t.applied_minor,
    t.merchant,
    t.terminal,
    t.cashier,
    t.bill_ref,
    t.used_at,
    t.refunded_minor
FROM unnest(
    :use_ids::uuid[], :card_ids::uuid[], :programmes::text[], :askeds::bigint[], :applieds::bigint[], :merchants::text[],
    :terminals::text[], :cashiers::text[], :bill_refs::text[], :used_ats::timestamptz[], :refundeds::bigint[]
) AS t (
    use_id, card_id, programme, asked_minor, applied_minor, merchant, terminal, cashier, bill_ref, used_at, refunded_minor
);

-- name: write_refunds!
-- What was given back, and what came back of its use in all by now.
WITH totals AS (
    UPDATE gift_card_uses AS u
    SET refunded_minor = t.refunded_minor
    FROM unnest(:total_uses::uuid[], :totals::bigint[]) AS t (use_id, refunded_minor)
    WHERE u.use_id = t.use_id
)

INSERT INTO gift_card_refunds (refund_id, use_id, merchant, refund_ref, asked_minor, amount_minor, answer)
SELECT
    t.refund_id,
    t.use_id,
    t.merchant,
    t.refund_ref,
    t.asked_minor,
    t.amount_minor,
    t.answer
FROM unnest(
    :refund_ids::uuid[], :use_ids::uuid[], :merchants::text[], :refund_refs::text[], :askeds::bigint[], :amounts::bigint[],
    :answers::bytea[]
) AS t (refund_id, use_id, merchant, refund_ref, asked_minor, amount_minor, answer)
ORDER BY t.merchant, t.refund_ref;

-- name: due
-- Cards that have expired and still hold something, after this place, in the order in which they expired.
SELECT
    c.card_id,
    c.expires_at
FROM gift_cards AS c
WHERE
    c.open AND c.expires_at IS NOT NULL AND c.expires_at <= :now
    AND (c.expires_at, c.card_id) > (:after_at::timestamptz, :after_id::uuid)
ORDER BY c.expires_at, c.card_id
LIMIT :most;

-- name: lines_page
-- A card's lines, the newest first, before this one.
SELECT
    l.seq,
    l.posting_id,
    l.kind::text AS kind,
    l.from_bucket::text AS from_bucket,
    l.to_bucket::text AS to_bucket,
    l.amount_minor,
    l.balance_after,
    l.source_id,
    l.effective_at,
    l.posted_at,
    l.hash,
    u.merchant,
    u.bill_ref
FROM gift_card_lines AS l
LEFT JOIN gift_card_uses AS u ON l.source_id = u.use_id
WHERE l.card_id = :card_id AND l.seq < :before
ORDER BY l.seq DESC
LIMIT :most;

-- name: liability^
-- What is owed to the holders of a programme's gift cards at that instant, and how it came about.
SELECT
    count(*) FILTER (WHERE c.status = 'issued') AS issued,
    count(*) FILTER (WHERE c.status = 'active') AS activated,
    count(*) FILTER (WHERE c.open AND (c.expires_at IS NULL OR c.expires_at > :now)) AS open,
    coalesce(sum(c.balance) FILTER (WHERE c.expires_at IS NULL OR c.expires_at > :now), 0)::bigint AS outstanding,
    coalesce(sum(c.balance) FILTER (WHERE c.expires_at <= :now), 0)::bigint AS lapsed,
    coalesce(-sum(c.issued), 0)::bigint AS loaded,
    coalesce(sum(c.used), 0)::bigint AS used,
    coalesce(sum(c.expired), 0)::bigint AS expired
FROM gift_cards AS c
WHERE c.programme = :programme;
