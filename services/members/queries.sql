-- What members asks of its tables. The search path is the service's schema.

-- name: open_programmes!
-- A row for each of these programmes that has none yet.
INSERT INTO programmes (code)
SELECT p.code
FROM unnest(:codes::text[]) AS p (code)
ORDER BY p.code
ON CONFLICT (code) DO NOTHING;

-- name: lock_programmes
-- These programmes, locked in their order until the transaction ends; those that don't exist are left out.
SELECT code, latest_version, active_version, currency, event_sequence
FROM programmes
WHERE code = ANY(:codes::text[])
ORDER BY code
FOR NO KEY UPDATE;

-- name: begun_programmes
-- Of these programmes, locked before, those that have an active version: its time zone, and when the last of all versions begins.
SELECT
    p.code,
    v.document -> 'programme' ->> 'time_zone' AS time_zone,
    (SELECT max(b.activated_at) FROM programme_versions AS b WHERE b.programme = p.code) AS begins_at
FROM programmes AS p
JOIN programme_versions AS v ON v.programme = p.code AND v.version = p.active_version
WHERE p.code = ANY(:codes::text[])
ORDER BY p.code;

-- name: add_version!
-- A new draft of a locked programme, which becomes its latest version.
WITH latest AS (
    UPDATE programmes SET latest_version = :version WHERE code = :programme
)
INSERT INTO programme_versions (programme, version, document, created_at)
VALUES (:programme, :version, :document::text::jsonb, :created_at);

-- name: supersede_active!
-- The active version of a locked programme, if it has one, stops being active.
UPDATE programme_versions
SET status = 'superseded'
WHERE programme = :programme AND status = 'active';

-- name: activate_version!
-- A draft of a locked programme becomes its active version; its event is the next of the programme.
WITH activated AS (
    UPDATE programme_versions
    SET status = 'active', activated_at = :activated_at
    WHERE programme = :programme AND version = :version
)
UPDATE programmes
SET active_version = :version, currency = :currency, event_sequence = :event_sequence
WHERE code = :programme;

-- name: programme_version^
-- One version of a programme.
SELECT programme, version, status, document::text AS document, created_at, activated_at
FROM programme_versions
WHERE programme = :programme AND version = :version;

-- name: programme_summary
-- A programme's versions without their documents, the latest first.
SELECT v.version, v.status, v.created_at, v.activated_at, p.active_version
FROM programmes AS p
JOIN programme_versions AS v ON v.programme = p.code
WHERE p.code = :programme
ORDER BY v.version DESC;

-- name: all_programmes
-- Every programme with its active and its latest version.
SELECT code, active_version, latest_version
FROM programmes
WHERE latest_version > 0
ORDER BY code;

-- name: active_programmes
-- What a new wallet needs to know of each active programme: the prefix of its cards, and whether it is closed to newcomers.
SELECT
    p.code,
    v.document -> 'programme' ->> 'card_prefix' AS card_prefix,
    coalesce((v.document -> 'programme' ->> 'closed')::boolean, false) AS closed
FROM programmes AS p
JOIN programme_versions AS v ON v.programme = p.code AND v.version = p.active_version
ORDER BY p.code;

-- name: lock_merchants
-- These merchants, locked in their order until the transaction ends; those that don't exist are left out.
SELECT merchant, brand, name::text AS name, terminals, version, cashiers::text AS cashiers
FROM merchants
WHERE merchant = ANY(:merchants::text[])
ORDER BY merchant
FOR NO KEY UPDATE;

-- name: put_merchants
-- Writes merchants as they are now, where the version is the next one; gives those that it wrote.
INSERT INTO merchants AS m (merchant, brand, name, terminals, version, cashiers)
SELECT
    n.merchant, n.brand, n.name::jsonb, ARRAY(SELECT jsonb_array_elements_text(n.terminals::jsonb)), n.version, n.cashiers::jsonb
FROM unnest(
    :merchants::text[], :brands::text[], :names::text[], :terminals::text[], :versions::integer[], :cashiers::text[]
) AS n (merchant, brand, name, terminals, version, cashiers)
ORDER BY n.merchant
ON CONFLICT (merchant) DO UPDATE
SET brand = EXCLUDED.brand, name = EXCLUDED.name, terminals = EXCLUDED.terminals, version = EXCLUDED.version,
    cashiers = EXCLUDED.cashiers
WHERE m.version = EXCLUDED.version - 1
RETURNING m.merchant;

-- name: claim_identities
-- Gives each identity that is nobody's to the member that wants it; gives those that were free. A claim by another
-- transaction that is still open is waited for.
INSERT INTO identities (kind, hash, member_id)
SELECT c.kind, c.hash, c.member_id
FROM unnest(:kinds::text[], :hashes::bytea[], :member_ids::uuid[]) AS c (kind, hash, member_id)
ORDER BY c.kind, c.hash
ON CONFLICT (kind, hash) DO NOTHING
RETURNING kind, hash;

-- name: release_identities!
-- Gives back claims of this transaction that came to nothing.
DELETE FROM identities
USING unnest(:kinds::text[], :hashes::bytea[]) AS c (kind, hash)
WHERE identities.kind = c.kind AND identities.hash = c.hash;

-- name: pass_identities!
-- Gives claims of this transaction to the member that has them in the end.
UPDATE identities
SET member_id = c.member_id
FROM unnest(:kinds::text[], :hashes::bytea[], :member_ids::uuid[]) AS c (kind, hash, member_id)
WHERE identities.kind = c.kind AND identities.hash = c.hash;

-- name: add_members!
-- New members with what they said about themselves and what they agreed to.
WITH m AS (
    SELECT *
    FROM unnest(
        :member_ids::uuid[], :locales::text[], :channels::text[], :event_sequences::bigint[], :names::text[],
        :mobiles::text[], :emails::text[], :external_ids::text[], :birthdays::date[], :terms_versions::text[],
        :accepted_ats::timestamptz[], :referred_bys::uuid[]
    ) AS m (
        member_id, locale, channel, event_sequence, name, mobile, email, external_id, birthday, terms_version, accepted_at,
        referred_by
    )
),

added AS (
    INSERT INTO members (member_id, locale, channel, enrolled_at, event_sequence, referred_by)
    SELECT m.member_id, m.locale, m.channel, :enrolled_at, m.event_sequence, m.referred_by
    FROM m
),

known AS (
    INSERT INTO contacts (member_id, name, mobile, email, external_id, birthday)
    SELECT m.member_id, m.name, m.mobile, m.email, m.external_id, m.birthday
    FROM m
)

INSERT INTO consents (member_id, terms_version, accepted_at, channel)
SELECT m.member_id, m.terms_version, m.accepted_at, m.channel
FROM m;

-- name: add_wallets!
-- New wallets of new members.
INSERT INTO wallets (wallet_id, member_id, programme)
SELECT w.wallet_id, w.member_id, w.programme
FROM unnest(:wallet_ids::uuid[], :member_ids::uuid[], :programmes::text[]) AS w (wallet_id, member_id, programme);

-- name: issue_cards
-- Cards under numbers that nobody has; gives those that it issued. For the others another number is to be drawn.
INSERT INTO cards (card_id, wallet_id, card_number, issued_at)
SELECT c.card_id, c.wallet_id, c.card_number, :issued_at
FROM unnest(:card_ids::uuid[], :wallet_ids::uuid[], :card_numbers::text[]) AS c (card_id, wallet_id, card_number)
ORDER BY c.card_number
ON CONFLICT (card_number) DO NOTHING
RETURNING card_id, card_number;

-- name: member_by_identity$
-- Whose identity this is.
SELECT member_id
FROM identities
WHERE kind = :kind AND hash = :hash;

-- name: member_with_wallets
-- A member, once for each wallet with its active card.
SELECT m.member_id, m.status, m.locale, m.merged_into, w.programme, w.wallet_id, c.card_id, c.card_number
FROM members AS m
LEFT JOIN wallets AS w ON w.member_id = m.member_id
LEFT JOIN cards AS c ON c.wallet_id = w.wallet_id AND c.status = 'active'
WHERE m.member_id = :member_id
ORDER BY w.programme;

-- name: goes_on_as
-- Who these members are now, through every merge.
WITH RECURSIVE steps AS (
    SELECT a.member_id, a.member_id AS goes_on_as
    FROM unnest(:member_ids::uuid[]) AS a (member_id)
    UNION ALL
    SELECT s.member_id, m.merged_into
    FROM steps AS s
    JOIN members AS m ON m.member_id = s.goes_on_as
    WHERE m.merged_into IS NOT NULL
)
SELECT s.member_id, s.goes_on_as
FROM steps AS s
JOIN members AS m ON m.member_id = s.goes_on_as
WHERE m.merged_into IS NULL;

-- name: members_named
-- Whose these identities are, of members that are not closed. A member_id names itself, and of who was merged who goes on.
WITH RECURSIVE named AS (
    SELECT n.kind, n.hash, coalesce(n.named, i.member_id) AS member_id
    FROM unnest(:kinds::text[], :hashes::bytea[], :member_ids::uuid[]) AS n (kind, hash, named)
    LEFT JOIN identities AS i ON i.kind = n.kind AND i.hash = n.hash
    UNION ALL
    SELECT n.kind, n.hash, m.merged_into
    FROM named AS n
    JOIN members AS m ON m.member_id = n.member_id
    WHERE m.merged_into IS NOT NULL
)
SELECT n.kind, n.hash, m.member_id
FROM named AS n
JOIN members AS m ON m.member_id = n.member_id
WHERE m.status NOT IN ('closed', 'merged');
