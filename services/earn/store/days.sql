-- What is told of the accruals of a day. The search path is earn's schema.

-- name: clock$
-- PostgreSQL's clock: what day it is.
SELECT clock_timestamp();

-- name: last_told$
-- The last day that was told.
SELECT max(day) FROM told_days;

-- name: first_accrual$
-- The first accrual that there is, of a bill or an act.
SELECT least(
    (SELECT accrual_id FROM accruals ORDER BY accrual_id LIMIT 1),
    (SELECT accrual_id FROM act_accruals ORDER BY accrual_id LIMIT 1)
);

-- name: count_accruals
-- The accruals of bills and acts with ids from `first` on, below `below`, by programme: how many, their points, and their digests summed by words
-- (shared/tally.py). Those of no points were never told.
SELECT
    coalesce(w.programme, '') AS programme,
    count(*) AS accruals,
    sum(a.points) AS points,
    sum(('x' || left(d.digest, 8))::bit(32)::bigint) AS word1,
    sum(('x' || substr(d.digest, 9, 8))::bit(32)::bigint) AS word2,
    sum(('x' || substr(d.digest, 17, 8))::bit(32)::bigint) AS word3,
    sum(('x' || substr(d.digest, 25, 8))::bit(32)::bigint) AS word4
FROM (
    SELECT
        b.accrual_id,
        b.wallet_id,
        b.points
    FROM accruals AS b
    WHERE b.accrual_id >= :first AND b.accrual_id < :below AND b.points > 0
    UNION ALL
    SELECT
        c.accrual_id,
        c.wallet_id,
        c.points
    FROM act_accruals AS c
    WHERE c.accrual_id >= :first AND c.accrual_id < :below
) AS a
LEFT JOIN wallets AS w ON w.wallet_id = a.wallet_id
CROSS JOIN LATERAL (SELECT encode(sha256(uuid_send(a.accrual_id) || int8send(a.points)), 'hex') AS digest) AS d
GROUP BY 1;

-- name: keep_day$
-- Keeps what is told of a day, and gives its sequence; nothing where that was told last, or another process was faster.
WITH last AS (
    SELECT
        sequence,
        programmes
    FROM told_days
    WHERE day = :day
    ORDER BY sequence DESC
    LIMIT 1
)

INSERT INTO told_days (day, sequence, programmes)
SELECT
    :day,
    coalesce((SELECT sequence FROM last), 0) + 1,
    :programmes::jsonb
WHERE NOT EXISTS (SELECT FROM last WHERE programmes = :programmes::jsonb)
ON CONFLICT DO NOTHING
RETURNING sequence;
