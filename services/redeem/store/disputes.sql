-- What redeem asks of its tables about disputes. The search path is its schema.

-- name: open_disputes
-- New disputes; gives those whose posting is not disputed already, and was not corrected.
INSERT INTO disputes (
    dispute_id, posting_id, wallet_id, programme, points, reason, evidence, evidence_sha256, opened_by, opened_at
)
SELECT
    d.dispute_id,
    d.posting_id,
    d.wallet_id,
    d.programme,
    d.points,
    d.reason,
    d.evidence,
    d.evidence_sha256,
    d.opened_by,
    d.opened_at
FROM unnest(
    :dispute_ids::uuid[], :posting_ids::uuid[], :wallet_ids::uuid[], :programmes::text[], :points::bigint[], :reasons::text[],
    :evidences::text[], :evidence_sha256s::bytea[], :opened_bys::text[], :opened_ats::timestamptz[]
) AS d (dispute_id, posting_id, wallet_id, programme, points, reason, evidence, evidence_sha256, opened_by, opened_at)
ORDER BY d.posting_id, d.dispute_id
ON CONFLICT DO NOTHING
RETURNING dispute_id;

-- name: lock_disputes
-- These disputes, locked in the order of their ids until the transaction ends.
SELECT
    dispute_id,
    posting_id,
    wallet_id,
    programme,
    points,
    reason,
    evidence,
    evidence_sha256,
    state,
    opened_by,
    opened_at,
    decided_by,
    decided_at,
    note,
    adjustment_id
FROM disputes
WHERE dispute_id = ANY(:dispute_ids::uuid[])
ORDER BY dispute_id
FOR NO KEY UPDATE;

-- name: disputes
-- Disputes that are older than one of them, the newest first; in one state, or in any.
SELECT
    dispute_id,
    posting_id,
    wallet_id,
    programme,
    points,
    reason,
    evidence,
    evidence_sha256,
    state,
    opened_by,
    opened_at,
    decided_by,
    decided_at,
    note,
    adjustment_id
FROM disputes
WHERE dispute_id < :before AND (:state::text IS NULL OR state = :state::text)
ORDER BY dispute_id DESC
LIMIT :most;

-- name: dispute^
-- One dispute.
SELECT
    dispute_id,
    posting_id,
    wallet_id,
    programme,
    points,
    reason,
    evidence,
    evidence_sha256,
    state,
    opened_by,
    opened_at,
    decided_by,
    decided_at,
    note,
    adjustment_id
FROM disputes
WHERE dispute_id = :dispute_id;

-- name: settle_disputes!
-- What became of open disputes.
UPDATE disputes AS d
SET
    state = s.state,
    evidence = s.evidence,
    evidence_sha256 = s.evidence_sha256,
    decided_by = s.decided_by,
    decided_at = s.decided_at,
    note = s.note,
    adjustment_id = s.adjustment_id
FROM unnest(
    :dispute_ids::uuid[], :states::text[], :evidences::text[], :evidence_sha256s::bytea[], :decided_bys::text[],
    :decided_ats::timestamptz[], :notes::text[], :adjustment_ids::uuid[]
) AS s (dispute_id, state, evidence, evidence_sha256, decided_by, decided_at, note, adjustment_id)
WHERE d.dispute_id = s.dispute_id AND d.state = 'open';

-- name: disputable
-- The postings of these ids, with the programme of their wallet.
SELECT
    p.posting_id,
    p.wallet_id,
    w.programme
FROM postings AS p
JOIN wallets AS w ON p.wallet_id = w.wallet_id
WHERE p.posting_id = ANY(:posting_ids::uuid[]);
