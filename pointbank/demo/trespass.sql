-- Invariant 7, tried and not read: statements that must be refused to whoever they are given to.

-- name: doors
-- What :who must be refused, a service or the auditor. To read and to fill each table and partition of another service; to change,
-- by any column, and to empty what is append-only, of its own or anybody's. A part of a table is as the whole.
WITH tables AS (
    SELECT
        c.oid,
        n.nspname AS schema,
        format('%I.%I', n.nspname, c.relname) AS name,
        EXISTS (
            SELECT FROM pg_trigger AS t
            WHERE t.tgname = 'refuse_change' AND t.tgrelid IN (c.oid, pg_partition_root(c.oid))
        ) AS append_only
    FROM pg_class AS c
    JOIN pg_namespace AS n ON c.relnamespace = n.oid
    WHERE n.nspname = any(:schemas::text []) AND c.relkind IN ('r', 'p')
),
foreign_tables AS (
    SELECT t.name FROM tables AS t
    WHERE t.schema <> :who::text AND :who::text = any(:schemas::text [])
),
kept AS (
    SELECT t.oid, t.name FROM tables AS t
    WHERE t.append_only AND (t.schema = :who::text OR NOT :who::text = any(:schemas::text []))
)
SELECT format('SELECT FROM %s LIMIT 0', f.name) AS statement FROM foreign_tables AS f
UNION ALL
SELECT format('INSERT INTO %s DEFAULT VALUES', f.name) FROM foreign_tables AS f
UNION ALL
SELECT format('UPDATE %s SET %I = DEFAULT WHERE false', k.name, a.attname)
FROM kept AS k
JOIN pg_attribute AS a ON a.attrelid = k.oid AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT format('DELETE FROM %s WHERE false', k.name) FROM kept AS k
UNION ALL
SELECT format('TRUNCATE %s', k.name) FROM kept AS k
ORDER BY 1;

-- name: ask_to_write!
-- Lifts the auditor's read-only default, which is a courtesy: what holds it back is a missing grant.
SET TRANSACTION READ WRITE;

-- name: bring!
-- The statements that `knock` tries in this transaction, and nothing that was let through so far.
SELECT
    set_config('pointbank.doors', array_to_string(:statements::text [], chr(10)), true),
    set_config('pointbank.let_through', '', true);

-- name: knock#
-- Each statement by itself, undone if it went through. Rights are looked at first: whatever else PostgreSQL may object to comes
-- after, and was let through.
DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY string_to_array(current_setting('pointbank.doors'), chr(10)) LOOP
        BEGIN
            EXECUTE door;
            RAISE EXCEPTION 'let through';
        EXCEPTION
            WHEN insufficient_privilege THEN
                NULL;
            WHEN OTHERS THEN
                PERFORM set_config('pointbank.let_through', concat_ws(chr(10), nullif(current_setting('pointbank.let_through'), ''), door), true);
        END;
    END LOOP;
END
$$;

-- name: let_through$
-- The statements that were not refused.
SELECT string_to_array(current_setting('pointbank.let_through'), chr(10));
