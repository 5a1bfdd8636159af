-- Tills that can't ask. The search path is the service's schema.

-- name: standing_allowances
-- The newest allowance with something left that holds now, of each of these wallets at its terminal. Under their locks.
SELECT DISTINCT ON (w.wallet_id, w.merchant, w.terminal)
    w.allowance_id, w.wallet_id, w.programme, w.programme_version, w.merchant, w.terminal, w.points, w.used_points, w.issued_at,
    w.expires_at, w.report_until
FROM unnest(:wallet_ids::uuid[], :merchants::text[], :terminals::text[]) AS a (wallet_id, merchant, terminal)
JOIN allowances AS w ON a.wallet_id = w.wallet_id AND a.merchant = w.merchant AND a.terminal = w.terminal
WHERE w.expires_at > :now::timestamptz AND w.used_points < w.points
ORDER BY w.wallet_id, w.merchant, w.terminal, w.expires_at DESC;

-- name: allowances_by_id
-- Allowances, as they stand.
SELECT
    w.allowance_id, w.wallet_id, w.programme, w.programme_version, w.merchant, w.terminal, w.points, w.used_points, w.issued_at,
    w.expires_at, w.report_until
FROM allowances AS w
WHERE w.allowance_id = ANY(:allowance_ids::uuid[]);

-- name: uses_of
-- What was reported before of these allowances under these references, with what it came to and what has come back of it.
SELECT
    o.allowance_id, o.redemption_ref, o.content_hash, o.redemption_id, r.points, o.overdrawn_points, o.wallet_blocked,
    r.returned_points, r.returned_minor
FROM unnest(:allowance_ids::uuid[], :redemption_refs::text[]) AS a (allowance_id, redemption_ref)
JOIN offline_redemptions AS o ON a.allowance_id = o.allowance_id AND a.redemption_ref = o.redemption_ref
JOIN redemptions AS r ON o.redemption_id = r.redemption_id;

-- name: went_since
-- What was usable of these wallets' lots, and expired after a moment: how much of each lot at each moment, in that order, less what was
-- brought back as of that moment. Not what expired as it came back, of a void or a return: it was not there before. The lines of
-- wallets that were merged into these count too. Nothing was written before it happened, by more than clocks differ: only months since
-- then are read.
SELECT
    t.wallet_id,
    t.lot_id,
    l.effective_at,
    sum(CASE l.kind WHEN 'expire' THEN l.points ELSE -l.points END)::bigint AS points
FROM ledger AS l
JOIN lots AS t ON l.lot_id = t.lot_id
WHERE
    l.wallet_id = ANY(:wallet_ids::uuid[] || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = ANY(:wallet_ids::uuid[])))
    AND l.posted_at > :since::timestamptz - interval '1 hour'
    AND l.effective_at > :since
    AND (
        l.kind = 'reinstate'
        OR (
            l.kind = 'expire' AND l.from_bucket = 'available'
            AND NOT EXISTS (
                SELECT FROM ledger AS b
                WHERE
                    b.wallet_id = l.wallet_id AND b.lot_id = l.lot_id AND b.kind IN ('void', 'return')
                    AND b.effective_at = l.effective_at AND b.posted_at > :since::timestamptz - interval '1 hour'
            )
        )
    )
GROUP BY t.wallet_id, t.lot_id, l.effective_at
HAVING sum(CASE l.kind WHEN 'expire' THEN l.points ELSE -l.points END) > 0
ORDER BY l.effective_at, t.lot_id;

-- name: lapsed_of_lots
-- Of the accruals that these lots come from, and whose lots they still are, those of which a refund found something over: how much.
WITH RECURSIVE up AS (
    SELECT
        l.lot_id AS of_lot,
        l.accrual_id,
        l.parent_lot,
        l.given
    FROM lots AS l
    WHERE l.lot_id = ANY(:lot_ids::uuid[])
    UNION ALL
    SELECT
        u.of_lot,
        l.accrual_id,
        l.parent_lot,
        l.given
    FROM up AS u
    JOIN lots AS l ON u.parent_lot = l.lot_id
    WHERE NOT u.given
)

SELECT
    u.of_lot,
    u.accrual_id,
    sum(a.lapsed)::bigint AS lapsed
FROM up AS u
JOIN asked AS a ON u.accrual_id = a.accrual_id
WHERE a.state = 'done' AND a.lapsed > 0
GROUP BY u.of_lot, u.accrual_id;

-- name: give_allowances!
-- New allowances.
INSERT INTO allowances (
    allowance_id, wallet_id, programme, programme_version, merchant, terminal, points, used_points, issued_at, expires_at, report_until
)
SELECT
    t.allowance_id, t.wallet_id, t.programme, t.programme_version, t.merchant, t.terminal, t.points, t.used_points, t.issued_at,
    t.expires_at, t.report_until
FROM unnest(
    :allowance_ids::uuid[], :wallet_ids::uuid[], :programmes::text[], :programme_versions::integer[], :merchants::text[],
    :terminals::text[], :points::bigint[], :used_points::bigint[], :issued_ats::timestamptz[], :expires_ats::timestamptz[],
    :report_untils::timestamptz[]
) AS t (
    allowance_id, wallet_id, programme, programme_version, merchant, terminal, points, used_points, issued_at, expires_at, report_until
);

-- name: keep_uses!
-- Redemptions that were spent on allowances, and what that leaves of these. Under their wallets' locks.
WITH used AS (
    UPDATE allowances AS w
    SET used_points = t.used_points
    FROM unnest(:used_allowances::uuid[], :used_points::bigint[]) AS t (allowance_id, used_points)
    WHERE w.allowance_id = t.allowance_id
),

made AS (
    INSERT INTO redemptions (
        redemption_id, posting_id, wallet_id, programme, programme_version, status, points, money_minor, merchant, terminal,
        cashier, channel, bill_ref, effective_at
    )
    SELECT
        t.redemption_id, t.posting_id, t.wallet_id, t.programme, t.programme_version, 'captured', t.points, t.money_minor,
        t.merchant, t.terminal, t.cashier, t.channel, t.bill_ref, t.effective_at
    FROM unnest(
        :redemption_ids::uuid[], :redemption_postings::uuid[], :redemption_wallets::uuid[],
        :redemption_programmes::text[], :redemption_versions::integer[], :redemption_points::bigint[],
        :redemption_money::bigint[], :redemption_merchants::text[], :redemption_terminals::text[],
        :redemption_cashiers::text[], :redemption_channels::text[], :redemption_bills::text[],
        :redemption_ats::timestamptz[]
    ) AS t (
        redemption_id, posting_id, wallet_id, programme, programme_version, points, money_minor, merchant, terminal,
        cashier, channel, bill_ref, effective_at
    )
)

INSERT INTO offline_redemptions (redemption_id, allowance_id, redemption_ref, content_hash, overdrawn_points, wallet_blocked, reported_at)
SELECT
    t.redemption_id,
    t.allowance_id,
    t.redemption_ref,
    t.content_hash,
    t.overdrawn_points,
    t.wallet_blocked,
    :reported_at::timestamptz
FROM unnest(
    :redemption_ids::uuid[], :use_allowances::uuid[], :use_refs::text[], :use_hashes::bytea[], :use_overdrawn::bigint[], :use_blocked::boolean[]
) AS t (redemption_id, allowance_id, redemption_ref, content_hash, overdrawn_points, wallet_blocked);
