-- What earn keeps of bills.

-- name: bills
-- Every bill with its key, the till's id that it came under, whether it waits, and whom its identity names.
SELECT
    coalesce(b.bill_id, k.bill_id)::text AS id, b.bill_id IS NOT NULL AS has_bill, b.recorded_at, b.merchant, b.bill_ref,
    b.terminal, b.cashier, b.channel, b.occurred_at, b.currency, b.total_minor, b.identity_kind,
    encode(b.identity, 'hex') AS identity, b.programmes, b.lines::text AS lines,
    b.tenders::text AS tenders, b.effects_applied::text AS effects_applied, b.recorded_event_id::text AS recorded_event_id, b.stream_id, b.source, b.event_id, k.merchant AS key_merchant,
    k.bill_ref AS key_ref, k.content_hash, k.recorded_at AS key_recorded_at, p.content_hash AS pos_hash,
    t.listeners::text AS listeners, w.n AS waiting_n, w.sequence AS waiting_sequence, w.unclaimed, i.member_id::text AS member_id
FROM earn.bills AS b
FULL JOIN earn.bill_keys AS k ON k.bill_id = b.bill_id
LEFT JOIN earn.pos_events AS p ON p.source = b.source AND p.event_id = b.event_id
LEFT JOIN (
    SELECT l.subject_id, o.content_hash, json_agg(json_build_array(l.stream_id, l.source, l.event_id) ORDER BY l.n) AS listeners
    FROM earn.listeners AS l
    JOIN earn.pos_events AS o ON o.source = l.source AND o.event_id = l.event_id
    GROUP BY l.subject_id, o.content_hash
) AS t ON t.subject_id = b.bill_id AND t.content_hash = k.content_hash
LEFT JOIN earn.waiting AS w ON w.bill_id = b.bill_id
LEFT JOIN earn.identities AS i ON i.identity = b.identity
ORDER BY coalesce(b.bill_id, k.bill_id);

-- name: decisions
-- Every decision, in the order of their bills.
SELECT
    d.bill_id::text AS id, d.n, d.status, d.decided_at, d.recorded_at, d.sequence, d.decision::text AS decision,
    s.event_id::text AS told_as, s.told
FROM earn.decisions AS d
LEFT JOIN earn.settled_events AS s ON s.subject_id = d.bill_id AND s.n = d.n
ORDER BY d.bill_id, d.n;

-- name: taken
-- What the bank answered that it took back of each accrual, debt included, in the order of their bills.
SELECT t.bill_id::text AS id, t.accrual_id::text AS accrual_id, sum(t.points)::bigint AS points
FROM (
    SELECT q.bill_id, q.accrual_id, a.reversed + a.hold_cancelled + a.owed AS points
    FROM earn.refund_answers AS a
    JOIN earn.refund_requests AS q ON q.request_id = a.request_id
    WHERE a.kind = 'reversed'
    UNION ALL
    SELECT v.bill_id, v.accrual_id, v.taken AS points
    FROM earn.reviews AS v
    WHERE v.taken IS NOT NULL
) AS t
GROUP BY t.bill_id, t.accrual_id
ORDER BY t.bill_id, t.accrual_id;

-- name: accruals
-- What earn keeps of each bill's worth.
SELECT a.accrual_id::text AS accrual_id, a.bill_id::text AS bill_id, a.wallet_id::text AS wallet_id, a.kind, a.points
FROM earn.accruals AS a;

-- name: rejections
-- What was told of entries that could not be taken.
SELECT
    r.event_id::text AS event_id, r.subject, r.sequence, r.code, r.data
FROM earn.rejections AS r;

-- name: standings
-- The standings that decisions say they used, as earn heard them.
SELECT t.wallet_id::text AS wallet_id, t.sequence, t.tier, t.event_id::text AS event_id, t.effective_at, t.until
FROM unnest($1::uuid[], $2::bigint[]) AS u (wallet_id, sequence)
JOIN earn.tier_history AS t ON t.wallet_id = u.wallet_id AND t.sequence = u.sequence;

-- name: birth_months
-- In which month these members were born, as far as earn heard it.
SELECT m.member_id::text AS member_id, m.birth_month
FROM earn.members AS m
WHERE m.member_id = ANY($1::uuid[]) AND m.birth_month IS NOT NULL;

-- name: budgets
-- What earn counted of each campaign's budget.
SELECT b.programme, b.campaign, b.decided, b.given_back
FROM earn.budgets AS b
WHERE b.decided > 0 OR b.given_back > 0;

-- name: caps
-- What earn counted of each member's caps.
SELECT c.wallet_id::text AS wallet_id, c.campaign, c.period, c.since, c.decided, c.given_back, w.programme
FROM earn.caps AS c
LEFT JOIN earn.wallets AS w ON w.wallet_id = c.wallet_id
WHERE c.decided > 0 OR c.given_back > 0;

-- name: counted_twice
-- Ids of tills that more than one bill was recorded under.
SELECT b.source, b.event_id, count(*) AS bills
FROM earn.bills AS b
WHERE b.source IS NOT NULL
GROUP BY b.source, b.event_id
HAVING count(*) > 1
LIMIT 100;

-- name: from_tills
-- How many bills came from tills.
SELECT count(*) FROM earn.bills AS b WHERE b.source IS NOT NULL;
