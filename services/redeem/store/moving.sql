-- What redeem asks of its tables to move points that nobody spends: requests of earn, expiry, notices. The search path is its
-- schema.

-- ---------------------------------------------------------------- what earn asks

-- name: claim_asked
-- The requests that were never made before, from now on kept.
INSERT INTO asked (request_id, kind, accrual_id, through, said, cause, trace, traceparent)
SELECT
    a.request_id,
    a.kind,
    a.accrual_id,
    a.through,
    a.said::jsonb,
    a.cause,
    a.trace,
    a.traceparent
FROM unnest(
    :request_ids::uuid[], :kinds::text[], :accrual_ids::uuid[], :throughs::bigint[], :saids::text[], :causes::text[],
    :traces::text[], :traceparents::text[]
) AS a (request_id, kind, accrual_id, through, said, cause, trace, traceparent)
ORDER BY a.request_id
ON CONFLICT DO NOTHING
RETURNING request_id;

-- name: known_asked
-- What was asked under these ids.
SELECT
    request_id,
    kind,
    accrual_id,
    through
FROM asked
WHERE request_id = ANY(:request_ids::uuid[]);

-- name: lock_asked
-- Those of these requests that wait still.
SELECT
    request_id,
    kind,
    said::text AS said,
    cause,
    trace,
    traceparent
FROM asked
WHERE request_id = ANY(:request_ids::uuid[]) AND state = 'waiting'
ORDER BY request_id
FOR NO KEY UPDATE;

-- name: ready_asked
-- Some of the requests that wait for what is there by now.
SELECT a.request_id
FROM asked AS a
WHERE a.state = 'waiting'
    AND EXISTS (SELECT FROM postings AS p WHERE p.posting_id = a.accrual_id)
    AND (a.kind = 'reverse' OR EXISTS (SELECT FROM programmes AS v WHERE v.programme = a.said ->> 'programme'))
ORDER BY a.request_id
LIMIT 500;

-- name: any_waits$
-- Whether any request waits.
SELECT EXISTS (SELECT FROM asked AS a WHERE a.state = 'waiting');

-- name: accruals_asked
-- Accruals that were posted: how many points, and the wallet that answers for them now, through every merge.
SELECT
    p.posting_id AS accrual_id,
    p.kind::text AS kind,
    p.points,
    coalesce(h.heir, p.wallet_id) AS wallet_id
FROM postings AS p
LEFT JOIN heirs AS h ON p.wallet_id = h.wallet_id
WHERE p.posting_id = ANY(:accrual_ids::uuid[]);

-- name: accrual_lots
-- The lots of accruals, and those that a merge or a renewing return made of them; never those that were given away. The lines of a posting are looked for
-- where they were written: in its wallet, on the day on which its id was taken.
WITH RECURSIVE own AS (
    SELECT
        p.posting_id AS of_accrual,
        l.lot_id,
        l.wallet_id,
        l.accrual_id,
        l.source_id,
        l.earned_at,
        l.expires_at,
        l.points,
        l.remaining,
        l.held,
        l.reserved,
        l.parent_lot,
        l.given,
        l.expired,
        l.reversed,
        l.owed
    FROM postings AS p
    JOIN ledger AS e
        ON p.wallet_id = e.wallet_id
        AND p.posting_id = e.posting_id
        AND e.posted_at BETWEEN p.recorded_at - interval '1 day' AND p.recorded_at + interval '1 day'
    JOIN lots AS l ON e.lot_id = l.lot_id
    WHERE p.posting_id = ANY(:accrual_ids::uuid[]) AND p.kind IN ('earn', 'earn_held', 'opening')
    UNION ALL
    SELECT
        o.of_accrual,
        l.lot_id,
        l.wallet_id,
        l.accrual_id,
        l.source_id,
        l.earned_at,
        l.expires_at,
        l.points,
        l.remaining,
        l.held,
        l.reserved,
        l.parent_lot,
        l.given,
        l.expired,
        l.reversed,
        l.owed
    FROM own AS o
    JOIN lots AS l ON o.lot_id = l.parent_lot AND NOT l.given
)

SELECT
    o.of_accrual,
    o.lot_id,
    o.wallet_id,
    o.accrual_id,
    o.source_id,
    o.earned_at,
    o.expires_at,
    o.points,
    o.remaining,
    o.held,
    o.reserved,
    o.parent_lot,
    o.given,
    o.expired,
    o.reversed,
    o.owed
FROM own AS o;

-- name: accruals_settled
-- What earlier requests about these accruals came to.
SELECT
    accrual_id,
    sum(released)::bigint AS released,
    sum(cancelled + reversed + owed + lapsed + shortfall)::bigint AS settled,
    sum(lapsed)::bigint AS lapsed,
    (
        sum(shortfall) - coalesce((SELECT sum(r.points) FROM recoveries AS r WHERE r.accrual_id = asked.accrual_id), 0)
    )::bigint AS shortfall
FROM asked
WHERE accrual_id = ANY(:accrual_ids::uuid[]) AND state = 'done'
GROUP BY accrual_id;

-- name: short_lots
-- Of the accruals that these lots come from, and whose lots they still are, those of which a reversal was short: how many points
-- are short still, what was ever taken back, the last request that was short, and when it was earned. Under their wallets' locks.
WITH RECURSIVE up AS (
    SELECT
        l.lot_id AS of_lot,
        l.accrual_id,
        l.parent_lot,
        l.given,
        l.earned_at
    FROM lots AS l
    WHERE l.lot_id = ANY(:lot_ids::uuid[])
    UNION ALL
    SELECT
        u.of_lot,
        l.accrual_id,
        l.parent_lot,
        l.given,
        l.earned_at
    FROM up AS u
    JOIN lots AS l ON u.parent_lot = l.lot_id
    WHERE NOT u.given
)

SELECT
    u.of_lot,
    u.accrual_id,
    s.short - s.recovered AS points,
    s.taken + s.recovered AS taken,
    s.said,
    u.earned_at
FROM up AS u
CROSS JOIN LATERAL (
    SELECT
        sum(a.shortfall)::bigint AS short,
        sum(a.cancelled + a.reversed + a.owed)::bigint AS taken,
        (SELECT coalesce(sum(r.points), 0)::bigint FROM recoveries AS r WHERE r.accrual_id = u.accrual_id) AS recovered,
        (array_agg(a.said ORDER BY a.through DESC, a.request_id) FILTER (WHERE a.shortfall > 0))[1] AS said
    FROM asked AS a
    WHERE a.accrual_id = u.accrual_id AND a.kind = 'reverse' AND a.state = 'done'
) AS s
WHERE s.short > s.recovered;

-- name: write_recoveries!
-- What was taken back of points that came back, and for which request that had been short.
INSERT INTO recoveries (posting_id, request_id, accrual_id, wallet_id, points)
SELECT
    t.posting_id,
    t.request_id,
    t.accrual_id,
    t.wallet_id,
    t.points
FROM unnest(:posting_ids::uuid[], :request_ids::uuid[], :accrual_ids::uuid[], :wallet_ids::uuid[], :points::bigint[])
    AS t (posting_id, request_id, accrual_id, wallet_id, points)
ORDER BY t.posting_id;

-- name: settle_asked!
-- What these requests came to.
UPDATE asked AS a
SET
    state = s.state,
    wallet_id = s.wallet_id,
    posting_id = s.posting_id,
    released = s.released,
    cancelled = s.cancelled,
    reversed = s.reversed,
    owed = s.owed,
    lapsed = s.lapsed,
    shortfall = s.shortfall
FROM unnest(
    :request_ids::uuid[], :states::text[], :wallet_ids::uuid[], :posting_ids::uuid[], :releaseds::bigint[],
    :cancelleds::bigint[], :reverseds::bigint[], :oweds::bigint[], :lapseds::bigint[], :shortfalls::bigint[]
) AS s (request_id, state, wallet_id, posting_id, released, cancelled, reversed, owed, lapsed, shortfall)
WHERE a.request_id = s.request_id;

-- ---------------------------------------------------------------- what is due

-- name: last_activity
-- When the members of these wallets were last active.
SELECT
    wallet_id,
    last_active_at
FROM wallets
WHERE wallet_id = ANY(:wallet_ids::uuid[]);

-- name: open_lots
-- All open lots of these wallets. The columns are the first ones of domain.ledger.Lot, in its order.
SELECT
    lot_id,
    wallet_id,
    accrual_id,
    source_id,
    earned_at,
    expires_at,
    points,
    remaining,
    held,
    reserved
FROM lots
WHERE wallet_id = ANY(:wallet_ids::uuid[]) AND open
ORDER BY wallet_id, earned_at, lot_id;

-- name: due_lots
-- The open lots of these wallets that are past their expiry; columns as in open_lots.
SELECT
    lot_id,
    wallet_id,
    accrual_id,
    source_id,
    earned_at,
    expires_at,
    points,
    remaining,
    held,
    reserved
FROM lots
WHERE wallet_id = ANY(:wallet_ids::uuid[]) AND open AND expires_at <= :now
ORDER BY wallet_id, earned_at, lot_id;

-- name: expiring_lots
-- The open lots of these wallets that expire after the one moment and not after the other; columns as in open_lots.
SELECT
    lot_id,
    wallet_id,
    accrual_id,
    source_id,
    earned_at,
    expires_at,
    points,
    remaining,
    held,
    reserved
FROM lots
WHERE wallet_id = ANY(:wallet_ids::uuid[]) AND open AND expires_at > :now AND expires_at <= :until
ORDER BY wallet_id, earned_at, lot_id;

-- name: lots_by_id
-- These lots, with what became of them. The columns are the first ones of domain.ledger.Lot, in its order.
SELECT
    lot_id,
    wallet_id,
    accrual_id,
    source_id,
    earned_at,
    expires_at,
    points,
    remaining,
    held,
    reserved,
    parent_lot,
    given,
    expired,
    reversed,
    owed
FROM lots
WHERE lot_id = ANY(:lot_ids::uuid[]);

-- name: see_wallets
-- Wallets without a lock. The columns are those of domain.ledger.Wallet, in its order.
SELECT
    wallet_id,
    programme,
    member_id,
    clock_timestamp() AS clock,
    status,
    issued,
    held,
    available,
    reserved,
    redeemed,
    expired,
    reversed,
    transferred,
    adjusted,
    debt,
    seq,
    event_sequence,
    head,
    last_posted_at,
    last_active_at
FROM wallets
WHERE wallet_id = ANY(:wallet_ids::uuid[])
ORDER BY wallet_id;

-- name: due_page
-- Lots that are past their expiry, in its order, from after a place in it (nulls: from the beginning).
SELECT
    lot_id,
    wallet_id,
    expires_at
FROM lots
WHERE open AND expires_at IS NOT NULL AND expires_at <= :now
    AND (expires_at, lot_id) > (
        coalesce(:after_at::timestamptz, '-infinity'), coalesce(:after_lot::uuid, '00000000-0000-0000-0000-000000000000')
    )
ORDER BY expires_at, lot_id
LIMIT :most;

-- name: idle_page
-- The next wallets by their ids, and which of them are of these programmes, have points and were not active since a moment.
SELECT
    w.wallet_id,
    (
        w.programme = ANY(:programmes::text[]) AND (w.available > 0 OR w.held > 0) AND w.last_active_at < :before
    ) IS TRUE AS idle
FROM wallets AS w
WHERE w.wallet_id > :after
ORDER BY w.wallet_id
LIMIT :most;

-- name: untold_page
-- Lots of a programme that expire after the one moment and not after the other, in that order, from after a place in it, of which
-- nobody was told so many days before: neither for their wallet nor for one that was merged into it.
SELECT
    l.lot_id,
    l.wallet_id,
    l.expires_at
FROM lots AS l
JOIN wallets AS w ON l.wallet_id = w.wallet_id
WHERE l.open AND l.expires_at IS NOT NULL AND l.expires_at > :now AND l.expires_at <= :until
    AND (l.expires_at, l.lot_id) > (
        coalesce(:after_at::timestamptz, '-infinity'), coalesce(:after_lot::uuid, '00000000-0000-0000-0000-000000000000')
    )
    AND l.remaining > l.held + l.reserved
    AND w.programme = :programme
    AND NOT EXISTS (
        SELECT FROM notices AS n
        WHERE
            n.wallet_id = ANY(l.wallet_id || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = l.wallet_id))
            AND n.expires_at = l.expires_at AND n.days = :days
    )
ORDER BY l.expires_at, l.lot_id
LIMIT :most;

-- name: told_of
-- What was told of these wallets' points that have not expired yet, to them or to what was merged into them; by its heir.
SELECT
    coalesce(o.heir, n.wallet_id) AS wallet_id,
    n.expires_at,
    n.days
FROM notices AS n
LEFT JOIN heirs AS o ON n.wallet_id = o.wallet_id
WHERE
    n.wallet_id = ANY(:wallet_ids::uuid[] || ARRAY(SELECT h.wallet_id FROM heirs AS h WHERE h.heir = ANY(:wallet_ids::uuid[])))
    AND n.expires_at > :now;

-- name: keep_told!
-- That members were told. A key that is there already fails the batch: it is only written under its wallet's lock.
INSERT INTO notices (wallet_id, expires_at, days, points)
SELECT
    t.wallet_id,
    t.expires_at,
    t.days,
    t.points
FROM unnest(:wallet_ids::uuid[], :expires_ats::timestamptz[], :days::integer[], :points::bigint[])
    AS t (wallet_id, expires_at, days, points);
