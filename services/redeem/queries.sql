-- What redeem asks of its tables. The search path is its schema.

-- name: claim_accruals
-- The posting ids that were never used before, from now on taken, with the wallet that each is posted to: its heir, where it was
-- merged; born if it was never named before.
WITH asked AS (
    SELECT
        a.posting_id,
        coalesce(h.heir, a.wallet_id) AS wallet_id,
        a.points,
        a.kind::posting_kind AS kind,
        a.programme,
        a.member_id
    FROM unnest(
        :posting_ids::uuid[], :wallet_ids::uuid[], :points::bigint[], :kinds::text[], :programmes::text[],
        :member_ids::uuid[]
    ) AS a (posting_id, wallet_id, points, kind, programme, member_id)
    LEFT JOIN heirs AS h ON a.wallet_id = h.wallet_id
),

claimed AS (
    INSERT INTO postings (posting_id, wallet_id, points, kind)
    SELECT
        a.posting_id,
        a.wallet_id,
        a.points,
        a.kind
    FROM asked AS a
    ORDER BY a.posting_id
    ON CONFLICT (posting_id) DO NOTHING
    RETURNING posting_id, wallet_id
),

-- Almost always none: looked for first, for there is no key between what was asked and what was claimed.
unborn AS MATERIALIZED (
    SELECT
        a.posting_id,
        a.wallet_id,
        a.programme,
        a.member_id
    FROM asked AS a
    WHERE NOT EXISTS (SELECT FROM wallets AS w WHERE w.wallet_id = a.wallet_id)
),

born AS (
    INSERT INTO wallets (wallet_id, programme, member_id)
    SELECT DISTINCT ON (a.wallet_id)
        a.wallet_id,
        a.programme,
        a.member_id
    FROM unborn AS a
    JOIN claimed ON a.posting_id = claimed.posting_id
    ORDER BY a.wallet_id
    ON CONFLICT DO NOTHING
)

SELECT
    posting_id,
    wallet_id
FROM claimed;

-- name: note_acts!
-- Keeps which sources are acts, in the order of their ids: one act may earn in several wallets at once.
INSERT INTO acts (act_id)
SELECT a.act_id
FROM unnest(:act_ids::uuid[]) AS a (act_id)
ORDER BY a.act_id
ON CONFLICT DO NOTHING;

-- name: known_postings
-- What was posted under these ids.
SELECT
    posting_id,
    wallet_id,
    points,
    kind::text AS kind
FROM postings
WHERE posting_id = ANY(:posting_ids::uuid[]);

-- name: lock_wallets
-- Wallets, locked in the order of their ids, heirs in place of those that were merged; `clock` is read after each one's lock, for
-- the inner query comes first. The columns are those of domain.ledger.Wallet, in its order; then the merged ones that it was asked for.
SELECT
    w.wallet_id,
    w.programme,
    w.member_id,
    clock_timestamp() AS clock,
    w.status,
    w.issued,
    w.held,
    w.available,
    w.reserved,
    w.redeemed,
    w.expired,
    w.reversed,
    w.transferred,
    w.adjusted,
    w.debt,
    w.seq,
    w.event_sequence,
    w.head,
    w.last_posted_at,
    w.last_active_at,
    ARRAY(
        SELECT h.wallet_id
        FROM heirs AS h
        WHERE h.heir = w.wallet_id AND h.wallet_id = ANY(:wallet_ids::uuid[])
    ) AS asked_as
FROM (
    SELECT *
    FROM wallets
    WHERE wallet_id = ANY(ARRAY(
        SELECT coalesce(h.heir, a.wallet_id)
        FROM unnest(:wallet_ids::uuid[]) AS a (wallet_id)
        LEFT JOIN heirs AS h ON a.wallet_id = h.wallet_id
    ))
    ORDER BY wallet_id
    FOR NO KEY UPDATE
) AS w;

-- name: meet
-- Who takes part in redemptions, with their wallets, locked, and open lots: see the function in migrations/0090_lots_by_row.sql.
-- The columns from wallet_id on are those of domain.ledger.Wallet, in its order.
SELECT
    m.k,
    m.member_named,
    m.version,
    m.merchant_known,
    m.terminal_known,
    m.lots_suffice,
    m.lot_id,
    m.lot_accrual,
    m.lot_source,
    m.lot_earned_at,
    m.lot_expires_at,
    m.lot_points,
    m.lot_remaining,
    m.lot_held,
    m.lot_reserved,
    m.wallet_id,
    m.programme,
    m.member_id,
    m.clock,
    m.status,
    m.issued,
    m.held,
    m.available,
    m.reserved,
    m.redeemed,
    m.expired,
    m.reversed,
    m.transferred,
    m.adjusted,
    m.debt,
    m.seq,
    m.event_sequence,
    m.head,
    m.last_posted_at
FROM meet(
    :principals::text[], :routes::text[], :keys::text[], :request_hashes::bytea[],
    :programmes::text[], :member_ids::uuid[], :identity_kinds::text[], :identity_hashes::bytea[], :merchants::text[],
    :terminals::text[], :needed::bigint[], :credited::uuid[], :ending_by::timestamptz
) AS m;

-- name: meet_one
-- `meet`, of one redemption and nothing credited: see the function in migrations/0098_meet_one.sql. The same columns.
SELECT
    m.k,
    m.member_named,
    m.version,
    m.merchant_known,
    m.terminal_known,
    m.lots_suffice,
    m.lot_id,
    m.lot_accrual,
    m.lot_source,
    m.lot_earned_at,
    m.lot_expires_at,
    m.lot_points,
    m.lot_remaining,
    m.lot_held,
    m.lot_reserved,
    m.wallet_id,
    m.wallet_programme,
    m.wallet_member_id,
    m.clock,
    m.status,
    m.issued,
    m.held,
    m.available,
    m.reserved,
    m.redeemed,
    m.expired,
    m.reversed,
    m.transferred,
    m.adjusted,
    m.debt,
    m.seq,
    m.event_sequence,
    m.head,
    m.last_posted_at
FROM meet_one(
    :principal::text, :route::text, :key::text, :request_hash::bytea, :programme::text, :member_id::uuid, :identity_kind::text,
    :identity_hash::bytea, :merchant::text, :terminal::text, :needed::bigint, :ending_by::timestamptz
) AS m;

-- name: spendable_lots
-- Of each wallet: the open lots that are past their expiry, and the first in its consumption order that make up what is needed.
-- The columns are those of domain.ledger.Lot, in its order.
SELECT
    s.lot_id,
    s.wallet_id,
    s.accrual_id,
    s.source_id,
    s.earned_at,
    s.expires_at,
    s.points,
    s.remaining,
    s.held,
    s.reserved
FROM unnest(:wallet_ids::uuid[], :needed::bigint[], :earliest_expiry::boolean[]) AS a (wallet_id, needed, earliest_expiry)
CROSS JOIN LATERAL (
    SELECT
        l.*,
        sum(CASE WHEN l.expires_at <= :now THEN 0 ELSE l.remaining - l.held - l.reserved END) OVER (
            ORDER BY CASE WHEN a.earliest_expiry THEN l.expires_at END ASC NULLS LAST, l.earned_at ASC, l.lot_id ASC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS before
    FROM lots AS l
    WHERE l.wallet_id = a.wallet_id AND l.open
) AS s
WHERE s.expires_at <= :now::timestamptz OR coalesce(s.before, 0) < a.needed;

-- name: post_and_flush!
-- Writes what was decided (see the function post_batch in migrations/0004_kinds.sql), and what is told of it.
SELECT
    post_batch(
        :wallet_ids::uuid[], :issued::bigint[], :held::bigint[], :available::bigint[], :reserved::bigint[],
        :redeemed::bigint[], :expired::bigint[], :reversed::bigint[], :transferred::bigint[], :adjusted::bigint[],
        :debt::bigint[], :seqs::bigint[], :lines::bigint[], :event_sequences::bigint[], :heads::bytea[],
        :last_posted_ats::timestamptz[], :last_active_ats::timestamptz[], :taken_lots::uuid[],
        :taken_remaining::bigint[], :taken_held::bigint[], :taken_reserved::bigint[], :taken_expires_ats::timestamptz[],
        :taken_expired::bigint[], :taken_reversed::bigint[], :taken_owed::bigint[], :lot_ids::uuid[], :lot_wallets::uuid[], :lot_accruals::uuid[],
        :lot_sources::uuid[], :lot_earned_ats::timestamptz[], :lot_expires_ats::timestamptz[], :lot_points::bigint[],
        :lot_remaining::bigint[], :lot_held::bigint[], :lot_reserved::bigint[], :lot_parents::uuid[],
        :lot_given::boolean[], :lot_expired::bigint[], :lot_reversed::bigint[], :lot_owed::bigint[], :new_postings::uuid[],
        :new_posting_wallets::uuid[], :new_posting_points::bigint[], :new_posting_kinds::text[],
        :redemption_ids::uuid[], :redemption_postings::uuid[], :redemption_wallets::uuid[],
        :redemption_programmes::text[], :redemption_versions::integer[], :redemption_points::bigint[],
        :redemption_money::bigint[], :redemption_merchants::text[], :redemption_terminals::text[],
        :redemption_cashiers::text[], :redemption_channels::text[], :redemption_bills::text[],
        :redemption_ats::timestamptz[], :line_wallets::uuid[], :line_seqs::bigint[], :line_postings::uuid[],
        :line_posted_ats::timestamptz[], :line_effective_ats::timestamptz[], :line_points::bigint[],
        :line_money::bigint[], :line_available::bigint[], :line_held::bigint[], :line_reserved::bigint[],
        :line_debt::bigint[], :line_lots::uuid[], :line_sources::uuid[], :line_kinds::text[], :line_froms::text[],
        :line_tos::text[], :line_hashes::bytea[]
    ),
    flush(
        :event_ids::uuid[], :payloads::bytea[], :ats::timestamptz[], :actors::text[], :actions::text[],
        :objects::text[], :befores::text[], :afters::text[], :places::text[], :request_ids::text[],
        :principals::text[], :routes::text[], :keys::text[], :statuses::smallint[], :bodies::bytea[]
    );

-- name: learn_programmes!
-- Versions of programmes; one never changes.
INSERT INTO programmes (programme, version, document, activated_at)
SELECT
    p.programme,
    p.version,
    p.document::jsonb,
    p.activated_at
FROM unnest(:programmes::text[], :versions::integer[], :documents::text[], :activated_ats::timestamptz[])
    AS p (programme, version, document, activated_at)
ORDER BY p.programme, p.version
ON CONFLICT DO NOTHING;

-- name: learn_merchants!
-- Merchants with their terminals; an older state never replaces a newer one. One row for each merchant.
INSERT INTO merchants (merchant, version, terminals)
SELECT
    m.merchant,
    m.version,
    ARRAY(SELECT jsonb_array_elements_text(m.terminals::jsonb))
FROM unnest(:merchants::text[], :versions::integer[], :terminals::text[]) AS m (merchant, version, terminals)
ORDER BY m.merchant
ON CONFLICT (merchant) DO UPDATE SET version = excluded.version, terminals = excluded.terminals
WHERE merchants.version < excluded.version;

-- name: learn_members!
-- Members' wallets, one in each programme, their birth months, and the identities that find them. Who was merged into a member finds
-- that one's new wallets, too.
WITH RECURSIVE told AS (
    SELECT
        w.wallet_id,
        w.programme,
        w.member_id
    FROM unnest(:wallet_ids::uuid[], :programmes::text[], :wallet_members::uuid[]) AS w (wallet_id, programme, member_id)
),

finds AS (
    SELECT
        t.member_id,
        t.programme,
        t.wallet_id
    FROM told AS t
    UNION
    SELECT
        m.member_id,
        f.programme,
        f.wallet_id
    FROM finds AS f
    JOIN merged_members AS m ON f.member_id = m.merged_into
),

born AS (
    INSERT INTO wallets (wallet_id, programme, member_id)
    SELECT
        t.wallet_id,
        t.programme,
        t.member_id
    FROM told AS t
    ORDER BY t.wallet_id
    ON CONFLICT DO NOTHING
),

joined AS (
    INSERT INTO member_wallets (member_id, programme, wallet_id)
    SELECT
        f.member_id,
        f.programme,
        f.wallet_id
    FROM finds AS f
    ORDER BY f.member_id, f.programme
    ON CONFLICT DO NOTHING
),

born_in AS (
    INSERT INTO birth_months (member_id, month)
    SELECT
        b.member_id,
        b.month
    FROM unnest(:birth_members::uuid[], :birth_months::smallint[]) AS b (member_id, month)
    ORDER BY b.member_id
    ON CONFLICT DO NOTHING
)

INSERT INTO identities (kind, hash, member_id)
SELECT
    i.kind,
    i.hash,
    i.member_id
FROM unnest(:identity_kinds::text[], :identity_hashes::bytea[], :identity_members::uuid[]) AS i (kind, hash, member_id)
ORDER BY i.hash, i.kind
ON CONFLICT DO NOTHING;

-- name: birth_months_of
-- In which month these members were born, as far as that is known.
SELECT
    member_id,
    month
FROM birth_months
WHERE member_id = ANY(:member_ids::uuid[]);
