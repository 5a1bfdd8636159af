-- What a move asks of the servers it moves between, as an administrator.

-- name: size$
-- Bytes of a database.
SELECT pg_database_size(:database::text);

-- name: next_xid$
-- No transaction of this server has had an id as high as this.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- name: tables
-- The tables that have rows of their own, partitions instead of what they are parts of.
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas::text[]) AND c.relkind = 'r'
ORDER BY 1;

-- name: sequences
-- Every sequence and where it stands.
SELECT s.schemaname, s.sequencename, s.last_value
FROM pg_sequences AS s
WHERE s.schemaname = ANY(:schemas::text[])
ORDER BY s.schemaname, s.sequencename;
