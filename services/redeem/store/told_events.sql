-- The postings of each seal, held against the events that tell of them. The search path is redeem's schema.

-- name: next_seal^
-- The first seal after this one, and after all that were compared; no row where there is none.
SELECT no
FROM seals
WHERE no > greatest(:after::bigint, (SELECT coalesce(max(no), 0) FROM compared_seals))
ORDER BY no
LIMIT 1;

-- name: plan_for_a_moment^
-- As a seal does: the moment asked for tells how many lines are newer, none tells that there are none; and it may take its time.
SELECT
    set_config('statement_timeout', '300000', true) AS patient,
    set_config('plan_cache_mode', 'force_custom_plan', true) AS plans,
    set_config('enable_indexonlyscan', 'off', true) AS index_only;

-- name: last_no$
-- The number of the newest seal, 0 for none.
SELECT coalesce(max(no), 0) FROM seals;

-- name: compare_seal
-- What was posted between the last seal and this one, and what of it is not told as often as it was posted, or otherwise: wallets
-- and points by the lines, and by the events. Both sides are of the same transactions: those that this seal saw and the last did not.
-- What an adopted stream told again is no second word, and was written by the transaction of the adoption. Transactions end within
-- a day, so no older partition is looked at. A row without a subject counts the postings.
-- A seal that is not taken yet would have what is seen now: the heads, that no seal has, of wallets posted to since a moment.
WITH sealed AS MATERIALIZED (
    SELECT
        coalesce(s.snapshot, pg_current_snapshot()) AS snapshot,
        coalesce(p.snapshot, '1:1:'::pg_snapshot) AS previous,
        coalesce(p.sealed_at - interval '1 day', '-infinity') AS since
    FROM (SELECT :no::bigint AS no) AS a
    LEFT JOIN seals AS s ON s.no = a.no
    LEFT JOIN seals AS p ON p.no = (SELECT max(b.no) FROM seals AS b WHERE b.no < a.no)
),

leaves AS (
    SELECT k.wallet_id, k.seq FROM seal_leaves AS k WHERE k.no = :no
    UNION ALL
    SELECT w.wallet_id, w.seq
    FROM (SELECT DISTINCT l.wallet_id FROM ledger AS l WHERE l.posted_at >= :since::timestamptz) AS t
    JOIN wallets AS w ON w.wallet_id = t.wallet_id
    WHERE NOT EXISTS (SELECT FROM seals WHERE no = :no)
        AND NOT EXISTS (SELECT FROM seal_leaves AS k WHERE k.wallet_id = w.wallet_id AND k.seq = w.seq)
),

posted AS MATERIALIZED (
    SELECT
        l.posting_id,
        l.wallet_id,
        -- What a merge moves outside of lots is no point that anybody can spend.
        coalesce(sum(l.points) FILTER (WHERE l.kind <> 'merge' OR l.lot_id IS NOT NULL), 0) AS points
    FROM leaves AS k
    CROSS JOIN LATERAL (
        SELECT coalesce(max(o.seq), 0) AS seq
        FROM seal_leaves AS o
        WHERE o.wallet_id = k.wallet_id AND o.seq < k.seq
    ) AS b
    JOIN ledger AS l ON k.wallet_id = l.wallet_id AND l.seq > b.seq AND l.seq <= k.seq
    GROUP BY l.posting_id, l.wallet_id
),

said AS MATERIALIZED (
    SELECT convert_from(o.payload, 'UTF8')::jsonb AS event
    FROM sealed AS s
    JOIN outbox AS o
        ON o.at >= s.since
        AND o.xid >= pg_snapshot_xmin(s.previous)
        AND o.xid < pg_snapshot_xmax(s.snapshot)
        AND pg_visible_in_snapshot(o.xid, s.snapshot)
        AND NOT pg_visible_in_snapshot(o.xid, s.previous)
    WHERE NOT EXISTS (SELECT FROM adoptions AS a WHERE a.xmin = o.xid::xid)
),

told AS (
    SELECT
        (d.data ->> 'posting_id')::uuid AS posting_id,
        coalesce(d.data ->> 'resolved_wallet', d.data ->> 'wallet_id')::uuid AS wallet_id,
        p.points
    FROM said AS s
    CROSS JOIN LATERAL (SELECT s.event -> 'data' AS data) AS d
    CROSS JOIN LATERAL (
        SELECT sum((d.data -> w.what ->> 'points')::bigint) AS points
        FROM unnest(CASE s.event ->> 'type'
            WHEN 'points.reversed.v1' THEN ARRAY['hold_cancelled', 'reversed', 'owed']
            ELSE ARRAY[split_part(s.event ->> 'type', '.', 2)]
        END) AS w (what)
    ) AS p
    WHERE s.event ->> 'type' LIKE 'points.%' AND d.data ->> 'posting_id' IS NOT NULL
),

expected AS (
    SELECT
        p.posting_id,
        string_agg(p.wallet_id || ' ' || p.points, ', ' ORDER BY p.wallet_id, p.points) AS words
    FROM posted AS p
    GROUP BY p.posting_id
),

found AS (
    SELECT
        t.posting_id,
        string_agg(t.wallet_id || ' ' || coalesce(t.points, 0), ', ' ORDER BY t.wallet_id, t.points) AS words
    FROM told AS t
    GROUP BY t.posting_id
)

SELECT
    'posting/' || coalesce(e.posting_id, f.posting_id) AS subject,
    coalesce(e.words, 'nothing') AS expected,
    coalesce(f.words, 'nothing') AS found,
    0::bigint AS postings
FROM expected AS e
FULL JOIN found AS f ON e.posting_id = f.posting_id
WHERE e.words IS DISTINCT FROM f.words
UNION ALL
SELECT
    NULL,
    '',
    '',
    count(*)
FROM expected
ORDER BY subject;

-- name: mark_compared$
-- This seal was compared; no row where somebody else was faster.
INSERT INTO compared_seals (no, postings, differences)
VALUES (:no, :postings, :differences)
ON CONFLICT DO NOTHING
RETURNING no;
