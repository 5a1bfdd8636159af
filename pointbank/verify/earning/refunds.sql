-- Refunds: what was asked and answered, and the bills that they are of.

-- name: refunds
-- Every refund that its bill took, in that order, with its key, its bill and the last decision about it.
SELECT
    (r.bill_id::text || '/' || lpad(r.n::text, 9, '0')) COLLATE "C" AS place, r.refund_id::text AS id, r.merchant, r.refund_ref,
    r.bill_ref, r.terminal, r.cashier, r.channel, r.occurred_at, r.currency, r.asked::text AS asked, r.told_status,
    r.recorded_event_id::text AS recorded_event_id, r.stream_id, r.source, r.event_id, r.status, r.bill_id::text AS bill_id, r.n,
    r.amounts, r.refunded_minor, r.code, r.detail, r.sequence, r.settled_event_id::text AS settled_event_id, k.content_hash,
    coalesce(k.refund_id = r.refund_id, false) AS has_key, b.bill_id IS NOT NULL AS has_bill, b.merchant AS bill_merchant, b.bill_ref AS own_bill_ref,
    b.occurred_at AS bill_occurred_at, b.currency AS bill_currency, b.total_minor, b.lines::text AS lines,
    d.decision::text AS decision, d.sequence AS decided_through, s.sequence AS saga_sequence, s.refunds AS saga_refunds,
    (
        SELECT json_agg(json_build_array(l.stream_id, l.source, l.event_id) ORDER BY l.n)::text
        FROM earn.listeners AS l WHERE l.subject_id = r.refund_id
    ) AS listeners, coalesce(t.told, (r.source IS NOT NULL)::int) AS told
FROM earn.refunds AS r
LEFT JOIN earn.settled_events AS t
    ON t.subject_id = r.refund_id AND t.n = r.sequence AND t.event_id = r.settled_event_id
LEFT JOIN earn.refund_keys AS k ON k.merchant = r.merchant AND k.refund_ref = r.refund_ref
LEFT JOIN earn.bills AS b ON b.bill_id = r.bill_id
LEFT JOIN earn.sagas AS s ON s.bill_id = r.bill_id
LEFT JOIN LATERAL (
    SELECT x.decision, x.sequence FROM earn.decisions AS x WHERE x.bill_id = r.bill_id ORDER BY x.n DESC LIMIT 1
) AS d ON true
WHERE r.n IS NOT NULL
ORDER BY 1;

-- name: untaken
-- Refunds that wait for their bill, or that it could not take when it came; and keys without a refund.
SELECT
    r.refund_id::text AS id, r.merchant, r.refund_ref, r.bill_ref, r.terminal, r.cashier, r.channel, r.occurred_at, r.currency,
    r.asked::text AS asked, r.told_status, r.recorded_event_id::text AS recorded_event_id, r.stream_id, r.source, r.event_id,
    r.status, r.bill_id::text AS bill_id, r.n, r.refunded_minor, r.code, r.detail, r.sequence,
    r.settled_event_id::text AS settled_event_id, k.content_hash, k.refund_id IS NOT NULL AS has_key,
    k.refund_id::text AS key_refund_id,
    (
        SELECT json_agg(json_build_array(l.stream_id, l.source, l.event_id) ORDER BY l.n)::text
        FROM earn.listeners AS l WHERE l.subject_id = r.refund_id
    ) AS listeners, coalesce(t.told, (r.source IS NOT NULL)::int) AS told
FROM earn.refunds AS r
FULL JOIN earn.refund_keys AS k ON k.merchant = r.merchant AND k.refund_ref = r.refund_ref
LEFT JOIN earn.settled_events AS t
    ON t.subject_id = r.refund_id AND t.n = r.sequence AND t.event_id = r.settled_event_id
WHERE r.n IS NULL;

-- name: requests
-- What was asked for each refund, in the order of the refunds.
SELECT
    (r.bill_id::text || '/' || lpad(r.n::text, 9, '0')) COLLATE "C" AS place, q.request_id::text AS request_id,
    q.refund_id::text AS refund_id, q.bill_id::text AS bill_id, q.kind, q.accrual_id::text AS accrual_id,
    q.wallet_id::text AS wallet_id, q.programme, q.point_value, q.on_spent, q.part_minor, q.through_minor, q.of_minor, q.target,
    q.effective_at, q.decided_at, coalesce(q.currency, r.currency) AS currency,
    (SELECT array_agg(a.sequence ORDER BY a.sequence) FROM earn.refund_asks AS a WHERE a.request_id = q.request_id) AS asks
FROM earn.refund_requests AS q
JOIN earn.refunds AS r ON r.refund_id = q.refund_id
ORDER BY 1, q.request_id;

-- name: answers
-- What was answered to each refund, in the order of the refunds.
SELECT
    (r.bill_id::text || '/' || lpad(r.n::text, 9, '0')) COLLATE "C" AS place, a.request_id::text AS request_id,  a.kind, a.redemption_id::text AS redemption_id, a.parts, a.wallet_id::text AS wallet_id, a.programme, a.reversed, a.hold_cancelled,
    a.owed, a.lapsed, a.shortfall, a.returned, a.money_minor, a.currency, a.code, a.detail, a.answer_event_id::text AS event_id, a.late
FROM earn.refund_answers AS a
JOIN earn.refund_requests AS q ON q.request_id = a.request_id
JOIN earn.refunds AS r ON r.refund_id = q.refund_id
ORDER BY 1, a.request_id, a.answer_event_id;

-- name: sagas
-- Sagas whose count is not the last decision's and what was asked since.
SELECT s.bill_id::text AS bill_id, s.sequence, s.refunds, d.sequence AS decided_through, q.asks, f.refunds AS counted
FROM earn.sagas AS s
LEFT JOIN LATERAL (
    SELECT x.sequence FROM earn.decisions AS x WHERE x.bill_id = s.bill_id ORDER BY x.n DESC LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT
        (
            SELECT count(*)
            FROM earn.refund_requests AS x
            JOIN earn.refund_asks AS a ON a.request_id = x.request_id
            WHERE x.bill_id = s.bill_id
        ) + (SELECT count(*) FROM earn.hold_releases AS h WHERE h.bill_id = s.bill_id)
        + (SELECT count(*) FROM earn.reviews AS v WHERE v.bill_id = s.bill_id AND v.sequence IS NOT NULL) AS asks
) AS q ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS refunds FROM earn.refunds AS x WHERE x.bill_id = s.bill_id AND x.n IS NOT NULL
) AS f ON true
WHERE s.sequence IS DISTINCT FROM d.sequence + q.asks OR s.refunds IS DISTINCT FROM f.refunds;
