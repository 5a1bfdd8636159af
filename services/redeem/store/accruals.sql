-- The accruals in the ledger, held against what earn told of each day. The search path is redeem's schema.

-- name: hear_day!
-- What earn told of a day; an older telling never replaces a newer one.
INSERT INTO told_days (day, sequence, n, programmes)
VALUES (:day, :sequence, :n, :programmes::jsonb)
ON CONFLICT (day) DO UPDATE SET sequence = excluded.sequence, n = excluded.n, programmes = excluded.programmes
WHERE told_days.sequence < excluded.sequence;

-- name: days_to_compare
-- The days that were told anew, and those whose differences nobody has looked at; only once all was applied that earn told before.
SELECT
    t.day,
    t.sequence,
    t.programmes::text AS programmes
FROM told_days AS t
WHERE
    t.n <= coalesce((SELECT p.applied_through FROM positions AS p WHERE p.stream = 'earn'), 0)
    AND (
        t.compared < t.sequence
        OR EXISTS (
            SELECT FROM reconciliation_differences AS d
            WHERE d.kind = 'accruals' AND d.state = 'open' AND d.subject LIKE 'accruals/' || t.day || '/%'
        )
    )
ORDER BY t.day;

-- name: count_posted
-- The accruals with ids from `first` on, below `below`, that the ledger has, by programme: how many, their points by their lines,
-- and their digests summed by words (shared/tally.py). An accrual's lines are posted just after its id is taken.
SELECT
    coalesce(w.programme, '') AS programme,
    count(*) AS accruals,
    sum(l.points) AS points,
    sum(('x' || left(d.digest, 8))::bit(32)::bigint) AS word1,
    sum(('x' || substr(d.digest, 9, 8))::bit(32)::bigint) AS word2,
    sum(('x' || substr(d.digest, 17, 8))::bit(32)::bigint) AS word3,
    sum(('x' || substr(d.digest, 25, 8))::bit(32)::bigint) AS word4
FROM postings AS p
CROSS JOIN LATERAL (
    SELECT sum(e.points)::bigint AS points
    FROM ledger AS e
    WHERE
        e.wallet_id = p.wallet_id
        AND e.posted_at >= p.recorded_at - interval '10 minutes'
        AND e.posted_at < p.recorded_at + interval '1 hour'
        AND e.posting_id = p.posting_id
        AND e.kind = p.kind
) AS l
LEFT JOIN wallets AS w ON p.wallet_id = w.wallet_id
CROSS JOIN LATERAL (SELECT encode(sha256(uuid_send(p.posting_id) || int8send(l.points)), 'hex') AS digest) AS d
WHERE p.posting_id >= :first AND p.posting_id < :below AND p.kind IN ('earn', 'earn_held') AND l.points IS NOT NULL
GROUP BY 1;

-- name: newest_telling$
-- The sequence of the newest telling of a day. Not locked: one that comes after this is compared on its own, for what is marked below is
-- this one's sequence.
SELECT sequence FROM told_days WHERE day = :day;

-- name: mark_compared!
-- The ledger was held against this telling of a day.
UPDATE told_days
SET compared = :sequence, compared_at = clock_timestamp()
WHERE day = :day AND compared <= :sequence;
