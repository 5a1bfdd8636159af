-- The search path is earn's schema. Lists go in as arrays, one transaction's worth at a time.

-- ---------------------------------------------------------------- what is known

-- name: programme_versions
-- Every version of every programme, in the order of activation.
SELECT programme, version, activated_at
FROM programmes
ORDER BY programme, activated_at, version;

-- name: programme_documents
-- The documents of these versions.
SELECT p.programme, p.version, p.document
FROM unnest(:programmes::text[], :versions::int[]) AS wanted (programme, version)
JOIN programmes AS p ON p.programme = wanted.programme AND p.version = wanted.version;

-- name: known_merchants
-- Those of the merchants that are known.
SELECT merchant
FROM merchants
WHERE merchant = ANY(:merchants::text[]);

-- name: brands_of
-- The brands of those of the merchants that have one.
SELECT merchant, brand
FROM merchants
WHERE merchant = ANY(:merchants::text[]) AND brand IS NOT NULL;

-- name: known_terminals
-- Those of the terminals that were told of, and whether their merchant still lists them.
SELECT t.merchant, t.terminal, t.listed
FROM unnest(:merchants::text[], :terminals::text[]) AS wanted (merchant, terminal)
JOIN terminals AS t ON t.merchant = wanted.merchant AND t.terminal = wanted.terminal;

-- name: members_of
-- Whom these identities name: a row for each wallet, or one without a wallet.
SELECT
    i.identity, i.member_id, m.member_id IS NOT NULL AS enrolled, m.birth_month, w.wallet_id, w.programme, w.tier, w.tier_event_id,
    w.tier_sequence, w.tier_effective_at, w.tier_until
FROM identities AS i
LEFT JOIN members AS m ON m.member_id = i.member_id
LEFT JOIN wallets AS w ON w.member_id = i.member_id
WHERE i.identity = ANY(:identities::bytea[])
ORDER BY w.programme, w.wallet_id;

-- name: standings_of
-- All standings heard of these wallets, by sequence.
SELECT wallet_id, sequence, tier, event_id, effective_at, until
FROM tier_history
WHERE wallet_id = ANY(:wallet_ids::uuid[])
ORDER BY wallet_id, sequence;

-- name: lock_wallets!
-- The wallets whose earlier bills are counted: who judges another bill of one of them waits.
SELECT wallet_id
FROM wallets
WHERE wallet_id = ANY(:wallet_ids::uuid[])
ORDER BY wallet_id
FOR NO KEY UPDATE;

-- name: activity_of
-- How many bills were judged for each wallet and those that were merged into it, when that happened which was judged last, and since when its member takes part.
SELECT w.wallet_id, coalesce(past.bills, 0) AS bills, latest.occurred_at AS last_bill_at, m.enrolled_at
FROM wallets AS w
LEFT JOIN members AS m ON m.member_id = w.member_id
LEFT JOIN LATERAL (
    SELECT count(DISTINCT a.bill_id) AS bills
    FROM accruals AS a
    WHERE a.wallet_id = ANY(w.wallet_id || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = w.wallet_id))
) AS past ON true
LEFT JOIN LATERAL (
    SELECT b.occurred_at
    FROM unnest(w.wallet_id || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = w.wallet_id)) AS f (wallet_id)
    CROSS JOIN LATERAL (
        SELECT a.bill_id
        FROM accruals AS a
        WHERE a.wallet_id = f.wallet_id
        ORDER BY a.bill_id DESC
        LIMIT 1
    ) AS newest
    JOIN bills AS b ON b.bill_id = newest.bill_id
    ORDER BY newest.bill_id DESC
    LIMIT 1
) AS latest ON true
WHERE w.wallet_id = ANY(:wallet_ids::uuid[]);

-- ---------------------------------------------------------------- a bill is recorded

-- name: claim_pos_events
-- Those of the tills' ids that nobody used before. One that is being used elsewhere is waited for.
INSERT INTO pos_events (source, event_id, content_hash)
SELECT e.source, e.event_id, e.content_hash
FROM unnest(:sources::text[], :event_ids::text[], :content_hashes::bytea[]) AS e (source, event_id, content_hash)
ORDER BY e.source COLLATE "C", e.event_id COLLATE "C"
ON CONFLICT DO NOTHING
RETURNING source, event_id;

-- name: pos_contents
-- What the tills' ids were used for.
SELECT e.source, e.event_id, e.content_hash
FROM unnest(:sources::text[], :event_ids::text[]) AS wanted (source, event_id)
JOIN pos_events AS e ON e.source = wanted.source AND e.event_id = wanted.event_id;

-- name: claim_bill_keys
-- Those of the bills' references that nobody used before. One that is being used elsewhere is waited for.
INSERT INTO bill_keys (merchant, bill_ref, content_hash, bill_id)
SELECT k.merchant, k.bill_ref, k.content_hash, k.bill_id
FROM unnest(
    :merchants::text[], :bill_refs::text[], :content_hashes::bytea[], :bill_ids::uuid[]
) AS k (merchant, bill_ref, content_hash, bill_id)
ORDER BY k.merchant COLLATE "C", k.bill_ref COLLATE "C"
ON CONFLICT DO NOTHING
RETURNING bill_id;

-- name: bill_contents
-- What these references were used for.
SELECT k.merchant, k.bill_ref, k.content_hash
FROM unnest(:merchants::text[], :bill_refs::text[]) AS wanted (merchant, bill_ref)
JOIN bill_keys AS k ON k.merchant = wanted.merchant AND k.bill_ref = wanted.bill_ref;

-- name: first_answers
-- How the bills with these references were answered first.
SELECT
    k.merchant, k.bill_ref, k.bill_id, k.recorded_at, b.occurred_at, b.recorded_event_id, b.stream_id, b.source,
    b.event_id, d.decision
FROM unnest(:merchants::text[], :bill_refs::text[]) AS wanted (merchant, bill_ref)
JOIN bill_keys AS k ON k.merchant = wanted.merchant AND k.bill_ref = wanted.bill_ref
JOIN bills AS b ON b.bill_id = k.bill_id AND b.recorded_at = k.recorded_at
JOIN decisions AS d ON d.bill_id = k.bill_id AND d.n = 1 AND d.recorded_at = k.recorded_at;

-- ---------------------------------------------------------------- a bill waits, and is settled

-- name: lock_awaited!
-- Where those who wait and those who learn meet: the row is made where it is missing, and locked either way.
INSERT INTO awaited (kind, key)
SELECT a.kind, a.key
FROM unnest(:kinds::text[], :keys::text[]) AS a (kind, key)
ORDER BY a.kind, a.key
ON CONFLICT (kind, key) DO UPDATE SET kind = awaited.kind WHERE false;

-- name: forget_awaited!
-- What was learned is awaited no more. Whoever locks it next makes it anew, and finds what was learned.
DELETE FROM awaited AS a
USING unnest(:kinds::text[], :keys::text[]) AS learned (kind, key)
WHERE a.kind = learned.kind AND a.key = learned.key;

-- name: known_awaited
-- Those of these that are known. Under the locks on them.
SELECT a.kind, a.key
FROM unnest(:kinds::text[], :keys::text[]) AS a (kind, key)
WHERE CASE a.kind
    WHEN 'merchant' THEN EXISTS (SELECT FROM merchants AS m WHERE m.merchant = a.key)
    WHEN 'terminal' THEN EXISTS (
        SELECT FROM terminals AS t
        WHERE t.merchant = split_part(a.key, '/', 1) AND t.terminal = split_part(a.key, '/', 2) AND t.listed)
    WHEN 'programme' THEN EXISTS (SELECT FROM programmes AS p WHERE a.key IN (p.programme, '*'))
    WHEN 'identity' THEN EXISTS (SELECT FROM identities AS i WHERE i.identity = decode(a.key, 'hex'))
    WHEN 'member' THEN EXISTS (SELECT FROM members AS e WHERE e.member_id = a.key::uuid)
END;

-- name: begin_waiting!
-- Bills that wait from now on, recorded in this transaction.
INSERT INTO waiting (bill_id, recorded_at, kind, key, taken_at, since_ms, n, sequence, request_id, traceparent)
SELECT w.bill_id, now(), w.kind, w.key, :taken_at::timestamptz, c.running_ms, 1, 1, w.request_id, w.traceparent
FROM unnest(:bill_ids::uuid[], :kinds::text[], :keys::text[], :request_ids::text[], :traceparents::text[])
    AS w (bill_id, kind, key, request_id, traceparent)
CROSS JOIN waiting_clock AS c;

-- name: make_ready
-- The bills and acts that waited for this. One that is being settled is skipped: it takes the lock on what it awaits, and
-- finds it.
WITH learned AS (
    SELECT l.kind, l.key
    FROM unnest(:kinds::text[], :keys::text[]) AS l (kind, key)
),
bills AS (
    UPDATE waiting
    SET ready = true
    WHERE bill_id IN (
        SELECT w.bill_id
        FROM waiting AS w
        JOIN learned AS l ON l.kind = w.kind AND l.key = w.key
        WHERE NOT w.ready
        ORDER BY w.bill_id
        FOR NO KEY UPDATE OF w SKIP LOCKED
    )
    RETURNING bill_id
),
acts AS (
    UPDATE act_waiting
    SET ready = true
    WHERE act_id IN (
        SELECT w.act_id
        FROM act_waiting AS w
        JOIN learned AS l ON l.kind = w.kind AND l.key = w.key
        WHERE NOT w.ready
        ORDER BY w.act_id
        FOR NO KEY UPDATE OF w SKIP LOCKED
    )
    RETURNING act_id
)
SELECT bill_id FROM bills
UNION ALL
SELECT act_id FROM acts;

-- name: lock_waiting
-- These bills, as far as they still wait.
SELECT bill_id, recorded_at, taken_at, kind, key, ready, unclaimed, n, sequence, request_id, traceparent
FROM waiting
WHERE bill_id = ANY(:bill_ids::uuid[])
ORDER BY bill_id
FOR UPDATE; -- against `listen`, which holds FOR KEY SHARE; make_ready meets neither

-- name: waiting_bills
-- The content of bills that wait, with the till's entry that each came by.
SELECT
    b.bill_id, b.merchant, b.bill_ref, b.terminal, b.cashier, b.channel, b.occurred_at, b.currency, b.total_minor,
    b.identity_kind, b.identity, b.programmes, b.lines, b.tenders, b.effects_applied, b.stream_id, b.source, b.event_id
FROM unnest(:bill_ids::uuid[], :recorded_ats::timestamptz[]) AS wanted (bill_id, recorded_at)
JOIN bills AS b ON b.bill_id = wanted.bill_id AND b.recorded_at = wanted.recorded_at;

-- name: last_settled
-- What was decided last about those of these bills that waited and were told again; without an id where none was kept.
SELECT DISTINCT ON (d.bill_id) d.bill_id, d.recorded_at, d.sequence, d.decision, s.event_id
FROM unnest(:bill_ids::uuid[]) AS a (bill_id)
JOIN decisions AS d ON d.bill_id = a.bill_id AND d.n > 1
LEFT JOIN settled_events AS s ON s.subject_id = d.bill_id AND s.n = d.n
ORDER BY d.bill_id, d.n DESC;

-- name: wait_on!
-- What these bills waited for has come, and they wait for something else.
UPDATE waiting AS w
SET kind = a.kind, key = a.key, ready = false
FROM unnest(:bill_ids::uuid[], :kinds::text[], :keys::text[]) AS a (bill_id, kind, key)
WHERE w.bill_id = a.bill_id;

-- name: end_waiting!
-- These bills are settled.
DELETE FROM waiting
WHERE bill_id = ANY(:bill_ids::uuid[]);

-- name: mark_unclaimed!
-- These bills were reported unclaimed; they still wait.
UPDATE waiting
SET unclaimed = true, n = n + 1, sequence = sequence + 1
WHERE bill_id = ANY(:bill_ids::uuid[]);

-- name: tick!
-- Lets the clock of the deadline run on to PostgreSQL's present, where it may run. After a longer pause than :gap nobody watched it.
-- The row itself says since when: of two that come at once the second finds what the first has left. It never goes back, but where it
-- is ahead by more than :gap: PostgreSQL's clock was set back.
UPDATE waiting_clock
SET running_ms = running_ms + CASE
        WHEN :runs::boolean AND now() - ticked_at BETWEEN '0' AND :gap::interval
            THEN floor(extract(EPOCH FROM now() - ticked_at) * 1000)::bigint
        ELSE 0
    END,
    ticked_at = CASE WHEN ticked_at - now() > :gap::interval THEN now() ELSE greatest(ticked_at, now()) END;

-- name: ready_bills
-- Bills whose waiting may be over, but for those.
SELECT bill_id
FROM waiting
WHERE ready AND bill_id <> ALL(:besides::uuid[])
ORDER BY bill_id
LIMIT 500;

-- name: overlooked_bills
-- Bills that wait, not marked ready, for what is known. There are none, unless something is wrong.
SELECT w.bill_id
FROM waiting AS w
WHERE NOT w.ready AND CASE w.kind
    WHEN 'merchant' THEN EXISTS (SELECT FROM merchants AS m WHERE m.merchant = w.key)
    WHEN 'terminal' THEN EXISTS (
        SELECT FROM terminals AS t
        WHERE t.merchant = split_part(w.key, '/', 1) AND t.terminal = split_part(w.key, '/', 2) AND t.listed)
    WHEN 'programme' THEN EXISTS (SELECT FROM programmes AS p WHERE w.key IN (p.programme, '*'))
    WHEN 'identity' THEN EXISTS (SELECT FROM identities AS i WHERE i.identity = decode(w.key, 'hex'))
    WHEN 'member' THEN EXISTS (SELECT FROM members AS e WHERE e.member_id = w.key::uuid)
END
LIMIT 500;

-- name: overdue_bills
-- Bills that have waited longer than :deadline_ms on the clock of the deadline, and were not reported yet; what one that is ready
-- waited for has come.
SELECT w.bill_id
FROM waiting AS w
CROSS JOIN waiting_clock AS c
WHERE NOT w.unclaimed AND NOT w.ready AND w.since_ms <= c.running_ms - :deadline_ms
ORDER BY w.since_ms
LIMIT 500;

-- name: applied_through$
-- The end of the contiguous run of a heard stream that was applied.
SELECT applied_through
FROM positions
WHERE stream = :stream;

-- name: count_waiting^
-- How many bills wait, how many acts, and for how many referrals something is to be done.
SELECT
    (SELECT count(*) FROM waiting) AS bills, (SELECT count(*) FROM act_waiting) AS acts,
    (SELECT count(*) FROM referrals WHERE due)
    + (SELECT count(*) FROM referrals WHERE review)
    + (SELECT count(*) FROM act_reversals WHERE status = 'asked') AS referrals;

-- ---------------------------------------------------------------- what is learned

-- name: learn_programmes!
-- Versions that were activated.
INSERT INTO programmes (programme, version, activated_at, document)
SELECT p.programme, p.version, p.activated_at, p.document::json
FROM unnest(:programmes::text[], :versions::int[], :activated_ats::timestamptz[], :documents::text[]) AS p (
    programme, version, activated_at, document)
ORDER BY p.programme, p.version
ON CONFLICT DO NOTHING;

-- name: learn_merchants
-- Merchants; the highest version heard stands. Those of them that this is news of, locked.
INSERT INTO merchants (merchant, version, brand, cashiers)
SELECT m.merchant, m.version, m.brand, m.cashiers::json
FROM unnest(:merchants::text[], :versions::int[], :brands::text[], :cashiers::text[]) AS m (merchant, version, brand, cashiers)
ORDER BY m.merchant
ON CONFLICT (merchant) DO UPDATE SET version = EXCLUDED.version, brand = EXCLUDED.brand, cashiers = EXCLUDED.cashiers
WHERE merchants.version < EXCLUDED.version
RETURNING merchant;

-- name: learn_terminals!
-- Terminals of known merchants, those that a later version no longer lists too. One that is there stays as it is.
INSERT INTO terminals (merchant, terminal, listed)
SELECT t.merchant, t.terminal, t.listed
FROM unnest(:merchants::text[], :terminals::text[], :listed::boolean[]) AS t (merchant, terminal, listed)
ORDER BY t.merchant, t.terminal
ON CONFLICT DO NOTHING;

-- name: list_terminals!
-- Of the merchants that changed these terminals are listed, and no others. In the order in which guards lock them.
UPDATE terminals AS t
SET listed = other.listed
FROM (
    SELECT k.merchant, k.terminal, NOT k.listed AS listed
    FROM terminals AS k
    LEFT JOIN unnest(:merchants::text[], :terminals::text[]) AS l (merchant, terminal)
        ON l.merchant = k.merchant AND l.terminal = k.terminal
    WHERE k.merchant = ANY(:changed::text[]) AND k.listed <> (l.terminal IS NOT NULL)
    ORDER BY k.merchant, k.terminal
    FOR NO KEY UPDATE OF k
) AS other
WHERE t.merchant = other.merchant AND t.terminal = other.terminal;

-- name: learn_members!
-- Members whose enrolment was heard.
INSERT INTO members (member_id, enrolled_at, birth_month)
SELECT m.member_id, m.enrolled_at, m.birth_month
FROM unnest(:member_ids::uuid[], :enrolled_ats::timestamptz[], :birth_months::smallint[]) AS m (member_id, enrolled_at, birth_month)
ORDER BY m.member_id
ON CONFLICT DO NOTHING;

-- name: learn_identities!
-- Whom identities name.
INSERT INTO identities (identity, kind, member_id)
SELECT i.identity, i.kind, i.member_id
FROM unnest(:identities::bytea[], :kinds::text[], :member_ids::uuid[]) AS i (identity, kind, member_id)
ORDER BY i.identity
ON CONFLICT DO NOTHING;

-- name: learn_wallets!
-- Wallets of members.
INSERT INTO wallets (wallet_id, member_id, programme)
SELECT w.wallet_id, w.member_id, w.programme
FROM unnest(:wallet_ids::uuid[], :member_ids::uuid[], :programmes::text[]) AS w (wallet_id, member_id, programme)
ORDER BY w.wallet_id
ON CONFLICT DO NOTHING;

-- name: learn_standings!
-- The latest standing of each wallet: the highest sequence heard stands. A wallet may be heard of here first.
INSERT INTO wallets (wallet_id, member_id, programme, tier, tier_event_id, tier_sequence, tier_effective_at, tier_until)
SELECT t.wallet_id, t.member_id, t.programme, t.tier, t.event_id, t.sequence, t.effective_at, t.until
FROM unnest(
    :wallet_ids::uuid[], :member_ids::uuid[], :programmes::text[], :tiers::text[], :event_ids::uuid[],
    :sequences::bigint[], :effective_ats::timestamptz[], :untils::timestamptz[]
) AS t (wallet_id, member_id, programme, tier, event_id, sequence, effective_at, until)
ORDER BY t.wallet_id
ON CONFLICT (wallet_id) DO UPDATE
SET tier = EXCLUDED.tier, tier_event_id = EXCLUDED.tier_event_id, tier_sequence = EXCLUDED.tier_sequence,
    tier_effective_at = EXCLUDED.tier_effective_at, tier_until = EXCLUDED.tier_until
WHERE wallets.tier_sequence IS NULL OR wallets.tier_sequence < EXCLUDED.tier_sequence;

-- name: learn_history!
-- Every standing that was heard.
INSERT INTO tier_history (wallet_id, sequence, tier, event_id, effective_at, until)
SELECT t.wallet_id, t.sequence, t.tier, t.event_id, t.effective_at, t.until
FROM unnest(
    :wallet_ids::uuid[], :sequences::bigint[], :tiers::text[], :event_ids::uuid[], :effective_ats::timestamptz[],
    :untils::timestamptz[]
) AS t (wallet_id, sequence, tier, event_id, effective_at, until)
ON CONFLICT DO NOTHING;

-- ---------------------------------------------------------------- entries that were rejected

-- name: lock_rejections!
-- The rows that rejections of these subjects are counted on.
INSERT INTO rejection_counts (subject)
SELECT s.subject
FROM unnest(:subjects::text[]) AS s (subject)
ORDER BY s.subject
ON CONFLICT (subject) DO UPDATE SET subject = rejection_counts.subject WHERE false;

-- name: rejection_counts
-- How many rejections these subjects have had.
SELECT subject, sequence
FROM rejection_counts
WHERE subject = ANY(:subjects::text[]);

-- name: known_rejections
-- Rejections that were said before, as they were said.
SELECT key, subject, sequence, event_id, code, data, recorded_at
FROM rejections
WHERE key = ANY(:keys::bytea[]);

-- name: write_rejections!
-- New rejections, and the count of each subject.
WITH said AS (
    INSERT INTO rejections (key, subject, sequence, event_id, code, data, recorded_at)
    SELECT r.key, r.subject, r.sequence, r.event_id, r.code, r.data, :recorded_at::timestamptz
    FROM unnest(
        :keys::bytea[], :subjects::text[], :sequences::int[], :event_ids::uuid[], :codes::text[], :data::bytea[]
    ) AS r (key, subject, sequence, event_id, code, data)
    RETURNING subject, sequence
)
UPDATE rejection_counts AS c
SET sequence = s.sequence
FROM (SELECT subject, max(sequence) AS sequence FROM said GROUP BY subject) AS s
WHERE c.subject = s.subject;

-- ---------------------------------------------------------------- reads

-- name: bill_by_id^
-- A bill that was recorded between these times, which find its partition.
SELECT
    bill_id, recorded_at, merchant, bill_ref, occurred_at, currency, total_minor, lines, identity_kind
FROM bills
WHERE bill_id = :bill_id AND recorded_at >= :since AND recorded_at < :until;

-- name: bill_by_ref^
-- The bill with this reference.
SELECT
    b.bill_id, b.recorded_at, b.merchant, b.bill_ref, b.occurred_at, b.currency, b.total_minor, b.lines, b.identity_kind
FROM bill_keys AS k
JOIN bills AS b ON b.bill_id = k.bill_id AND b.recorded_at = k.recorded_at
WHERE k.merchant = :merchant AND k.bill_ref = :bill_ref;

-- name: decisions_of
-- Every decision about a bill recorded then, in their order. One that came later may stand before it by an hour: on another server,
-- whose clock is behind.
SELECT n, status, decided_at, decision
FROM decisions
WHERE bill_id = :bill_id AND recorded_at >= :bill_recorded_at::timestamptz - interval '1 hour'
ORDER BY n;

-- name: bills_of_wallet
-- A page of the bills (of one merchant's, if given) that were judged for a wallet, newest first, each with its latest decision.
SELECT b.bill_id, b.merchant, b.bill_ref, b.occurred_at, d.decision
FROM (
    SELECT DISTINCT a.bill_id
    FROM accruals AS a
    WHERE
        a.wallet_id = :wallet_id AND (:before::uuid IS NULL OR a.bill_id < :before)
        AND (
            :merchant::text IS NULL
            OR :merchant = (SELECT m.merchant FROM bills AS m WHERE m.bill_id = a.bill_id LIMIT 1)
        )
    ORDER BY a.bill_id DESC
    LIMIT :most
) AS page
JOIN LATERAL (
    SELECT x.bill_id, x.merchant, x.bill_ref, x.occurred_at, x.recorded_at
    FROM bills AS x
    WHERE x.bill_id = page.bill_id
) AS b ON true
JOIN LATERAL (
    SELECT y.decision
    FROM decisions AS y
    WHERE y.bill_id = b.bill_id AND y.recorded_at >= b.recorded_at - interval '1 hour'
    ORDER BY y.n DESC
    LIMIT 1
) AS d ON true
ORDER BY b.bill_id DESC;
