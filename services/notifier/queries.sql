-- What notifier asks of its tables. The search path is the service's schema.

-- name: learn_members!
-- Keeps what messages need of members; a member is enrolled once.
INSERT INTO members (member_id, locale, consented, enrolled_at)
SELECT m.member_id, m.locale, m.consented, m.enrolled_at
FROM unnest(:member_ids::uuid[], :locales::text[], :consents::boolean[], :enrolled_ats::timestamptz[])
    AS m (member_id, locale, consented, enrolled_at)
ORDER BY m.member_id
ON CONFLICT (member_id) DO NOTHING;

-- name: learn_wallets!
-- Keeps whose each wallet is.
INSERT INTO wallets (wallet_id, member_id)
SELECT w.wallet_id, w.member_id
FROM unnest(:wallet_ids::uuid[], :member_ids::uuid[]) AS w (wallet_id, member_id)
ORDER BY w.wallet_id
ON CONFLICT (wallet_id) DO NOTHING;

-- name: learn_programmes!
-- Keeps the names of the highest version of each programme; each comes once.
INSERT INTO programmes AS p (programme, version, names)
SELECT n.programme, n.version, n.names::jsonb
FROM unnest(:programmes::text[], :versions::integer[], :names::text[]) AS n (programme, version, names)
ORDER BY n.programme
ON CONFLICT (programme) DO UPDATE SET version = EXCLUDED.version, names = EXCLUDED.names
WHERE p.version < EXCLUDED.version;

-- name: recipients
-- Those of these members who are known: what to write to them in, and whether they want it.
SELECT member_id, locale, consented
FROM members
WHERE member_id = ANY(:member_ids::uuid[]);

-- name: make
-- Makes the messages that were not made before; gives those.
INSERT INTO messages (
    message_id, cause, template, channel, member_id, wallet_id, programme, facts, request_id, created_at, dispatch_id, locale,
    traceparent
)
SELECT
    t.message_id, t.cause, t.template, t.channel, t.member_id, t.wallet_id, t.programme, t.facts::json, t.request_id, :now,
    t.dispatch_id, t.locale, t.traceparent
FROM unnest(
    :message_ids::uuid[], :causes::uuid[], :templates::text[], :channels::text[], :member_ids::uuid[], :wallet_ids::uuid[],
    :programmes::text[], :facts::text[], :request_ids::text[], :dispatch_ids::uuid[], :locales::text[],
    :traceparents::text[]
) AS t (
    message_id, cause, template, channel, member_id, wallet_id, programme, facts, request_id, dispatch_id, locale, traceparent
)
ORDER BY t.member_id, t.message_id
ON CONFLICT (member_id, message_id) DO NOTHING
RETURNING message_id::text AS message_id;

-- name: open_dispatch!
-- Begins a dispatch: in the hands of this process for a while, or in nobody's.
INSERT INTO dispatches (dispatch_id, attempts, claimed_until)
VALUES (:dispatch_id, (:lease::interval IS NOT NULL)::integer, clock_timestamp() + :lease::interval);

-- name: set_apart!
-- These messages go their own way from here: those that are due in a while, or at once.
INSERT INTO deliveries (message_id, member_id, state, due_at, attempts, takeovers, error)
SELECT
    a.message_id, a.member_id, a.state, CASE WHEN a.state = 'due' THEN clock_timestamp() + coalesce(a.pause, INTERVAL '0') END,
    a.attempts, a.takeovers, a.error
FROM unnest(
    :message_ids::uuid[], :member_ids::uuid[], :states::text[], :pauses::interval[], :attempts::integer[],
    :takeovers::integer[], :errors::text[]
) AS a (message_id, member_id, state, pause, attempts, takeovers, error)
ORDER BY a.message_id;

-- name: programme_names
-- The names of these programmes.
SELECT programme, names::text AS names
FROM programmes
WHERE programme = ANY(:programmes::text[]);

-- name: claim_dispatch
-- The messages of the oldest dispatch that nobody holds, leased to one sender; from one whose lease is over, and the
-- grace, it is taken over. The members' consent is read now.
WITH free AS MATERIALIZED (
    SELECT d.dispatch_id
    FROM dispatches AS d
    WHERE d.settled_at IS NULL
        AND (d.claimed_until IS NULL OR d.claimed_until < now() - :grace::interval)
    ORDER BY d.dispatch_id
    LIMIT 1
    FOR NO KEY UPDATE OF d SKIP LOCKED
),
claimed AS (
    UPDATE dispatches AS d
    SET
        claimed_until = clock_timestamp() + :lease::interval,
        attempts = d.attempts + 1,
        takeovers = d.takeovers + (d.claimed_until IS NOT NULL)::integer
    FROM free
    WHERE d.dispatch_id = free.dispatch_id
    RETURNING d.dispatch_id, d.attempts, d.takeovers
)
SELECT
    m.message_id::text AS message_id, m.cause::text AS cause, m.template, m.channel, m.member_id, m.wallet_id, m.programme,
    m.facts::text AS facts, m.request_id, m.dispatch_id, m.locale, b.consented, c.attempts, c.takeovers,
    m.traceparent
FROM claimed AS c
JOIN messages AS m ON m.dispatch_id = c.dispatch_id
JOIN members AS b ON b.member_id = m.member_id;

-- name: claim
-- Some messages on their own way that are due to known members, leased to one sender; what expired in another's hands,
-- a grace ago, is taken over.
WITH due AS MATERIALIZED (
    SELECT d.message_id, b.locale, b.consented
    FROM deliveries AS d
    JOIN members AS b ON b.member_id = d.member_id
    WHERE d.due_at <= now()
        AND (d.claimed_until IS NULL OR d.claimed_until < now() - :grace::interval)
    ORDER BY d.due_at, d.message_id
    LIMIT :most
    FOR NO KEY UPDATE OF d SKIP LOCKED
),
claimed AS (
    UPDATE deliveries AS d
    SET
        claimed_until = clock_timestamp() + :lease::interval,
        attempts = d.attempts + 1,
        takeovers = d.takeovers + (d.claimed_until IS NOT NULL)::integer
    FROM due
    WHERE d.message_id = due.message_id
    RETURNING d.message_id, d.member_id, due.locale, due.consented, d.attempts, d.takeovers
)
SELECT
    m.message_id::text AS message_id, m.cause::text AS cause, m.template, m.channel, m.member_id, m.wallet_id, m.programme,
    m.facts::text AS facts, m.request_id, NULL::uuid AS dispatch_id, coalesce(m.locale, c.locale) AS locale, c.consented,
    c.attempts, c.takeovers, m.traceparent
FROM claimed AS c
JOIN messages AS m ON (m.member_id, m.message_id) = (c.member_id, c.message_id);

-- name: renew_dispatches
-- Dispatches that are still in the same hands are so for another lease; gives those. What is being settled is left alone.
WITH ours AS MATERIALIZED (
    SELECT d.dispatch_id
    FROM dispatches AS d
    JOIN unnest(:dispatch_ids::uuid[], :attempts::integer[]) AS h (dispatch_id, attempts)
        ON d.dispatch_id = h.dispatch_id AND d.attempts = h.attempts
    WHERE d.claimed_until IS NOT NULL
    ORDER BY d.dispatch_id
    FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE dispatches AS d
SET claimed_until = clock_timestamp() + :lease::interval
FROM ours
WHERE d.dispatch_id = ours.dispatch_id
RETURNING d.dispatch_id;

-- name: renew
-- The same for messages on their own way.
WITH ours AS MATERIALIZED (
    SELECT d.message_id
    FROM deliveries AS d
    JOIN unnest(:message_ids::uuid[], :attempts::integer[]) AS h (message_id, attempts)
        ON d.message_id = h.message_id AND d.attempts = h.attempts
    WHERE d.claimed_until IS NOT NULL
    ORDER BY d.message_id
    FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE deliveries AS d
SET claimed_until = clock_timestamp() + :lease::interval
FROM ours
WHERE d.message_id = ours.message_id
RETURNING d.message_id::text AS message_id;

-- name: settle_dispatches
-- Dispatches that were sent, or are handed back as they were; gives those that were still in the same hands: the count of
-- attempts says so.
UPDATE dispatches AS d
SET claimed_until = NULL, settled_at = CASE WHEN s.sent THEN :now::timestamptz END
FROM unnest(:dispatch_ids::uuid[], :attempts::integer[], :sent::boolean[]) AS s (dispatch_id, attempts, sent)
WHERE d.dispatch_id = s.dispatch_id AND d.attempts = s.attempts AND d.settled_at IS NULL
RETURNING d.dispatch_id;

-- name: settle
-- What came of sending messages on their own way; gives those that were still due and in the same hands, so that nothing is
-- told twice. The condition on the state is a CASE because few rows are due: as a plain one it would seem a better way in
-- than the key.
UPDATE deliveries AS d
SET
    state = r.state,
    locale = r.locale,
    error = r.error,
    due_at = CASE WHEN r.state = 'due' THEN coalesce(clock_timestamp() + r.pause, d.due_at) END,
    claimed_until = NULL,
    delivered_at = CASE WHEN r.state = 'delivered' THEN :now::timestamptz END
FROM unnest(
    :message_ids::uuid[], :attempts::integer[], :states::text[], :locales::text[], :errors::text[], :pauses::interval[]
) AS r (message_id, attempts, state, locale, error, pause)
WHERE d.message_id = r.message_id AND d.attempts = r.attempts AND CASE d.state WHEN 'due' THEN TRUE ELSE FALSE END
RETURNING d.message_id::text AS message_id;

-- name: messages_page
-- A member's messages older than `before`, newest first; with a wallet, those about that wallet.
SELECT
    m.message_id, m.cause, m.template, m.channel, m.member_id, m.wallet_id, m.programme, m.created_at,
    coalesce(d.state, CASE WHEN s.settled_at IS NULL THEN 'due' ELSE 'delivered' END) AS state,
    coalesce(d.locale, m.locale) AS locale,
    coalesce(d.attempts, s.attempts) AS attempts,
    coalesce(d.takeovers, s.takeovers) AS takeovers,
    CASE WHEN d.message_id IS NULL THEN s.settled_at ELSE d.delivered_at END AS delivered_at
FROM messages AS m
LEFT JOIN dispatches AS s ON s.dispatch_id = m.dispatch_id
LEFT JOIN deliveries AS d ON d.message_id = m.message_id
WHERE m.member_id = :member_id
    AND (:wallet_id::uuid IS NULL OR m.wallet_id = :wallet_id)
    AND m.message_id < :before
ORDER BY m.message_id DESC
LIMIT :most;

-- name: member_of$
-- Whose wallet this is, as far as it is known here.
SELECT member_id FROM wallets WHERE wallet_id = :wallet_id;

-- name: next_due$
-- When the next message is due, on the clock that shows :now; a past moment where a dispatch is open, NULL where nothing is to be sent.
-- PostgreSQL's clock says when a message is due: only how long that is from now is the same on both. What a member is waited for is
-- not: their enrolment comes by a stream.
SELECT least(
    (SELECT 'epoch'::timestamptz FROM dispatches WHERE settled_at IS NULL LIMIT 1),
    (
        SELECT :now::timestamptz + (min(d.due_at) - clock_timestamp())
        FROM deliveries AS d
        JOIN members AS b ON b.member_id = d.member_id
        WHERE d.due_at IS NOT NULL
    )
);
