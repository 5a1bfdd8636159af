-- What a simulation reads, as the tenant's auditor: bills with what was decided about them, and nothing else.

-- name: draft$
-- A version of a programme, draft or not.
SELECT v.document::text FROM members.programme_versions AS v WHERE v.programme = :programme AND v.version = :version;

-- name: bills_between$
-- How many bills of members happened in a time.
SELECT count(*)
FROM earn.bills AS b
WHERE b.identity IS NOT NULL AND b.occurred_at >= :from_at AND b.occurred_at < :to_at;

-- name: bills
-- The bills of members that happened in a time, in that order, with the last decision about each and the brand of its merchant.
SELECT
    b.bill_id, b.merchant, b.bill_ref, b.terminal, b.cashier, b.channel, b.occurred_at, b.currency, b.total_minor, b.identity_kind,
    b.identity, b.lines::text AS lines, b.tenders::text AS tenders, b.effects_applied::text AS effects_applied,
    d.decision::text AS decision, m.brand
FROM earn.bills AS b
JOIN LATERAL (
    SELECT x.decision
    FROM earn.decisions AS x
    WHERE x.bill_id = b.bill_id AND x.recorded_at >= b.recorded_at - interval '1 hour'
    ORDER BY x.n DESC
    LIMIT 1
) AS d ON true
LEFT JOIN earn.merchants AS m ON m.merchant = b.merchant
WHERE b.identity IS NOT NULL AND b.occurred_at >= :from_at AND b.occurred_at < :to_at
ORDER BY b.occurred_at, b.bill_id;

-- name: activity
-- What the members of these wallets had done before these bills were recorded: bills judged, when the last of them happened, and since
-- when they take part.
SELECT w.wallet_id, past.bills, latest.occurred_at AS last_bill_at, m.enrolled_at
FROM unnest(:wallet_ids::uuid[], :before::uuid[]) AS a (wallet_id, bill_id)
JOIN earn.wallets AS w ON w.wallet_id = a.wallet_id
LEFT JOIN earn.members AS m ON m.member_id = w.member_id
CROSS JOIN LATERAL (
    SELECT count(DISTINCT x.bill_id) AS bills, max(x.bill_id::text) AS last_bill
    FROM earn.accruals AS x
    WHERE x.wallet_id = a.wallet_id AND x.bill_id < a.bill_id
) AS past
LEFT JOIN earn.bills AS latest ON latest.bill_id = past.last_bill::uuid;

-- name: acts
-- What acts gave in a programme in a time, its end included, in the order in which they happened.
SELECT c.wallet_id, a.occurred_at, c.points
FROM earn.acts AS a
JOIN earn.act_accruals AS c ON c.act_id = a.act_id
JOIN earn.wallets AS w ON w.wallet_id = c.wallet_id
WHERE w.programme = :programme AND a.occurred_at >= :from_at AND a.occurred_at <= :through
ORDER BY a.occurred_at, c.accrual_id;

-- name: stays
-- When these members are in which segment, as earn was told last.
SELECT DISTINCT ON (s.member_id, s.segment, s.from_at) s.member_id, s.segment, s.from_at, s.until_at
FROM earn.segment_stays AS s
WHERE s.member_id = ANY(:member_ids::uuid[])
ORDER BY s.member_id, s.segment, s.from_at, s.sequence DESC;

-- name: wrote$
-- The transaction's id: one that wrote nothing has none.
SELECT pg_current_xact_id_if_assigned()::text;
