-- What is owed to members: from lines, and not from the balances that they led to. The search path is redeem's schema.

-- name: plan_for_all^
-- The whole ledger is read: the keys that a service plans by are the longest way to it; and it may take its time.
SELECT
    set_config('statement_timeout', :patience_ms, true) AS patience,
    set_config('plan_cache_mode', 'force_custom_plan', true) AS plans,
    set_config('enable_seqscan', 'on', true) AS whole_tables,
    set_config('enable_hashjoin', 'on', true) AS hashes,
    set_config('enable_mergejoin', 'on', true) AS merges;

-- name: programmes
-- Every programme that was ever active, with the zone in which its days begin.
SELECT DISTINCT ON (p.programme) p.programme, p.document #>> '{programme,time_zone}' AS time_zone
FROM programmes AS p
WHERE :programme::text IS NULL OR p.programme = :programme
ORDER BY p.programme, p.version DESC;

-- name: clock$
-- PostgreSQL's, by which lines are posted.
SELECT clock_timestamp();

-- name: owed
-- Of each programme what was written before its moment (null: all of it) comes to, and what its version of then says that a point is
-- worth. One that was not active yet owed nothing. The ledgers are read once for all.
WITH asked AS (
    SELECT a.programme, a.before
    FROM unnest(:programmes::text[], :befores::timestamptz[]) AS a (programme, before)
),

points AS (
    SELECT
        a.programme,
        coalesce(sum(l.points) FILTER (WHERE l.to_bucket = 'available'), 0)::bigint
        - coalesce(sum(l.points) FILTER (WHERE l.from_bucket = 'available'), 0)::bigint AS available,
        coalesce(sum(l.points) FILTER (WHERE l.to_bucket = 'held'), 0)::bigint
        - coalesce(sum(l.points) FILTER (WHERE l.from_bucket = 'held'), 0)::bigint AS held,
        coalesce(sum(l.points) FILTER (WHERE l.to_bucket = 'reserved'), 0)::bigint
        - coalesce(sum(l.points) FILTER (WHERE l.from_bucket = 'reserved'), 0)::bigint AS reserved,
        coalesce(sum(l.points) FILTER (WHERE l.to_bucket = 'debt'), 0)::bigint
        - coalesce(sum(l.points) FILTER (WHERE l.from_bucket = 'debt'), 0)::bigint AS debt
    FROM asked AS a
    JOIN wallets AS w ON w.programme = a.programme
    JOIN ledger AS l ON l.wallet_id = w.wallet_id
    WHERE a.before IS NULL OR l.posted_at < a.before
    GROUP BY a.programme
),

cards AS (
    SELECT
        a.programme,
        coalesce(sum(l.amount_minor) FILTER (WHERE l.to_bucket = 'balance'), 0)::bigint
        - coalesce(sum(l.amount_minor) FILTER (WHERE l.from_bucket = 'balance'), 0)::bigint AS minor
    FROM asked AS a
    JOIN gift_cards AS g ON g.programme = a.programme
    JOIN gift_card_lines AS l ON l.card_id = g.card_id
    WHERE a.before IS NULL OR l.posted_at < a.before
    GROUP BY a.programme
),

promised AS (
    SELECT a.programme, coalesce(sum(x.unit_cost_minor), 0)::bigint AS minor
    FROM asked AS a
    JOIN benefits AS x ON x.programme = a.programme
    WHERE
        (a.before IS NULL OR x.issued_at < a.before)
        AND (
            coalesce(x.consumed_at, x.withdrawn_at, x.lapsed_at) IS NULL
            OR coalesce(x.consumed_at, x.withdrawn_at, x.lapsed_at) >= a.before
        )
    GROUP BY a.programme
)

SELECT
    a.programme, a.before, v.version, v.currency, v.point_value,
    coalesce(p.available, 0) AS available, coalesce(p.held, 0) AS held, coalesce(p.reserved, 0) AS reserved, coalesce(p.debt, 0) AS debt,
    coalesce(c.minor, 0) AS gift_cards_minor, coalesce(b.minor, 0) AS benefits_minor
FROM asked AS a
CROSS JOIN LATERAL (
    SELECT
        x.version, x.document #>> '{programme,currency}' AS currency, x.document #>> '{programme,point_value}' AS point_value
    FROM programmes AS x
    WHERE x.programme = a.programme
    ORDER BY (a.before IS NULL OR x.activated_at < a.before) DESC, x.version DESC
    LIMIT 1
) AS v
LEFT JOIN points AS p ON p.programme = a.programme
LEFT JOIN cards AS c ON c.programme = a.programme
LEFT JOIN promised AS b ON b.programme = a.programme
ORDER BY a.programme;

-- name: wallets
-- The same of each wallet that has something or owes it.
SELECT w.programme, w.wallet_id, w.member_id, s.available, s.held, s.reserved, s.debt
FROM unnest(:programmes::text[], :befores::timestamptz[]) AS a (programme, before)
JOIN wallets AS w ON w.programme = a.programme
CROSS JOIN LATERAL (
    SELECT l.available_after AS available, l.held_after AS held, l.reserved_after AS reserved, l.debt_after AS debt
    FROM ledger AS l
    WHERE l.wallet_id = w.wallet_id AND (a.before IS NULL OR l.posted_at < a.before)
    ORDER BY l.seq DESC
    LIMIT 1
) AS s
WHERE s.available <> 0 OR s.held <> 0 OR s.reserved <> 0 OR s.debt <> 0
ORDER BY w.programme, w.wallet_id;
