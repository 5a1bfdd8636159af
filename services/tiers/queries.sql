-- What tiers asks of its tables. The search path is the service's schema.

-- name: latest_versions
-- The version that judges, for each of these programmes that is known here.
SELECT programme, max(version) AS version
FROM programmes
WHERE programme = ANY(:programmes::text[])
GROUP BY programme;

-- name: await_programmes!
-- Locks the meeting place of these programmes and whoever waits for them; the next statement looks for the other side.
INSERT INTO awaited (kind, key)
SELECT 'programme', p.programme
FROM unnest(:programmes::text[]) AS p (programme)
ORDER BY p.programme
ON CONFLICT (kind, key) DO UPDATE SET key = EXCLUDED.key;

-- name: programme_document^
-- One activated version, and the event that told of it.
SELECT document::text AS document, activated_at, event_id, request_id
FROM programmes
WHERE programme = :programme AND version = :version;

-- name: learn_programmes!
-- Keeps activated versions; one that is known already is the same.
INSERT INTO programmes (programme, version, document, activated_at, event_id, request_id)
SELECT p.programme, p.version, p.document::jsonb, p.activated_at, p.event_id, p.request_id
FROM unnest(
    :programmes::text[], :versions::integer[], :documents::text[], :activated_ats::timestamptz[], :event_ids::text[],
    :request_ids::text[]
) AS p (programme, version, document, activated_at, event_id, request_id)
ON CONFLICT (programme, version) DO NOTHING;

-- name: open_standings!
-- A standing for each wallet that has none yet, judged by the version under which it is opened (0: not known yet).
INSERT INTO standings (wallet_id, member_id, programme, judged_version)
SELECT w.wallet_id, w.member_id, w.programme, w.version
FROM unnest(:wallet_ids::uuid[], :member_ids::uuid[], :programmes::text[], :versions::integer[])
    AS w (wallet_id, member_id, programme, version)
ORDER BY w.wallet_id
ON CONFLICT (wallet_id) DO NOTHING;

-- name: lock_standings
-- The standings of these wallets, or of their heirs, locked in their order until the transaction ends; with which of the wallets
-- have become it.
SELECT
    s.wallet_id, s.member_id, s.tier, s.since, s.until, s.sequence, s.judged_version, s.heir,
    ARRAY(
        SELECT o.wallet_id FROM standings AS o WHERE o.heir = s.wallet_id AND o.wallet_id = ANY(:wallet_ids::uuid[])
    ) AS asked_as
FROM standings AS s
WHERE s.wallet_id = ANY(ARRAY(
    SELECT coalesce(o.heir, o.wallet_id) FROM standings AS o WHERE o.wallet_id = ANY(:wallet_ids::uuid[])
))
ORDER BY s.wallet_id
FOR NO KEY UPDATE OF s;

-- name: add_points
-- Adds points to wallets' years and gives the new sums. The wallets are locked.
INSERT INTO qualifications AS q (wallet_id, year, points)
SELECT e.wallet_id, e.year, e.points
FROM unnest(:wallet_ids::uuid[], :years::smallint[], :points::bigint[]) AS e (wallet_id, year, points)
ON CONFLICT (wallet_id, year) DO UPDATE SET points = q.points + EXCLUDED.points
RETURNING q.wallet_id, q.year, q.points;

-- name: points_by_year
-- All that these wallets have earned, by year. The wallets are locked.
SELECT wallet_id, year, points
FROM qualifications
WHERE wallet_id = ANY(:wallet_ids::uuid[]);

-- name: move_standings!
-- Writes where locked wallets stand now.
UPDATE standings AS s
SET tier = m.tier, since = m.since, until = m.until, sequence = m.sequence, judged_version = m.judged_version
FROM unnest(
    :wallet_ids::uuid[], :tiers::text[], :sinces::timestamptz[], :untils::timestamptz[], :sequences::bigint[],
    :judged_versions::integer[]
) AS m (wallet_id, tier, since, until, sequence, judged_version)
WHERE s.wallet_id = m.wallet_id;

-- name: add_history!
-- Notes each change with what decided it.
INSERT INTO history (
    wallet_id, sequence, from_tier, to_tier, direction, rule, programme, programme_version, numbers, effective_at, until, cause,
    facts
)
SELECT
    h.wallet_id, h.sequence, h.from_tier, h.to_tier, h.direction, h.rule::jsonb, h.programme, h.programme_version,
    h.numbers::jsonb, h.effective_at, h.until, h.cause, h.facts::jsonb
FROM unnest(
    :wallet_ids::uuid[], :sequences::bigint[], :from_tiers::text[], :to_tiers::text[], :directions::text[], :rules::text[],
    :programmes::text[], :programme_versions::integer[], :numbers::text[], :effective_ats::timestamptz[],
    :untils::timestamptz[], :causes::text[], :facts::text[]
) AS h (
    wallet_id, sequence, from_tier, to_tier, direction, rule, programme, programme_version, numbers, effective_at, until, cause, facts
);

-- name: keep_unplaced!
-- Keeps points that belong to no year before their programme is known.
INSERT INTO unplaced (event_id, wallet_id, programme, points, effective_at, request_id, traceparent)
SELECT u.event_id, u.wallet_id, u.programme, u.points, u.effective_at, u.request_id, u.traceparent
FROM unnest(
    :event_ids::text[], :wallet_ids::uuid[], :programmes::text[], :points::bigint[], :effective_ats::timestamptz[],
    :request_ids::text[], :traceparents::text[]
) AS u (event_id, wallet_id, programme, points, effective_at, request_id, traceparent);

-- name: unsettled
-- Known programmes with wallets that their latest version has not judged, or points that belong to no year yet.
SELECT l.programme, l.version
FROM (SELECT programme, max(version) AS version FROM programmes GROUP BY programme) AS l
WHERE EXISTS (SELECT FROM standings AS s WHERE s.programme = l.programme AND s.judged_version < l.version AND s.heir IS NULL)
    OR EXISTS (SELECT FROM unplaced AS u WHERE u.programme = l.programme)
ORDER BY l.programme;

-- name: take_unplaced
-- Takes some of the points that waited for this programme.
WITH taken AS (
    DELETE FROM unplaced
    WHERE event_id IN (
        SELECT event_id
        FROM unplaced
        WHERE programme = :programme
        ORDER BY wallet_id, event_id
        LIMIT :most
        FOR UPDATE SKIP LOCKED
    )
    RETURNING event_id, wallet_id, points, effective_at, request_id, traceparent
)
SELECT t.event_id, t.wallet_id, s.member_id, t.points, t.effective_at, t.request_id, t.traceparent
FROM taken AS t
JOIN standings AS s ON s.wallet_id = t.wallet_id
ORDER BY t.wallet_id, t.event_id;

-- name: unjudged
-- Some wallets that this version has still to judge.
SELECT wallet_id
FROM standings
WHERE programme = :programme AND judged_version < :version AND heir IS NULL
ORDER BY judged_version, wallet_id
LIMIT :most;

-- name: standing_of^
-- Where a wallet stands.
SELECT wallet_id, member_id, programme, tier, since, until, sequence, heir
FROM standings
WHERE wallet_id = :wallet_id;

-- name: history_page
-- A wallet's changes before position `before`, newest first.
SELECT
    sequence, from_tier, to_tier, direction, rule::text AS rule, programme, programme_version, numbers::text AS numbers,
    facts::text AS facts, effective_at, until, cause, recorded_at
FROM history
WHERE wallet_id = :wallet_id AND sequence < :before
ORDER BY sequence DESC
LIMIT :most;
