-- The life of a redemption after its first instant. The search path is the service's schema.

-- name: authorise!
-- Redemptions that are to be captured later, what is set aside for them, and of which lots. Under their wallets' locks.
WITH made AS (
    INSERT INTO redemptions (
        redemption_id, posting_id, wallet_id, programme, programme_version, status, points, money_minor, merchant, terminal,
        cashier, channel, bill_ref, effective_at
    )
    SELECT
        t.redemption_id,
        t.posting_id,
        t.wallet_id,
        t.programme,
        t.programme_version,
        'authorised',
        t.points,
        t.money_minor,
        t.merchant,
        t.terminal,
        t.cashier,
        t.channel,
        t.bill_ref,
        t.effective_at
    FROM unnest(
        :redemption_ids::uuid[], :redemption_postings::uuid[], :redemption_wallets::uuid[],
        :redemption_programmes::text[], :redemption_versions::integer[], :redemption_points::bigint[],
        :redemption_money::bigint[], :redemption_merchants::text[], :redemption_terminals::text[],
        :redemption_cashiers::text[], :redemption_channels::text[], :redemption_bills::text[],
        :redemption_ats::timestamptz[]
    ) AS t (
        redemption_id, posting_id, wallet_id, programme, programme_version, points, money_minor, merchant, terminal,
        cashier, channel, bill_ref, effective_at
    )
),

set_aside AS (
    INSERT INTO reservations (redemption_id, wallet_id, code_hash, points, expires_at, bill_most_minor)
    SELECT
        t.redemption_id,
        t.wallet_id,
        t.code_hash,
        t.points,
        t.expires_at,
        t.bill_most_minor
    FROM unnest(
        :redemption_ids::uuid[], :redemption_wallets::uuid[], :code_hashes::bytea[], :redemption_points::bigint[],
        :expires_ats::timestamptz[], :bill_mosts::bigint[]
    ) AS t (redemption_id, wallet_id, code_hash, points, expires_at, bill_most_minor)
)

INSERT INTO redemption_lots (redemption_id, place, lot_id, lent, captured, voided, returned)
SELECT
    t.redemption_id,
    t.place,
    t.lot_id,
    t.lent,
    0,
    0,
    0
FROM unnest(:lot_redemptions::uuid[], :lot_places::integer[], :lot_ids::uuid[], :lot_lents::bigint[])
    AS t (redemption_id, place, lot_id, lent);

-- name: named_redemptions
-- The redemptions that are named by id or by the hash of their code (k says by which question), with their wallets and merchants:
-- these never change; and the bill of each, which a capture may name anew.
SELECT
    a.k,
    r.redemption_id,
    r.wallet_id,
    r.merchant,
    r.bill_ref,
    a.terminal IS NULL OR coalesce(a.terminal = ANY(m.terminals), false) AS terminal_known
FROM unnest(:redemption_ids::uuid[], :code_hashes::bytea[], :terminals::text[])
    WITH ORDINALITY AS a (redemption_id, code_hash, terminal, k)
LEFT JOIN reservations AS s ON a.code_hash = s.code_hash
JOIN redemptions AS r ON r.redemption_id = coalesce(a.redemption_id, s.redemption_id)
LEFT JOIN merchants AS m ON r.merchant = m.merchant
ORDER BY a.k;

-- name: whole_redemptions
-- Redemptions whose wallets are locked, with what they took of lots. The columns are those of domain.reserving.Redemption, in its
-- order, up to the lots; these as arrays, after the reward that an authorisation holds, what points may pay of its bill, and the newest
-- version of its programme.
SELECT
    r.redemption_id,
    r.posting_id,
    r.wallet_id,
    r.programme,
    r.programme_version,
    r.status,
    r.points,
    r.money_minor,
    r.merchant,
    r.terminal,
    r.cashier,
    r.channel,
    r.bill_ref,
    r.effective_at,
    r.returned_points,
    r.returned_minor,
    s.expires_at,
    CASE WHEN s.redemption_id IS NULL THEN r.points ELSE s.captured_points END AS captured_points,
    CASE WHEN s.redemption_id IS NULL THEN r.money_minor ELSE s.captured_minor END AS captured_minor,
    s.ended,
    s.ended_at,
    h.reward,
    s.bill_most_minor,
    (SELECT max(p.version) FROM programmes AS p WHERE p.programme = r.programme) AS newest,
    l.lot_ids,
    l.lents,
    l.captureds,
    l.voideds,
    l.returneds
FROM redemptions AS r
LEFT JOIN reservations AS s ON r.redemption_id = s.redemption_id
LEFT JOIN reward_holds AS h ON r.redemption_id = h.redemption_id
LEFT JOIN LATERAL (
    SELECT
        array_agg(p.lot_id ORDER BY p.place) AS lot_ids,
        array_agg(p.lent ORDER BY p.place) AS lents,
        array_agg(p.captured ORDER BY p.place) AS captureds,
        array_agg(p.voided ORDER BY p.place) AS voideds,
        array_agg(p.returned ORDER BY p.place) AS returneds
    FROM redemption_lots AS p
    WHERE p.redemption_id = r.redemption_id
) AS l ON true
WHERE r.redemption_id = ANY(:redemption_ids::uuid[]);

-- name: lots_touched
-- These lots of locked wallets, open or not, and all that are past their expiry and not swept yet. The columns are those of
-- domain.ledger.Lot, in its order.
SELECT
    l.lot_id,
    l.wallet_id,
    l.accrual_id,
    l.source_id,
    l.earned_at,
    l.expires_at,
    l.points,
    l.remaining,
    l.held,
    l.reserved
FROM lots AS l
WHERE
    l.lot_id = ANY(:lot_ids::uuid[])
    OR (l.wallet_id = ANY(:wallet_ids::uuid[]) AND l.open AND l.expires_at <= :now);

-- name: settle!
-- What became of authorised redemptions, and of what they had of lots. Under their wallets' locks.
WITH settled AS (
    UPDATE redemptions AS r
    SET status = t.status, terminal = t.terminal, cashier = t.cashier, bill_ref = t.bill_ref
    FROM unnest(
        :redemption_ids::uuid[], :statuses::text[], :terminals::text[], :cashiers::text[], :bill_refs::text[]
    ) AS t (redemption_id, status, terminal, cashier, bill_ref)
    WHERE r.redemption_id = t.redemption_id
),

ended AS (
    UPDATE reservations AS s
    SET
        captured_points = t.captured_points,
        captured_minor = t.captured_minor,
        capture_posting = t.capture_posting,
        void_posting = t.void_posting,
        ended = t.ended,
        ended_at = t.ended_at,
        settled_at = CASE WHEN t.ended IS NOT NULL THEN clock_timestamp() END
    FROM unnest(
        :redemption_ids::uuid[], :captured_points::bigint[], :captured_minors::bigint[], :capture_postings::uuid[],
        :void_postings::uuid[], :endeds::text[], :ended_ats::timestamptz[]
    ) AS t (redemption_id, captured_points, captured_minor, capture_posting, void_posting, ended, ended_at)
    WHERE s.redemption_id = t.redemption_id
)

UPDATE redemption_lots AS p
SET captured = t.captured, voided = t.voided
FROM unnest(:lot_redemptions::uuid[], :lot_ids::uuid[], :lot_captureds::bigint[], :lot_voideds::bigint[])
    AS t (redemption_id, lot_id, captured, voided)
WHERE p.redemption_id = t.redemption_id AND p.lot_id = t.lot_id;

-- name: past_their_time
-- Authorisations that stand and whose time is over, the longest over first, from one on.
SELECT
    redemption_id,
    wallet_id,
    expires_at
FROM reservations
WHERE
    ended IS NULL AND expires_at <= :now::timestamptz
    AND (expires_at, redemption_id) > (:after_at::timestamptz, :after_id::uuid)
ORDER BY expires_at, redemption_id
LIMIT :most::int;

-- name: redemption_by_code^
-- An authorisation by the hash of its code, as it stands now, with its wallet, or that wallet's heir.
SELECT
    r.redemption_id,
    r.status,
    s.ended,
    r.programme,
    r.programme_version,
    w.wallet_id,
    r.merchant,
    r.terminal,
    r.bill_ref,
    r.points,
    r.money_minor,
    s.expires_at,
    w.status AS wallet_status
FROM reservations AS s
JOIN redemptions AS r ON s.redemption_id = r.redemption_id
LEFT JOIN heirs AS h ON r.wallet_id = h.wallet_id
JOIN wallets AS w ON w.wallet_id = coalesce(h.heir, r.wallet_id)
WHERE s.code_hash = :code_hash::bytea;

-- name: redemptions_of_bills
-- The redemptions that paid for bills (k says for which), with their wallets. One that bought a reward paid for no bill.
SELECT
    a.k,
    r.redemption_id,
    r.wallet_id
FROM unnest(:merchants::text[], :bill_refs::text[]) WITH ORDINALITY AS a (merchant, bill_ref, k)
JOIN redemptions AS r ON a.merchant = r.merchant AND a.bill_ref = r.bill_ref
WHERE NOT EXISTS (SELECT FROM benefits AS b WHERE b.redemption_id = r.redemption_id)
ORDER BY a.k, r.redemption_id;

-- name: paid_of_bills
-- What points of a programme paid of each of these bills, or are set aside for it and can still be captured, less what was returned; whoever paid.
SELECT
    p.k,
    p.paid_minor
FROM paid_of_bills(:programmes::text[], :merchants::text[], :bill_refs::text[], :now::timestamptz) AS p
ORDER BY p.k;

-- name: pay_for_bills
-- The same of bills that are paid now, each once and locked, after the wallets; with the most that points may pay of each.
SELECT
    p.k,
    p.paid_minor
FROM pay_for_bills(:programmes::text[], :merchants::text[], :bill_refs::text[], :mosts::bigint[], :now::timestamptz) AS p
ORDER BY p.k;

-- name: lines_of_redemptions
-- What plain redemptions took of lots, in that order, from the ledger; what was overdrawn, of no lot, stands under the
-- redemption's own id. Their lines were posted about when their posting id was
-- kept, by the same clock: that names the partition.
SELECT
    a.redemption_id,
    coalesce(e.lot_id, a.redemption_id) AS lot_id,
    e.points
FROM unnest(:redemption_ids::uuid[], :wallet_ids::uuid[], :posting_ids::uuid[]) AS a (redemption_id, wallet_id, posting_id)
JOIN postings AS p ON a.posting_id = p.posting_id
JOIN ledger AS e
    ON a.wallet_id = e.wallet_id AND a.posting_id = e.posting_id
    AND e.posted_at BETWEEN p.recorded_at - interval '1 day' AND p.recorded_at + interval '1 day'
ORDER BY a.redemption_id, e.seq;

-- name: known_returns
-- Returns under these references of their merchants: of which redemption, what was asked, and the answer.
SELECT
    r.merchant,
    r.return_ref,
    r.request_hash,
    r.answer
FROM unnest(:merchants::text[], :return_refs::text[]) AS a (merchant, return_ref)
JOIN returns AS r ON a.merchant = r.merchant AND a.return_ref = r.return_ref;

-- name: give_back!
-- What came back, to which lots, and what that leaves of the redemptions. Under their wallets' locks.
WITH known AS (
    UPDATE redemptions AS r
    SET returned_points = t.returned_points, returned_minor = t.returned_minor
    FROM unnest(:redemption_ids::uuid[], :returned_points::bigint[], :returned_minors::bigint[])
        AS t (redemption_id, returned_points, returned_minor)
    WHERE r.redemption_id = t.redemption_id
),

parts AS (
    INSERT INTO redemption_lots (redemption_id, place, lot_id, lent, captured, voided, returned)
    SELECT
        t.redemption_id,
        t.place,
        t.lot_id,
        t.lent,
        t.captured,
        t.voided,
        t.returned
    FROM unnest(
        :lot_redemptions::uuid[], :lot_places::integer[], :lot_ids::uuid[], :lot_lents::bigint[], :lot_captureds::bigint[],
        :lot_voideds::bigint[], :lot_returneds::bigint[]
    ) AS t (redemption_id, place, lot_id, lent, captured, voided, returned)
    ON CONFLICT (redemption_id, place) DO UPDATE SET returned = excluded.returned
),

kept AS (
    INSERT INTO returns (
        return_id, redemption_id, posting_id, points, money_minor, merchant, return_ref, request_hash, answer, request_id,
        effective_at
    )
    SELECT
        t.return_id,
        t.redemption_id,
        t.posting_id,
        t.points,
        t.money_minor,
        t.merchant,
        t.return_ref,
        t.request_hash,
        t.answer,
        t.request_id,
        t.effective_at
    FROM unnest(
        :return_ids::uuid[], :return_redemptions::uuid[], :return_postings::uuid[], :return_points::bigint[],
        :return_minors::bigint[], :return_merchants::text[], :return_refs::text[], :return_hashes::bytea[],
        :return_answers::bytea[], :return_requests::uuid[], :return_ats::timestamptz[]
    ) AS t (
        return_id, redemption_id, posting_id, points, money_minor, merchant, return_ref, request_hash, answer, request_id,
        effective_at
    )
    ORDER BY t.merchant, t.return_ref
)

INSERT INTO returned_lots (return_id, lot_id, to_lot, points)
SELECT
    t.return_id,
    t.lot_id,
    t.to_lot,
    t.points
FROM unnest(:back_returns::uuid[], :back_lots::uuid[], :back_tos::uuid[], :back_points::bigint[])
    AS t (return_id, lot_id, to_lot, points);

-- name: asked_before
-- What was asked under these ids before, and which redemptions each meant. Under the locks of their bills.
SELECT
    request_id,
    merchant,
    bill_ref,
    returned_minor,
    total_minor,
    meant
FROM return_requests
WHERE request_id = ANY(:request_ids::uuid[]);

-- name: keep_requests!
-- What earn asked for the first time, each with the redemptions that it found.
WITH found AS (
    SELECT
        m.request_id,
        array_agg(m.redemption_id ORDER BY m.redemption_id) AS meant
    FROM unnest(:meant_requests::uuid[], :meant_redemptions::uuid[]) AS m (request_id, redemption_id)
    GROUP BY m.request_id
)

INSERT INTO return_requests (
    request_id, refund_id, bill_id, merchant, bill_ref, returned_minor, total_minor, redemptions, decided_at, effective_at, meant
)
SELECT
    t.request_id,
    t.refund_id,
    t.bill_id,
    t.merchant,
    t.bill_ref,
    t.returned_minor,
    t.total_minor,
    coalesce(cardinality(f.meant), 0) AS redemptions,
    t.decided_at,
    t.effective_at,
    coalesce(f.meant, '{}') AS meant
FROM unnest(
    :request_ids::uuid[], :refund_ids::uuid[], :bill_ids::uuid[], :merchants::text[], :bill_refs::text[],
    :returned_minors::bigint[], :total_minors::bigint[], :decided_ats::timestamptz[], :effective_ats::timestamptz[]
) AS t (request_id, refund_id, bill_id, merchant, bill_ref, returned_minor, total_minor, decided_at, effective_at)
LEFT JOIN found AS f ON t.request_id = f.request_id
ORDER BY t.request_id;

-- name: meet_bills!
-- Where a refund and points spent for its bill that nobody had told of meet: the row is made where it is missing, and locked
-- either way, before the wallets.
INSERT INTO met_bills (merchant, bill_ref)
SELECT
    b.merchant,
    b.bill_ref
FROM unnest(:merchants::text[], :bill_refs::text[]) AS b (merchant, bill_ref)
ORDER BY b.merchant COLLATE "C", b.bill_ref COLLATE "C"
ON CONFLICT (merchant, bill_ref) DO UPDATE SET merchant = met_bills.merchant WHERE false;

-- name: refunded_bills
-- The highest refund that was asked of each of these bills (k says of which), the first of them, where points that pay for it are
-- told of later.
SELECT
    a.k,
    q.request_id,
    q.refund_id,
    q.bill_id,
    q.returned_minor,
    q.total_minor,
    q.decided_at,
    q.effective_at
FROM unnest(:merchants::text[], :bill_refs::text[]) WITH ORDINALITY AS a (merchant, bill_ref, k)
CROSS JOIN LATERAL (
    SELECT
        r.request_id,
        r.refund_id,
        r.bill_id,
        r.returned_minor,
        r.total_minor,
        r.decided_at,
        coalesce(r.effective_at, r.decided_at) AS effective_at
    FROM return_requests AS r
    WHERE a.merchant = r.merchant AND a.bill_ref = r.bill_ref
    ORDER BY r.returned_minor DESC, r.request_id
    LIMIT 1
) AS q
ORDER BY a.k;

-- name: count_bill_events
-- So many more events about each of these bills; gives the count of the last. A bill once.
INSERT INTO bill_events (bill_id, event_sequence)
SELECT
    t.bill_id,
    t.events
FROM unnest(:bill_ids::uuid[], :events::bigint[]) AS t (bill_id, events)
ORDER BY t.bill_id
ON CONFLICT (bill_id) DO UPDATE SET event_sequence = bill_events.event_sequence + excluded.event_sequence
RETURNING bill_id, event_sequence;

-- name: learn_standings!
-- The latest standing of each wallet: the highest sequence heard stands. A wallet once.
INSERT INTO standings (wallet_id, tier, until, sequence)
SELECT
    t.wallet_id,
    t.tier,
    t.until,
    t.sequence
FROM unnest(:wallet_ids::uuid[], :tiers::text[], :untils::timestamptz[], :sequences::bigint[])
    AS t (wallet_id, tier, until, sequence)
ORDER BY t.wallet_id
ON CONFLICT (wallet_id) DO UPDATE SET tier = excluded.tier, until = excluded.until, sequence = excluded.sequence
WHERE standings.sequence < excluded.sequence;

-- name: standings_of
-- What tiers told last of these wallets, and by which event of each.
SELECT
    s.wallet_id,
    s.tier,
    s.until,
    s.sequence
FROM standings AS s
WHERE s.wallet_id = ANY(:wallet_ids::uuid[]);

-- name: spent_since
-- What a wallet, with all that were merged into it, spent, or has set aside and can still capture, since each of these moments, less what was
-- returned; and how many redemptions it made since then, voided ones too. The moments count on the tenant's clock, without an end: what is written under
-- the lock is all there is. Until 5 s after its time an authorisation counts: the clock of the process that captures it may be behind.
SELECT
    a.k,
    coalesce(sum(
        CASE
            WHEN r.status = 'voided' OR (s.ended IS NULL AND s.expires_at + interval '5 seconds' <= :now::timestamptz) THEN 0
            WHEN s.ended = 'captured' THEN s.captured_points
            ELSE r.points
        END - r.returned_points
    ), 0)::bigint AS points,
    count(r.redemption_id) AS redemptions
FROM unnest(:wallet_ids::uuid[], :sinces::timestamptz[]) WITH ORDINALITY AS a (wallet_id, since, k)
CROSS JOIN LATERAL (
    SELECT a.wallet_id
    UNION ALL
    SELECT h.wallet_id
    FROM heirs AS h
    WHERE h.heir = a.wallet_id
) AS f
LEFT JOIN redemptions AS r ON f.wallet_id = r.wallet_id AND a.since <= r.effective_at
LEFT JOIN reservations AS s ON r.redemption_id = s.redemption_id
GROUP BY a.k
ORDER BY a.k;

-- name: party^
-- Who would take part in a redemption, as far as they are known here; locks nothing.
SELECT
    coalesce(a.member_id, i.member_id) IS NOT NULL AS member_named,
    w.wallet_id,
    (SELECT max(p.version) FROM programmes AS p WHERE p.programme = a.programme) AS newest,
    m.merchant IS NOT NULL AS merchant_known,
    a.terminal IS NULL OR coalesce(a.terminal = ANY(m.terminals), false) AS terminal_known
FROM (
    SELECT
        :programme::text AS programme,
        :member_id::uuid AS member_id,
        :identity_kind::text AS kind,
        :identity_hash::bytea AS hash,
        :merchant::text AS merchant,
        :terminal::text AS terminal
) AS a
LEFT JOIN identities AS i ON a.hash = i.hash AND a.kind = i.kind
LEFT JOIN member_wallets AS w ON w.member_id = coalesce(a.member_id, i.member_id) AND a.programme = w.programme
LEFT JOIN merchants AS m ON a.merchant = m.merchant;

-- name: wallet_as_it_is^
-- A wallet, not locked: for looking. The columns are those of domain.ledger.Wallet, in its order.
SELECT
    w.wallet_id,
    w.programme,
    w.member_id,
    w.last_posted_at AS clock,
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
    w.last_posted_at
FROM wallets AS w
WHERE w.wallet_id = :wallet_id::uuid;
