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

-- name: tell
-- Makes messages that were not made before, each in the hands of this process for a while; gives those that are new.
WITH told AS (
    INSERT INTO messages (
        message_id, cause, template, channel, member_id, wallet_id, programme, facts, request_id, created_at
    )
    SELECT t.message_id, t.cause, t.template, :channel, t.member_id, t.wallet_id, t.programme, t.facts::jsonb, t.request_id, :now
    FROM unnest(
        :message_ids::uuid[], :causes::uuid[], :templates::text[], :member_ids::uuid[], :wallet_ids::uuid[],
        :programmes::text[], :facts::text[], :request_ids::text[]
    ) AS t (message_id, cause, template, member_id, wallet_id, programme, facts, request_id)
    ORDER BY t.cause, t.template
    ON CONFLICT (cause, template, channel) DO NOTHING
    RETURNING message_id, member_id
)
INSERT INTO deliveries (message_id, member_id, attempts, claimed_until)
SELECT
    message_id, member_id, (:lease::interval IS NOT NULL)::integer, clock_timestamp() + :lease::interval
FROM told
RETURNING message_id;

-- name: recipients
-- Those of these members who are known: what to write to them in, and whether they want it.
SELECT member_id, locale, consented
FROM members
WHERE member_id = ANY(:member_ids::uuid[]);

-- name: programme_names
-- The names of these programmes.
SELECT programme, names::text AS names
FROM programmes
WHERE programme = ANY(:programmes::text[]);

-- name: claim
-- Some messages that are due to known members, leased to one sender; what expired in another's hands is taken over.
WITH due AS MATERIALIZED (
    SELECT d.message_id
    FROM deliveries AS d
    JOIN members AS b ON b.member_id = d.member_id
    WHERE d.due_at <= now()
        AND (d.claimed_until IS NULL OR d.claimed_until < now())
    ORDER BY d.due_at, d.message_id
    LIMIT :most
    FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE deliveries AS d
SET
    claimed_until = clock_timestamp() + :lease::interval,
    attempts = d.attempts + 1,
    takeovers = d.takeovers + (d.claimed_until IS NOT NULL)::integer
FROM due
JOIN messages AS m ON m.message_id = due.message_id
WHERE d.message_id = due.message_id
RETURNING
    m.message_id, m.cause::text AS cause, m.channel, m.request_id, m.template, m.member_id, m.wallet_id, m.programme,
    m.facts::text AS facts, d.attempts, d.takeovers;

-- name: settle
-- What came of sending; gives the messages that were still due, so that nothing is told twice. The condition on the state
-- is a CASE because few rows are due: as a plain one it would seem a better way in than the messages' own key.
UPDATE deliveries AS d
SET
    state = r.state,
    locale = r.locale,
    error = r.error,
    due_at = CASE WHEN r.state = 'due' THEN coalesce(r.due_at, d.due_at) END,
    claimed_until = NULL,
    delivered_at = CASE WHEN r.state = 'delivered' THEN :now::timestamptz END
FROM unnest(:message_ids::uuid[], :states::text[], :locales::text[], :errors::text[], :due_ats::timestamptz[])
    AS r (message_id, state, locale, error, due_at)
WHERE d.message_id = r.message_id AND CASE d.state WHEN 'due' THEN TRUE ELSE FALSE END
RETURNING d.message_id;

-- name: messages_page
-- A member's messages older than `before`, newest first; with a wallet, those about that wallet.
SELECT
    m.message_id, m.cause, m.template, m.channel, m.member_id, m.wallet_id, m.programme, m.created_at,
    d.state, d.locale, d.attempts, d.takeovers, d.delivered_at
FROM messages AS m
JOIN deliveries AS d ON d.message_id = m.message_id
WHERE m.member_id = :member_id
    AND (:wallet_id::uuid IS NULL OR m.wallet_id = :wallet_id)
    AND m.message_id < :before
ORDER BY m.message_id DESC
LIMIT :most;

-- name: member_of$
-- Whose wallet this is, as far as it is known here.
SELECT member_id FROM wallets WHERE wallet_id = :wallet_id;
