-- What a till's journal is held against.

-- name: bills
-- These bills.
SELECT
    b.bill_id::text AS bill_id, b.merchant, b.bill_ref, b.terminal, b.cashier, b.channel, b.occurred_at, b.currency,
    b.total_minor, b.identity_kind, b.programmes, b.lines::text AS lines, b.recorded_event_id::text AS recorded_event_id
FROM unnest($1::uuid[]) AS u (bill_id)
JOIN earn.bills AS b ON b.bill_id = u.bill_id;

-- name: decisions
-- The decisions about these bills.
SELECT d.bill_id::text AS bill_id, d.n, d.status, d.decision::text AS decision
FROM unnest($1::uuid[]) AS u (bill_id)
JOIN earn.decisions AS d ON d.bill_id = u.bill_id;

-- name: rejections
-- Rejections that were told under these event ids.
SELECT r.event_id::text AS event_id, r.code
FROM earn.rejections AS r
WHERE r.event_id = ANY($1::uuid[]);

-- name: refunds
-- These refunds.
SELECT
    r.refund_id::text AS refund_id, r.source, r.event_id, r.merchant, r.refund_ref, r.bill_ref, r.terminal, r.cashier, r.channel,
    r.occurred_at, r.currency, r.asked::text AS asked, r.told_status, r.status, r.bill_id::text AS bill_id, r.refunded_minor
FROM earn.refunds AS r
WHERE r.refund_id = ANY($1::uuid[]);

-- name: refund_points
-- What these refunds have moved, by wallet: at once, and by now with what came late.
SELECT
    q.refund_id::text AS refund_id, coalesce(a.wallet_id, q.wallet_id)::text AS wallet_id,
    coalesce(sum(a.reversed) FILTER (WHERE NOT a.late), 0)::bigint AS reversed, sum(a.reversed)::bigint AS reversed_by_now,
    coalesce(sum(a.hold_cancelled) FILTER (WHERE NOT a.late), 0)::bigint AS hold_cancelled,
    sum(a.hold_cancelled)::bigint AS hold_cancelled_by_now,
    coalesce(sum(a.returned) FILTER (WHERE NOT a.late), 0)::bigint AS returned, sum(a.returned)::bigint AS returned_by_now,
    coalesce(sum(a.shortfall) FILTER (WHERE NOT a.late), 0)::bigint AS shortfall,
    (sum(a.shortfall) - coalesce(sum(a.reversed) FILTER (WHERE a.late), 0))::bigint AS shortfall_by_now,
    coalesce(sum(a.owed) FILTER (WHERE NOT a.late), 0)::bigint AS owed, sum(a.owed)::bigint AS owed_by_now,
    coalesce(sum(a.lapsed) FILTER (WHERE NOT a.late), 0)::bigint AS lapsed, sum(a.lapsed)::bigint AS lapsed_by_now
FROM earn.refund_requests AS q
JOIN earn.refund_answers AS a ON a.request_id = q.request_id
WHERE q.refund_id = ANY($1::uuid[]) AND coalesce(a.wallet_id, q.wallet_id) IS NOT NULL
GROUP BY 1, 2;

-- name: redemptions
-- These redemptions, with what the ledger says of each.
SELECT
    r.redemption_id::text AS redemption_id, r.wallet_id::text AS wallet_id, r.status, r.points, r.money_minor,
    (
        SELECT coalesce(sum(l.points), 0)::bigint
        FROM redeem.ledger AS l
        WHERE l.wallet_id = r.wallet_id AND l.kind = 'redeem' AND l.source_id = r.redemption_id
    ) AS posted
FROM redeem.redemptions AS r
WHERE r.redemption_id = ANY($1::uuid[]);

-- name: ends
-- How these reservations ended, if they have.
SELECT
    s.redemption_id::text AS redemption_id, s.ended, s.captured_points AS captured, s.points - s.captured_points AS given_back
FROM redeem.reservations AS s
WHERE s.redemption_id = ANY($1::uuid[]);

-- name: versions
-- Every version of these programmes.
SELECT v.programme, v.version, v.status
FROM members.programme_versions AS v
WHERE v.programme = ANY($1::text[]);

-- name: members
-- These members, with their wallets and cards.
SELECT
    m.member_id::text AS member_id, w.programme, w.wallet_id::text AS wallet_id, c.card_number
FROM members.members AS m
LEFT JOIN members.wallets AS w ON w.member_id = m.member_id
LEFT JOIN members.cards AS c ON c.wallet_id = w.wallet_id
WHERE m.member_id = ANY($1::uuid[]);

-- name: dead_letters
-- Those of these entries that died, and how often.
SELECT d.entry_id, count(*) AS n
FROM earn.dead_letters AS d
WHERE d.stream = 'pos' AND d.entry_id = ANY($1::text[])
GROUP BY d.entry_id;

-- name: keys
-- What is kept under these idempotency keys, whoever used them.
SELECT 'earn' AS service, i.route, i.key, i.status, i.body
FROM earn.idempotency AS i
WHERE i.key = ANY($1::text[])
UNION ALL
SELECT 'redeem' AS service, i.route, i.key, i.status, i.body
FROM redeem.idempotency AS i
WHERE i.key = ANY($1::text[]);

-- name: refunds_by_ref
-- The refunds of these references.
SELECT r.refund_id::text AS id, r.merchant, r.refund_ref AS ref, r.terminal, NULL::bigint AS points
FROM unnest($1::text[], $2::text[]) AS u (merchant, ref)
JOIN earn.refund_keys AS k ON k.merchant = u.merchant AND k.refund_ref = u.ref
JOIN earn.refunds AS r ON r.refund_id = k.refund_id;

-- name: redemptions_by_bill
-- What was spent for these bills.
SELECT DISTINCT r.redemption_id::text AS id, r.merchant, r.bill_ref AS ref, r.terminal, r.points
FROM unnest($1::text[], $2::text[]) AS u (merchant, ref)
JOIN redeem.redemptions AS r ON r.merchant = u.merchant AND r.bill_ref = u.ref;
