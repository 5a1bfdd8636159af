-- What people put right, and disputes.

-- name: parts
-- Every part of an adjustment that was posted, with when whoever had to agree last did.
SELECT
    uuid_send(p.posting_id) AS posting_id, uuid_send(p.adjustment_id) AS adjustment_id, uuid_send(p.wallet_id) AS wallet_id, p.points,
    p.expires_at, coalesce(a.decided_at, a.requested_at) AS effective_at
FROM redeem.adjustment_parts AS p
JOIN redeem.adjustments AS a ON a.adjustment_id = p.adjustment_id
WHERE a.state = 'posted';

-- name: adjustments
-- Every adjustment with its parts counted, and what the audit says of who asked and who decided. `most`: the most that one of its
-- wallets came to with it within a day, of what was posted without a second person: by `posted_at`, which is PostgreSQL's, and hashed. A second less
-- than the day: it is read a moment apart from the time that is counted by.
WITH done AS (
    SELECT p.adjustment_id AS act_id, p.posting_id, p.wallet_id, abs(p.points) AS points, a.requested_at
    FROM redeem.adjustment_parts AS p
    JOIN redeem.adjustments AS a ON a.adjustment_id = p.adjustment_id
    WHERE a.state = 'posted' AND a.decided_by IS NULL
    UNION ALL
    SELECT r.posting_id AS act_id, r.posting_id, r.wallet_id, r.points, r.requested_at FROM redeem.reinstatements AS r
    UNION ALL
    SELECT o.posting_id AS act_id, o.posting_id, o.wallet_id, o.points, o.requested_at FROM redeem.openings AS o
),

alone AS (
    SELECT
        d.act_id,
        sum(d.points) OVER (
            PARTITION BY d.wallet_id ORDER BY coalesce(w.posted_at, d.requested_at)
            RANGE BETWEEN '23:59:59'::interval PRECEDING AND CURRENT ROW
        ) AS points
    FROM done AS d
    LEFT JOIN redeem.postings AS k ON k.posting_id = d.posting_id
    LEFT JOIN LATERAL (
        SELECT min(l.posted_at) AS posted_at
        FROM redeem.ledger AS l
        WHERE l.wallet_id = k.wallet_id AND l.posting_id = k.posting_id
            AND l.posted_at BETWEEN k.recorded_at - interval '1 day' AND k.recorded_at + interval '1 day'
    ) AS w ON true
),

parts AS (
    SELECT
        p.adjustment_id, count(*) AS n, bool_and(w.programme = a.programme) AS at_home,
        array_agg(p.wallet_id) AS wallets, sum(p.points) AS points
    FROM redeem.adjustment_parts AS p
    JOIN redeem.adjustments AS a ON a.adjustment_id = p.adjustment_id
    LEFT JOIN redeem.wallets AS w ON w.wallet_id = p.wallet_id
    GROUP BY p.adjustment_id
)

SELECT
    uuid_send(a.adjustment_id) AS adjustment_id, a.programme, a.programme_version, a.second_person_above, a.state, a.reason,
    a.requested_by, a.decided_by, coalesce(p.n, 0) AS parts, p.at_home,
    (SELECT max(l.points) FROM alone AS l WHERE l.act_id = a.adjustment_id) AS most,
    (
        SELECT array_agg(u.action || ' ' || u.actor ORDER BY u.recorded_at, u.action)
        FROM redeem.audit AS u
        WHERE u.object = 'adjustment/' || a.adjustment_id::text
    ) AS audited,
    (
        SELECT bool_and(
            (u.after ->> 'reason', (u.after ->> 'requested_at')::timestamptz) = (a.reason, a.requested_at)
            AND u.after #>> '{evidence,reference}' = a.evidence
            AND u.after #>> '{evidence,sha256}' IS NOT DISTINCT FROM encode(a.evidence_sha256, 'hex')
            AND (u.action = 'adjustment.request' OR (u.after ->> 'decided_at')::timestamptz = a.decided_at)
        )
        FROM redeem.audit AS u
        WHERE u.object = 'adjustment/' || a.adjustment_id::text
    ) AS noted,
    (a.requested_at, a.decided_at, a.evidence, a.evidence_sha256) = (d.opened_at, d.decided_at, d.evidence, d.evidence_sha256)
        AS as_upheld,
    d.dispute_id IS NOT NULL AS disputed, d.state AS dispute_state, d.opened_by, d.decided_by AS dispute_decided_by,
    d.programme AS dispute_programme, d.points AS dispute_points, d.wallet_id = ANY(p.wallets) AS dispute_wallet,
    p.points
FROM redeem.adjustments AS a
LEFT JOIN parts AS p ON p.adjustment_id = a.adjustment_id
LEFT JOIN redeem.disputes AS d ON d.adjustment_id = a.adjustment_id;

-- name: disputes
-- Every dispute, with the posting that it is about and whether its correction is there.
SELECT
    uuid_send(d.dispute_id) AS dispute_id, d.state, d.opened_by, d.decided_by, d.evidence IS NOT NULL AS evidence,
    d.evidence_sha256 IS NOT NULL AS hashed, d.adjustment_id IS NOT NULL AS corrected, a.adjustment_id IS NOT NULL AS adjusted,
    p.wallet_id = d.wallet_id AS of_its_wallet,
    (SELECT count(*) FROM redeem.disputes AS o WHERE o.posting_id = d.posting_id AND o.state <> 'rejected') AS standing,
    (
        SELECT array_agg(u.action || ' ' || u.actor ORDER BY u.recorded_at, u.action)
        FROM redeem.audit AS u
        WHERE u.object = 'dispute/' || d.dispute_id::text
    ) AS audited,
    (
        SELECT bool_and(
            (u.after ->> 'posting_id', u.after ->> 'wallet_id') = (d.posting_id::text, d.wallet_id::text)
            AND (u.after ->> 'programme', u.after ->> 'reason', (u.after #>> '{correction,points}')::bigint) = (d.programme, d.reason, d.points)
            AND (u.after ->> 'opened_at')::timestamptz = d.opened_at
            AND CASE WHEN u.action <> 'dispute.open' OR d.state = 'open' THEN
                (u.after #>> '{evidence,reference}', u.after #>> '{evidence,sha256}', (u.after ->> 'decided_at')::timestamptz)
                IS NOT DISTINCT FROM (d.evidence, encode(d.evidence_sha256, 'hex'), d.decided_at)
            ELSE true END
        )
        FROM redeem.audit AS u
        WHERE u.object = 'dispute/' || d.dispute_id::text
    ) AS noted
FROM redeem.disputes AS d
LEFT JOIN redeem.adjustments AS a ON a.adjustment_id = d.adjustment_id
LEFT JOIN redeem.postings AS p ON p.posting_id = d.posting_id;

-- name: reinstatements
-- Everything that one person brought back, with the most that its wallet came to with it within a day, and what the audit says.
WITH done AS (
    SELECT p.adjustment_id AS act_id, p.posting_id, p.wallet_id, abs(p.points) AS points, a.requested_at
    FROM redeem.adjustment_parts AS p
    JOIN redeem.adjustments AS a ON a.adjustment_id = p.adjustment_id
    WHERE a.state = 'posted' AND a.decided_by IS NULL
    UNION ALL
    SELECT r.posting_id AS act_id, r.posting_id, r.wallet_id, r.points, r.requested_at FROM redeem.reinstatements AS r
    UNION ALL
    SELECT o.posting_id AS act_id, o.posting_id, o.wallet_id, o.points, o.requested_at FROM redeem.openings AS o
),

alone AS (
    SELECT
        d.act_id,
        sum(d.points) OVER (
            PARTITION BY d.wallet_id ORDER BY coalesce(w.posted_at, d.requested_at)
            RANGE BETWEEN '23:59:59'::interval PRECEDING AND CURRENT ROW
        ) AS points
    FROM done AS d
    LEFT JOIN redeem.postings AS k ON k.posting_id = d.posting_id
    LEFT JOIN LATERAL (
        SELECT min(l.posted_at) AS posted_at
        FROM redeem.ledger AS l
        WHERE l.wallet_id = k.wallet_id AND l.posting_id = k.posting_id
            AND l.posted_at BETWEEN k.recorded_at - interval '1 day' AND k.recorded_at + interval '1 day'
    ) AS w ON true
)

SELECT
    uuid_send(r.posting_id) AS posting_id, uuid_send(r.wallet_id) AS wallet_id, uuid_send(r.lot_id) AS lot_id, r.points, r.reason,
    r.programme_version, r.second_person_above, w.programme, l.points AS most, r.requested_at AS effective_at,
    EXISTS (
        SELECT FROM redeem.audit AS u
        WHERE u.object = 'wallet/' || r.wallet_id::text AND u.action = 'points.reinstate'
            AND u.after ->> 'posting_id' = r.posting_id::text AND (u.actor, u.after ->> 'reason') = (r.requested_by, r.reason)
    ) AS audited
FROM redeem.reinstatements AS r
LEFT JOIN redeem.wallets AS w ON w.wallet_id = r.wallet_id
LEFT JOIN alone AS l ON l.act_id = r.posting_id;

-- name: activities
-- Every opening balance with which it was said when its member was last active elsewhere, and whether it is one.
SELECT
    uuid_send(o.posting_id) AS posting_id,
    coalesce(p.kind = 'opening' AND p.wallet_id = o.wallet_id, false) AS posted
FROM redeem.opening_activities AS o
LEFT JOIN redeem.postings AS p ON p.posting_id = o.posting_id;

-- name: openings
-- Every opening balance that one person asked for, with the most that its wallet came to with it within a day, and its posting.
WITH done AS (
    SELECT p.adjustment_id AS act_id, p.posting_id, p.wallet_id, abs(p.points) AS points, a.requested_at
    FROM redeem.adjustment_parts AS p
    JOIN redeem.adjustments AS a ON a.adjustment_id = p.adjustment_id
    WHERE a.state = 'posted' AND a.decided_by IS NULL
    UNION ALL
    SELECT r.posting_id AS act_id, r.posting_id, r.wallet_id, r.points, r.requested_at FROM redeem.reinstatements AS r
    UNION ALL
    SELECT o.posting_id AS act_id, o.posting_id, o.wallet_id, o.points, o.requested_at FROM redeem.openings AS o
),

alone AS (
    SELECT
        d.act_id,
        sum(d.points) OVER (
            PARTITION BY d.wallet_id ORDER BY coalesce(w.posted_at, d.requested_at)
            RANGE BETWEEN '23:59:59'::interval PRECEDING AND CURRENT ROW
        ) AS points
    FROM done AS d
    LEFT JOIN redeem.postings AS k ON k.posting_id = d.posting_id
    LEFT JOIN LATERAL (
        SELECT min(l.posted_at) AS posted_at
        FROM redeem.ledger AS l
        WHERE l.wallet_id = k.wallet_id AND l.posting_id = k.posting_id
            AND l.posted_at BETWEEN k.recorded_at - interval '1 day' AND k.recorded_at + interval '1 day'
    ) AS w ON true
)

SELECT
    uuid_send(o.posting_id) AS posting_id, o.programme_version, o.second_person_above, w.programme, l.points AS most,
    coalesce(p.kind = 'opening' AND p.wallet_id = o.wallet_id AND p.points = o.points, false) AS posted,
    EXISTS (
        SELECT FROM redeem.audit AS u
        WHERE u.object = 'wallet/' || o.wallet_id::text AND u.action = 'points.open' AND u.after ->> 'posting_id' = o.posting_id::text
            AND u.actor = o.requested_by AND u.at BETWEEN o.requested_at - interval '1 minute' AND o.requested_at + interval '1 minute'
    ) AS audited
FROM redeem.openings AS o
LEFT JOIN redeem.wallets AS w ON w.wallet_id = o.wallet_id
LEFT JOIN redeem.postings AS p ON p.posting_id = o.posting_id
LEFT JOIN alone AS l ON l.act_id = o.posting_id;
