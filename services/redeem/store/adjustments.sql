-- What redeem asks of its tables about what people put right. The search path is its schema.

-- name: lock_adjustments
-- These adjustments, locked in the order of their ids until the transaction ends.
SELECT
    adjustment_id,
    programme,
    programme_version,
    second_person_above,
    state,
    reason,
    evidence,
    evidence_sha256,
    requested_by,
    requested_at,
    decided_by,
    decided_at,
    note
FROM adjustments
WHERE adjustment_id = ANY(:adjustment_ids::uuid[])
ORDER BY adjustment_id
FOR NO KEY UPDATE;

-- name: adjustments
-- Adjustments that are older than one of them, the newest first; in one state, or in any.
SELECT
    adjustment_id,
    programme,
    programme_version,
    second_person_above,
    state,
    reason,
    evidence,
    evidence_sha256,
    requested_by,
    requested_at,
    decided_by,
    decided_at,
    note
FROM adjustments
WHERE adjustment_id < :before AND (:state::text IS NULL OR state = :state::text)
ORDER BY adjustment_id DESC
LIMIT :most;

-- name: adjustment^
-- One adjustment.
SELECT
    adjustment_id,
    programme,
    programme_version,
    second_person_above,
    state,
    reason,
    evidence,
    evidence_sha256,
    requested_by,
    requested_at,
    decided_by,
    decided_at,
    note
FROM adjustments
WHERE adjustment_id = :adjustment_id;

-- name: parts_of
-- What these adjustments give and take, wallet by wallet.
SELECT
    adjustment_id,
    posting_id,
    wallet_id,
    points,
    expires_at
FROM adjustment_parts
WHERE adjustment_id = ANY(:adjustment_ids::uuid[])
ORDER BY adjustment_id, wallet_id;

-- name: posted_alone
-- How many points were given to each of these wallets, or to one that was merged into it since, taken of it, brought back and opened in
-- it of late, without a second person. By PostgreSQL's clock, which said when each was posted: it is no time of the programme's, and
-- whoever's clock is a day ahead does nothing alone sooner.
WITH family AS MATERIALIZED (
    SELECT
        w.wallet_id,
        w.wallet_id AS heir
    FROM unnest(:wallet_ids::uuid[]) AS w (wallet_id)
    UNION ALL
    SELECT
        h.wallet_id,
        h.heir
    FROM heirs AS h
    WHERE h.heir = ANY(:wallet_ids::uuid[])
)

SELECT
    f.heir AS wallet_id,
    sum(d.points)::bigint AS points
FROM (
    SELECT
        p.wallet_id,
        p.posting_id,
        abs(p.points) AS points
    FROM adjustment_parts AS p
    JOIN adjustments AS a ON p.adjustment_id = a.adjustment_id
    WHERE p.wallet_id IN (SELECT f.wallet_id FROM family AS f) AND a.state = 'posted' AND a.decided_by IS NULL
    UNION ALL
    SELECT
        r.wallet_id,
        r.posting_id,
        r.points
    FROM reinstatements AS r
    WHERE r.wallet_id IN (SELECT f.wallet_id FROM family AS f)
    UNION ALL
    SELECT
        o.wallet_id,
        o.posting_id,
        o.points
    FROM openings AS o
    WHERE o.wallet_id IN (SELECT f.wallet_id FROM family AS f)
) AS d
JOIN postings AS k ON d.posting_id = k.posting_id AND k.recorded_at >= clock_timestamp() - :within::interval
JOIN family AS f ON d.wallet_id = f.wallet_id
GROUP BY f.heir;

-- name: openings_said
-- What was said of the opening balances of these lots: when they were to expire at first, and when their members were last active.
SELECT
    l.accrual_id AS opening_id,
    CASE
        WHEN l.opened_expires_at IS NULL THEN l.expires_at
        ELSE nullif(l.opened_expires_at, 'infinity')
    END AS expires_at,
    a.last_active_at
FROM lots AS l
LEFT JOIN opening_activities AS a ON l.accrual_id = a.posting_id
WHERE l.lot_id = ANY(:lot_ids::uuid[]) AND l.parent_lot IS NULL;

-- name: keep_openings!
-- What one person opened. An id that is there already fails the batch.
INSERT INTO openings (
    posting_id, wallet_id, points, programme_version, second_person_above, requested_by, requested_at
)
SELECT
    o.posting_id,
    o.wallet_id,
    o.points,
    o.programme_version,
    o.second_person_above,
    o.requested_by,
    o.requested_at
FROM unnest(
    :posting_ids::uuid[], :wallet_ids::uuid[], :points::bigint[], :versions::integer[], :thresholds::bigint[],
    :requested_bys::text[], :requested_ats::timestamptz[]
) AS o (posting_id, wallet_id, points, programme_version, second_person_above, requested_by, requested_at);

-- name: keep_activities!
-- When the members of opened balances were last active elsewhere. An id that is there already fails the batch.
INSERT INTO opening_activities (posting_id, wallet_id, last_active_at)
SELECT
    o.posting_id,
    o.wallet_id,
    o.last_active_at
FROM unnest(:posting_ids::uuid[], :wallet_ids::uuid[], :last_active_ats::timestamptz[])
    AS o (posting_id, wallet_id, last_active_at);

-- name: keep_reinstatements!
-- What one person brought back. An id that is there already fails the batch.
INSERT INTO reinstatements (
    posting_id, wallet_id, lot_id, points, reason, programme_version, second_person_above, requested_by, requested_at
)
SELECT
    r.posting_id,
    r.wallet_id,
    r.lot_id,
    r.points,
    r.reason,
    r.programme_version,
    r.second_person_above,
    r.requested_by,
    r.requested_at
FROM unnest(
    :posting_ids::uuid[], :wallet_ids::uuid[], :lot_ids::uuid[], :points::bigint[], :reasons::text[], :versions::integer[],
    :thresholds::bigint[], :requested_bys::text[], :requested_ats::timestamptz[]
) AS r (posting_id, wallet_id, lot_id, points, reason, programme_version, second_person_above, requested_by, requested_at);

-- name: keep_adjustments!
-- New adjustments with their parts. An id that is there already fails the batch.
WITH asked AS (
    INSERT INTO adjustments (
        adjustment_id, programme, programme_version, second_person_above, state, reason, evidence, evidence_sha256, requested_by,
        requested_at, decided_by, decided_at, note
    )
    SELECT
        a.adjustment_id,
        a.programme,
        a.programme_version,
        a.second_person_above,
        a.state,
        a.reason,
        a.evidence,
        a.evidence_sha256,
        a.requested_by,
        a.requested_at,
        a.decided_by,
        a.decided_at,
        a.note
    FROM unnest(
        :adjustment_ids::uuid[], :programmes::text[], :programme_versions::integer[], :thresholds::bigint[], :states::text[],
        :reasons::text[], :evidences::text[], :evidence_sha256s::bytea[], :requested_bys::text[], :requested_ats::timestamptz[],
        :decided_bys::text[], :decided_ats::timestamptz[], :notes::text[]
    ) AS a (
        adjustment_id, programme, programme_version, second_person_above, state, reason, evidence, evidence_sha256, requested_by,
        requested_at, decided_by, decided_at, note
    )
    RETURNING adjustment_id
)

INSERT INTO adjustment_parts (posting_id, adjustment_id, wallet_id, points, expires_at)
SELECT
    p.posting_id,
    p.adjustment_id,
    p.wallet_id,
    p.points,
    p.expires_at
FROM unnest(
    :part_postings::uuid[], :part_adjustments::uuid[], :part_wallets::uuid[], :part_points::bigint[],
    :part_expires_ats::timestamptz[]
) AS p (posting_id, adjustment_id, wallet_id, points, expires_at)
JOIN asked AS a ON p.adjustment_id = a.adjustment_id;

-- name: decide_adjustments!
-- What became of pending adjustments.
UPDATE adjustments AS a
SET
    state = d.state,
    decided_by = d.decided_by,
    decided_at = d.decided_at,
    note = d.note
FROM unnest(
    :adjustment_ids::uuid[], :states::text[], :decided_bys::text[], :decided_ats::timestamptz[], :notes::text[]
) AS d (adjustment_id, state, decided_by, decided_at, note)
WHERE a.adjustment_id = d.adjustment_id AND a.state = 'pending';

-- name: wallets_of
-- The wallets of members by their identities, in these programmes.
SELECT
    n.programme,
    n.kind,
    n.hash,
    w.wallet_id
FROM unnest(:programmes::text[], :kinds::text[], :hashes::bytea[]) AS n (programme, kind, hash)
JOIN identities AS i ON n.kind = i.kind AND n.hash = i.hash
JOIN member_wallets AS w ON i.member_id = w.member_id AND n.programme = w.programme;

-- name: keep_statuses!
-- The statuses of locked wallets.
UPDATE wallets AS w
SET status = s.status
FROM unnest(:wallet_ids::uuid[], :statuses::text[]) AS s (wallet_id, status)
WHERE w.wallet_id = s.wallet_id;

-- name: block_identities!
-- Identities that name nobody from now on, whether they were heard of before or not.
INSERT INTO identities (kind, hash, member_id)
SELECT
    i.kind,
    i.hash,
    NULL
FROM unnest(:kinds::text[], :hashes::bytea[]) AS i (kind, hash)
ORDER BY i.hash, i.kind
ON CONFLICT (hash, kind) DO UPDATE SET member_id = NULL;

-- name: wallet_status^
-- A wallet's programme and status, and which wallet has its points since it was merged, through every merge.
SELECT
    w.wallet_id,
    w.programme,
    w.status,
    h.heir AS merged_into
FROM wallets AS w
LEFT JOIN heirs AS h ON w.wallet_id = h.wallet_id
WHERE w.wallet_id = :wallet_id;
