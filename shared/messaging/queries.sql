-- Messaging's own queries. The search path is the service's schema.

-- name: hear
-- The runs of a batch's entries that are new here, cut off at what is applied. A run of which any entry was heard before is
-- left out whole: ask again for its entries one by one.
INSERT INTO inbox (stream, entries)
SELECT r.stream, int8range(greatest(r.first, p.applied_through + 1), r.last, '[]')
FROM unnest(:streams::text[], :firsts::bigint[], :lasts::bigint[]) AS r (stream, first, last)
JOIN positions AS p ON p.stream = r.stream
WHERE r.last > p.applied_through
ORDER BY r.stream, r.first
ON CONFLICT DO NOTHING
RETURNING stream, lower(entries), upper(entries) - 1;

-- name: claim_keys
-- The idempotency keys that nobody used before, from now on taken; a key that is being used elsewhere is waited for.
SELECT c.principal, c.route, c.key
FROM claim_keys(:principals::text[], :routes::text[], :keys::text[], :request_hashes::bytea[]) AS c;

-- name: stored_answers
-- What was answered under keys that were used before.
SELECT i.principal, i.route, i.key, i.request_hash, i.status, i.body
FROM unnest(:principals::text[], :routes::text[], :keys::text[]) AS k (principal, route, key)
JOIN idempotency AS i ON i.principal = k.principal AND i.route = k.route AND i.key = k.key;

-- name: take_retries
-- The dead letters of a batch that still wait for their new try; from now on they are retried.
UPDATE dead_letters
SET state = 'retried', changed_at = clock_timestamp()
WHERE dead_letter_id = ANY(:dead_letter_ids::uuid[]) AND state = 'retry'
RETURNING dead_letter_id;

-- name: flush!
-- What a batch says, in the order it was said; who did it; and the answers under their keys.
SELECT flush(
    :event_ids::uuid[], :payloads::bytea[], :ats::timestamptz[], :actors::text[], :actions::text[], :objects::text[],
    :befores::text[], :afters::text[], :places::text[], :request_ids::text[], :principals::text[], :routes::text[],
    :keys::text[], :statuses::smallint[], :bodies::bytea[]
);

-- name: forget_keys!
-- Refusals that are not kept: the same key may be used again.
DELETE FROM idempotency AS i
USING unnest(:principals::text[], :routes::text[], :keys::text[]) AS k (principal, route, key)
WHERE i.principal = k.principal AND i.route = k.route AND i.key = k.key;

-- name: bury!
-- Dead letters; an entry dies once.
INSERT INTO dead_letters (dead_letter_id, stream, entry_id, source, event_id, type, code, detail, errors, payload, whole, request_id)
SELECT d.dead_letter_id, d.stream, d.entry_id, d.source, d.event_id, d.type, d.code, d.detail, d.errors::jsonb, d.payload, d.whole, d.request_id
FROM unnest(
    :dead_letter_ids::uuid[], :streams::text[], :entry_ids::text[], :sources::text[], :event_ids::text[], :types::text[],
    :codes::text[], :details::text[], :errors::text[], :payloads::bytea[], :wholes::boolean[], :request_ids::text[]
) AS d (dead_letter_id, stream, entry_id, source, event_id, type, code, detail, errors, payload, whole, request_id)
ON CONFLICT (stream, entry_id) DO UPDATE
SET code = EXCLUDED.code, detail = EXCLUDED.detail, errors = EXCLUDED.errors, state = 'open', changed_at = clock_timestamp()
WHERE dead_letters.state = 'retried';

-- name: count_try$
-- One more try alone of this entry, told before it is made; gives how many that makes.
INSERT INTO attempts (stream, entry_id, tries)
VALUES (:stream, :entry_id, 1)
ON CONFLICT (stream, entry_id) DO UPDATE SET tries = attempts.tries + 1, at = clock_timestamp()
RETURNING tries;

-- name: uncount_try!
-- The try failed for another reason than the entry.
UPDATE attempts SET tries = greatest(tries - 1, 0) WHERE stream = :stream AND entry_id = :entry_id;

-- name: canary!
-- The least that can be written: it changes what nobody reads.
UPDATE attempts SET at = clock_timestamp() WHERE stream = :stream AND entry_id = :entry_id;

-- name: forget_tries!
-- An entry that was dealt with needs no count.
DELETE FROM attempts WHERE stream = :stream AND entry_id = :entry_id;

-- name: asked_retries
-- Dead letters that an operator asked to try again and that are not under way, oldest first, so many at most.
SELECT dead_letter_id, stream, entry_id, payload, request_id
FROM dead_letters
WHERE state = 'retry' AND dead_letter_id <> ALL(:under_way::uuid[])
ORDER BY at
LIMIT :most;

-- name: open_dead_letters
-- How many dead letters are open, by code.
SELECT code, count(*) AS n
FROM dead_letters
WHERE state IN ('open', 'retry')
GROUP BY code;

-- name: runs_above
-- What is applied of a stream, and beside it each of the inbox's runs that reach above, in order; a row without a run where none
-- does.
SELECT p.applied_through, lower(i.entries) AS first, upper(i.entries) - 1 AS last
FROM positions AS p
LEFT JOIN inbox AS i ON i.stream = :stream AND i.entries && int8range(p.applied_through + 1, NULL)
WHERE p.stream = :stream
ORDER BY i.entries
LIMIT 20000;

-- name: move_position!
-- Moves applied_through forward, never back: what another process has moved further stays there.
UPDATE positions
SET applied_through = :through
WHERE stream = :stream AND applied_through < :through;

-- name: forget_heard$
-- Runs of the inbox that lie far below the position are forgotten; gives how many.
SELECT forget_heard(:stream);

-- name: ensure_partitions$
-- The partitions by time that are missing; gives how many were made.
SELECT ensure_partitions();

-- name: partitions_ahead
-- The partitions by time from the present ones on, and whether each is there.
SELECT
    a.parent,
    a.child,
    a.begins,
    a.ends,
    a.there
FROM partitions_ahead() AS a;

-- name: position$
-- The end of the contiguous run that was applied.
SELECT applied_through FROM positions WHERE stream = :stream;

-- name: cut_outbox^
-- Cuts what is visible now and was not at the last cut, and records the cut, in one statement and so in one snapshot. No row:
-- there is nothing new, or PostgreSQL is not the one that was compared with Redis: restored, moved, or only restarted.
-- `ids` are the event ids one after the other, 16 bytes each; NULL for a large cut.
WITH last AS (
    SELECT no, base + n AS next, snapshot, hash
    FROM cuts
    WHERE (pg_postmaster_start_time(), 'outbox'::regclass::oid::bigint) = (:started_at::timestamptz, :outbox::bigint)
    ORDER BY no DESC
    LIMIT 1
),
fresh AS MATERIALIZED (
    SELECT o.id, o.event_id
    FROM outbox AS o, last
    WHERE o.xid >= pg_snapshot_xmax(last.snapshot)
        OR o.xid = ANY(ARRAY(SELECT pg_snapshot_xip(l.snapshot) FROM last AS l))
),
summed AS (
    SELECT count(*)::int AS n, string_agg(uuid_send(event_id), ''::bytea ORDER BY id) AS ids
    FROM fresh
),
cut AS (
    INSERT INTO cuts (no, base, n, previous, snapshot, hash)
    SELECT last.no + 1, last.next, summed.n, last.snapshot, pg_current_snapshot(), sha256(last.hash || summed.ids)
    FROM last, summed
    WHERE summed.n > 0
    ON CONFLICT (no) DO NOTHING
    RETURNING no, base, n, hash
)
SELECT cut.no, cut.base, cut.n, cut.hash, last.hash AS previous_hash,
    CASE WHEN cut.n <= 5000 THEN summed.ids END AS ids
FROM cut, last, summed;

-- name: cut_page^
-- The rows of a cut of a page in their order: always the same answer. NULLs where there are none.
SELECT
    string_agg(uuid_send(page.event_id), ''::bytea ORDER BY page.id) AS ids,
    array_agg(page.payload ORDER BY page.id) AS payloads
FROM (
    SELECT o.id, o.event_id, o.payload
    FROM cuts AS c
    JOIN outbox AS o
        ON o.xid >= pg_snapshot_xmin(c.previous) AND o.xid < pg_snapshot_xmax(c.snapshot)
    WHERE c.no = :no
        AND NOT pg_visible_in_snapshot(o.xid, c.previous)
        AND pg_visible_in_snapshot(o.xid, c.snapshot)
    ORDER BY o.id
    LIMIT 500
) AS page;

-- name: cut_rows
-- The rows of a cut in their order, without what they say: for a cursor, which reads them once.
SELECT o.id, o.xid::text AS xid, o.event_id
FROM cuts AS c
JOIN outbox AS o
    ON o.xid >= pg_snapshot_xmin(c.previous) AND o.xid < pg_snapshot_xmax(c.snapshot)
WHERE c.no = :no
    AND NOT pg_visible_in_snapshot(o.xid, c.previous)
    AND pg_visible_in_snapshot(o.xid, c.snapshot)
ORDER BY o.id;

-- name: payloads_of$
-- What these rows of the outbox say, in the order of their ids; `xids` are those of their transactions.
SELECT array_agg(o.payload ORDER BY o.id)
FROM outbox AS o
WHERE o.xid = ANY(:xids::text[]::xid8[]) AND o.id = ANY(:ids::bigint[]);

-- name: be_patient$
-- Statements of this transaction may take so long, in milliseconds, and who publishes between two of them likewise.
SELECT
    set_config('statement_timeout', :patience_ms, true),
    set_config('idle_in_transaction_session_timeout', :patience_ms, true);

-- name: last_cut^
-- The newest cut: dense ids up to base + n - 1 are planned. Beside it which PostgreSQL says so: since when it runs, and which
-- outbox it has (that of a restored copy is another one), and how many transactions it has counted too few: above 0 only where cuts and
-- events were written by another server, for whoever reads what is committed counts beyond its writer.
SELECT no, base, n, hash, pg_postmaster_start_time() AS started_at, 'outbox'::regclass::oid::bigint AS outbox,
    greatest(
        0,
        pg_snapshot_xmax(snapshot)::text::bigint - pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
        (SELECT o.xid FROM outbox AS o ORDER BY o.xid DESC LIMIT 1)::text::bigint + 1
        - pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    ) AS behind
FROM cuts
ORDER BY no DESC
LIMIT 1;

-- name: postgres_of$
-- Which PostgreSQL this is, with which outbox of a service: since when it runs, and the ids of database and table, as its catalogue
-- shows them to everybody. Whatever was restored, moved or only restarted is another one.
SELECT concat_ws('/', extract(EPOCH FROM pg_postmaster_start_time()), d.oid, c.oid)
FROM pg_database AS d, pg_class AS c
JOIN pg_namespace AS s ON s.oid = c.relnamespace
WHERE d.datname = current_database() AND s.nspname = :service AND c.relname = 'outbox';

-- name: cut_of^
-- The cut that holds dense id n, with the head hash before it.
SELECT c.no, c.base, c.n, c.hash, p.hash AS previous_hash
FROM cuts AS c
JOIN cuts AS p ON p.no = c.no - 1
WHERE c.base <= :n AND c.base + c.n > :n
ORDER BY c.base DESC
LIMIT 1;

-- name: cuts_from
-- Cuts from number `no` on, with the head hash before each.
SELECT c.no, c.base, c.n, c.hash, p.hash AS previous_hash
FROM cuts AS c
JOIN cuts AS p ON p.no = c.no - 1
WHERE c.no >= :no
ORDER BY c.no
LIMIT 1000;

-- name: unpublished^
-- How many committed events are not in a stream that ends at dense id `published`, cut or not, and the age of the oldest in
-- seconds. Of a cut that is not published it is the first by transaction id, which the index finds without reading the cut. Of
-- those that are not cut no more than 100,000 are looked at, as they lie: the oldest come first, and more need no count.
WITH last AS (
    SELECT base + n - 1 AS planned, snapshot
    FROM cuts
    ORDER BY no DESC
    LIMIT 1
),
uncut AS (
    SELECT count(*) AS n, min(few.at) AS oldest
    FROM (
        SELECT o.at
        FROM last
        JOIN outbox AS o
            ON o.xid >= pg_snapshot_xmax(last.snapshot)
            OR o.xid = ANY(ARRAY(SELECT pg_snapshot_xip(l.snapshot) FROM last AS l))
        LIMIT 100000
    ) AS few
),
cut AS (
    SELECT previous, snapshot
    FROM cuts
    WHERE base <= :published::bigint + 1 AND base + n > :published::bigint + 1
    ORDER BY base DESC
    LIMIT 1
),
planned AS (
    SELECT o.at AS oldest
    FROM cut
    JOIN outbox AS o
        ON o.xid >= pg_snapshot_xmin(cut.previous) AND o.xid < pg_snapshot_xmax(cut.snapshot)
    WHERE NOT pg_visible_in_snapshot(o.xid, cut.previous) AND pg_visible_in_snapshot(o.xid, cut.snapshot)
    ORDER BY o.xid
    LIMIT 1
)
SELECT
    uncut.n + greatest(last.planned - :published::bigint, 0) AS n,
    coalesce(
        extract(EPOCH FROM clock_timestamp() - least(uncut.oldest, (SELECT planned.oldest FROM planned))), 0
    )::float8 AS seconds
FROM uncut, last;
