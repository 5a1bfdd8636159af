-- What people decided about differences, variances and flagged bills, and the audit of it.

-- name: undecided
-- What stands as somebody's decision that the audit has of nobody, or otherwise: by the last word about it. A count of stock that agrees
-- later closes its difference with a note after the reason; a variance that agrees by now is closed by nobody.
SELECT 'difference ' || d.difference_id AS what, d.state, d.owner, d.reason, u.after::text AS audited
FROM redeem.reconciliation_differences AS d
LEFT JOIN LATERAL (
    SELECT a.action, a.after
    FROM redeem.audit AS a
    WHERE a.object = 'difference/' || d.difference_id
    ORDER BY a.recorded_at DESC, a.id DESC
    LIMIT 1
) AS u ON true
WHERE (d.state, coalesce(d.reason, '')) IS DISTINCT FROM (
        coalesce(u.after ->> 'state', 'open'),
        CASE
            WHEN u.action = 'reconciliation.close' AND right(d.reason, length(u.after ->> 'reason')) = u.after ->> 'reason' THEN d.reason
            ELSE coalesce(u.after ->> 'reason', '')
        END
    )
    OR (u.action IS DISTINCT FROM 'reconciliation.close' AND d.owner IS DISTINCT FROM u.after ->> 'owner')
    OR (
        d.state = 'closed' AND u.action = 'reconciliation.decide'
        AND (d.expected, d.found) IS DISTINCT FROM (coalesce(u.after ->> 'expected', d.expected), coalesce(u.after ->> 'found', d.found))
    )
UNION ALL
SELECT 'variance ' || v.variance_id, v.state, v.owner, v.reason, u.after::text
FROM earn.settlement_variances AS v
LEFT JOIN LATERAL (
    SELECT a.after
    FROM earn.audit AS a
    WHERE a.object = 'variance/' || v.variance_id
    ORDER BY a.recorded_at DESC, a.id DESC
    LIMIT 1
) AS u ON true
WHERE v.owner IS DISTINCT FROM u.after ->> 'owner'
    OR (
        (v.state, coalesce(v.reason, '')) IS DISTINCT FROM (coalesce(u.after ->> 'state', 'open'), coalesce(u.after ->> 'reason', ''))
        AND NOT (v.agreed AND v.state = 'closed')
    )
    OR (
        v.state = 'closed' AND NOT v.agreed
        AND (v.expected_minor, v.found_minor) IS DISTINCT FROM (
            coalesce((u.after ->> 'expected_minor')::bigint, v.expected_minor),
            coalesce((u.after ->> 'found_minor')::numeric, v.found_minor)
        )
    )
UNION ALL
SELECT 'review ' || r.review_id, r.state, r.decided_by, r.reason, NULL
FROM earn.reviews AS r
WHERE r.state <> 'open'
    AND NOT EXISTS (
        SELECT FROM earn.audit AS a
        WHERE a.object = 'bill/' || r.bill_id
            AND a.action = CASE r.state WHEN 'released' THEN 'review.release' ELSE 'review.cancel' END
            AND (a.actor, a.after ->> 'reason', (a.after ->> 'points')::bigint) = (r.decided_by, r.reason, r.points)
            AND a.at BETWEEN r.decided_at - interval '1 minute' AND r.decided_at + interval '1 minute'
    );

-- name: decided
-- How many there are to look at.
SELECT
    (SELECT count(*) FROM redeem.reconciliation_differences) + (SELECT count(*) FROM earn.settlement_variances)
    + (SELECT count(*) FROM earn.reviews AS r WHERE r.state <> 'open');
