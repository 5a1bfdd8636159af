-- Refunds. The search path is earn's schema. Lists go in as arrays, one transaction's worth at a time.

-- ---------------------------------------------------------------- the bills of refunds

-- name: bill_references
-- Merchant and reference of bills that were recorded between these times, which find their partitions.
SELECT b.bill_id, b.merchant, b.bill_ref
FROM unnest(:bill_ids::uuid[], :sinces::timestamptz[], :untils::timestamptz[]) AS wanted (bill_id, since, until)
JOIN bills AS b ON b.bill_id = wanted.bill_id AND b.recorded_at >= wanted.since AND b.recorded_at < wanted.until;

-- name: refundable_bills
-- Bills by their references, each with its last decision, and whether it still waits for one.
SELECT
    b.bill_id, b.merchant, b.bill_ref, b.occurred_at, b.currency, b.total_minor, b.lines, d.decision, d.sequence,
    w.bill_id IS NOT NULL AS waits
FROM unnest(:merchants::text[], :bill_refs::text[]) AS wanted (merchant, bill_ref)
JOIN bill_keys AS k ON k.merchant = wanted.merchant AND k.bill_ref = wanted.bill_ref
JOIN bills AS b ON b.bill_id = k.bill_id AND b.recorded_at = k.recorded_at
JOIN LATERAL (
    SELECT x.decision, x.sequence
    FROM decisions AS x
    WHERE x.bill_id = b.bill_id AND x.recorded_at >= b.recorded_at - interval '1 hour'
    ORDER BY x.n DESC
    LIMIT 1
) AS d ON true
LEFT JOIN waiting AS w ON w.bill_id = b.bill_id;

-- name: open_sagas!
-- The rows on which events about these settled bills are counted from now on, after the last of their decisions.
INSERT INTO sagas (bill_id, sequence)
SELECT s.bill_id, s.sequence
FROM unnest(:bill_ids::uuid[], :sequences::int[]) AS s (bill_id, sequence)
ORDER BY s.bill_id
ON CONFLICT (bill_id) DO NOTHING;

-- name: lock_sagas
-- These sagas, locked in the order of their bills until the transaction ends.
SELECT bill_id, sequence, refunds
FROM sagas
WHERE bill_id = ANY(:bill_ids::uuid[])
ORDER BY bill_id
FOR NO KEY UPDATE;

-- name: move_sagas!
-- How far the counts of locked sagas are now.
UPDATE sagas AS s
SET sequence = m.sequence, refunds = m.refunds
FROM unnest(:bill_ids::uuid[], :sequences::int[], :refunds::int[]) AS m (bill_id, sequence, refunds)
WHERE s.bill_id = m.bill_id;

-- ---------------------------------------------------------------- a refund is recorded

-- name: claim_refund_keys
-- Those of the refunds' references that nobody used before. One that is being used elsewhere is waited for.
INSERT INTO refund_keys (merchant, refund_ref, content_hash, refund_id)
SELECT k.merchant, k.refund_ref, k.content_hash, k.refund_id
FROM unnest(
    :merchants::text[], :refund_refs::text[], :content_hashes::bytea[], :refund_ids::uuid[]
) AS k (merchant, refund_ref, content_hash, refund_id)
ORDER BY k.merchant COLLATE "C", k.refund_ref COLLATE "C"
ON CONFLICT DO NOTHING
RETURNING refund_id;

-- name: refund_contents
-- What these references were used for, and which refund that is.
SELECT k.merchant, k.refund_ref, k.content_hash, k.refund_id
FROM unnest(:merchants::text[], :refund_refs::text[]) AS wanted (merchant, refund_ref)
JOIN refund_keys AS k ON k.merchant = wanted.merchant AND k.refund_ref = wanted.refund_ref;

-- name: counted_refunds
-- How much of each line of these bills is refunded, by the refunds that were taken.
SELECT r.bill_id, r.amounts
FROM refunds AS r
WHERE r.bill_id = ANY(:bill_ids::uuid[]) AND r.n IS NOT NULL;

-- name: refunds_of_bills
-- The refunds of these bills that were taken, in that order.
SELECT
    refund_id, merchant, refund_ref, bill_ref, occurred_at, currency, asked, status, request_id, traceparent, stream_id,
    source, event_id, bill_id, n, amounts, refunded_minor, code, detail, sequence
FROM refunds
WHERE bill_id = ANY(:bill_ids::uuid[]) AND n IS NOT NULL
ORDER BY bill_id, n;

-- name: refunds_by_id
-- These refunds.
SELECT
    refund_id, merchant, refund_ref, bill_ref, occurred_at, currency, asked, status, request_id, traceparent, stream_id,
    source, event_id, bill_id, n, amounts, refunded_minor, code, detail, sequence, told_status, recorded_event_id,
    recorded_at, settled_event_id, settled_at
FROM refunds
WHERE refund_id = ANY(:refund_ids::uuid[])
ORDER BY refund_id;

-- name: lock_refunds!
-- These refunds, locked in their order against who offers them again: under the locks of their bills' sagas.
SELECT refund_id
FROM refunds
WHERE refund_id = ANY(:refund_ids::uuid[])
ORDER BY refund_id
FOR NO KEY UPDATE;

-- name: move_refunds!
-- Where these refunds stand now.
UPDATE refunds AS r
SET status = m.status, bill_id = m.bill_id, n = m.n, amounts = m.amounts::bigint [], refunded_minor = m.refunded_minor,
    code = m.code, detail = m.detail, sequence = m.sequence, settled_event_id = m.settled_event_id, settled_at = m.settled_at
FROM unnest(
    :refund_ids::uuid[], :statuses::text[], :bill_ids::uuid[], :ns::int[], :amounts::text[], :refunded_minors::bigint[],
    :codes::text[], :details::text[], :sequences::int[], :settled_event_ids::uuid[], :settled_ats::timestamptz[]
) AS m (
    refund_id, status, bill_id, n, amounts, refunded_minor, code, detail, sequence, settled_event_id, settled_at
)
WHERE r.refund_id = m.refund_id;

-- ---------------------------------------------------------------- what is asked, and answered

-- name: requests_of
-- What was asked for these refunds.
SELECT
    request_id, refund_id, kind, accrual_id, wallet_id, programme, point_value, on_spent, part_minor, through_minor, of_minor,
    target, effective_at, decided_at, currency
FROM refund_requests
WHERE refund_id = ANY(:refund_ids::uuid[])
ORDER BY refund_id, request_id;

-- name: answers_of
-- What was answered to these refunds' requests.
SELECT
    q.refund_id, a.request_id, a.answer_event_id, a.kind, a.redemption_id, a.parts, a.wallet_id, a.programme, a.reversed, a.hold_cancelled, a.owed,
    a.lapsed, a.shortfall, a.returned, a.money_minor, a.currency, a.code, a.detail, a.late
FROM refund_requests AS q
JOIN refund_answers AS a ON a.request_id = q.request_id
WHERE q.refund_id = ANY(:refund_ids::uuid[])
ORDER BY q.refund_id, a.request_id, a.answer_event_id;

-- name: requested_bills
-- The bills and refunds that these requests are about; what is not ours is left out.
SELECT request_id, refund_id, bill_id
FROM refund_requests
WHERE request_id = ANY(:request_ids::uuid[]);

-- name: write_answers!
-- Answers, each once.
INSERT INTO refund_answers (
    request_id, answer_event_id, kind, redemption_id, parts, wallet_id, programme, reversed, hold_cancelled, owed, lapsed, shortfall,
    returned, money_minor, currency, code, detail, late
)
SELECT
    a.request_id, a.answer_event_id, a.kind, a.redemption_id, a.parts, a.wallet_id, a.programme, a.reversed,
    a.hold_cancelled, a.owed, a.lapsed, a.shortfall, a.returned, a.money_minor, a.currency, a.code, a.detail, a.late
FROM unnest(
    :request_ids::uuid[], :answer_event_ids::uuid[], :kinds::text[], :redemption_ids::uuid[], :parts::int[],
    :wallet_ids::uuid[], :programmes::text[], :reverseds::bigint[], :hold_cancelleds::bigint[], :oweds::bigint[],
    :lapseds::bigint[], :shortfalls::bigint[], :returneds::bigint[], :money_minors::bigint[], :currencies::text[], :codes::text[],
    :details::text[], :lates::boolean[]
) AS a (
    request_id, answer_event_id, kind, redemption_id, parts, wallet_id, programme, reversed, hold_cancelled, owed, lapsed, shortfall,
    returned, money_minor, currency, code, detail, late
)
ORDER BY a.request_id, a.answer_event_id
ON CONFLICT DO NOTHING;

-- name: overdue_refunds
-- Refunds in flight with a request that was told last before :asked_before, and not answered.
SELECT DISTINCT r.refund_id, r.bill_id
FROM refunds AS r
JOIN refund_requests AS q ON q.refund_id = r.refund_id
WHERE r.status = 'pending'
    AND (SELECT count(DISTINCT coalesce(a.redemption_id, a.request_id)) FROM refund_answers AS a WHERE a.request_id = q.request_id AND NOT a.late)
    < coalesce((SELECT max(a.parts) FROM refund_answers AS a WHERE a.request_id = q.request_id AND NOT a.late), 1)
    AND (SELECT max(k.asked_at) FROM refund_asks AS k WHERE k.request_id = q.request_id) < :asked_before
ORDER BY r.refund_id
LIMIT 500;

-- name: owed_refunds$
-- How many refunds in flight have a request that was told first before :asked_before, and is not answered however often it was
-- told since.
SELECT count(DISTINCT r.refund_id)
FROM refunds AS r
JOIN refund_requests AS q ON q.refund_id = r.refund_id
WHERE r.status = 'pending'
    AND (SELECT count(DISTINCT coalesce(a.redemption_id, a.request_id)) FROM refund_answers AS a WHERE a.request_id = q.request_id AND NOT a.late)
    < coalesce((SELECT max(a.parts) FROM refund_answers AS a WHERE a.request_id = q.request_id AND NOT a.late), 1)
    AND (SELECT min(k.asked_at) FROM refund_asks AS k WHERE k.request_id = q.request_id) < :asked_before;

-- name: asked_last
-- When each request of these refunds was told last, and how often.
SELECT q.request_id, max(k.asked_at) AS asked_at, count(*) AS times
FROM refund_requests AS q
JOIN refund_asks AS k ON k.request_id = q.request_id
WHERE q.refund_id = ANY(:refund_ids::uuid[])
GROUP BY q.request_id;

-- ---------------------------------------------------------------- refunds that are not closed

-- name: arrived_refunds
-- Refunds that waited for their bill, which is there now, and judged.
SELECT r.refund_id, r.merchant, r.bill_ref
FROM refunds AS r
JOIN bill_keys AS k ON k.merchant = r.merchant AND k.bill_ref = r.bill_ref
LEFT JOIN waiting AS w ON w.bill_id = k.bill_id
WHERE r.status = 'waiting_for_bill' AND w.bill_id IS NULL
ORDER BY r.refund_id
LIMIT 200;

-- name: stranded_refunds
-- Refunds that wait for another one of their bill, while none is in flight. There are none, unless something is wrong.
SELECT r.refund_id, r.bill_id
FROM refunds AS r
WHERE r.status = 'queued'
    AND NOT EXISTS (SELECT FROM refunds AS p WHERE p.bill_id = r.bill_id AND p.status = 'pending')
ORDER BY r.refund_id
LIMIT 200;

-- name: open_refunds
-- How many refunds are not closed, by status.
SELECT r.status, count(*) AS n
FROM refunds AS r
WHERE r.status IN ('waiting_for_bill', 'queued', 'pending')
GROUP BY r.status;

-- name: open_page
-- A page of refunds that are not closed, oldest first, each with when its bank was asked last, and how often.
SELECT
    r.refund_id, r.merchant, r.refund_ref, r.bill_ref, r.bill_id, r.status, r.recorded_at, k.asked_at, coalesce(k.times, 0) AS times
FROM refunds AS r
LEFT JOIN LATERAL (
    SELECT max(a.asked_at) AS asked_at, count(*) AS times
    FROM refund_requests AS q
    JOIN refund_asks AS a ON a.request_id = q.request_id
    WHERE q.refund_id = r.refund_id
) AS k ON true
WHERE r.status IN ('waiting_for_bill', 'queued', 'pending') AND (:after::uuid IS NULL OR r.refund_id > :after)
    AND (:merchant::text IS NULL OR r.merchant = :merchant)
ORDER BY r.refund_id
LIMIT :most;

-- name: closed_refunds
-- Those of these refunds that are closed.
SELECT refund_id
FROM refunds
WHERE refund_id = ANY(:refund_ids::uuid[]) AND status IN ('completed', 'refused');
