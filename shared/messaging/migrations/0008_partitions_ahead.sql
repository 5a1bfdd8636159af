-- Which partitions there are to be, said by one function: what is only told of and what is made can't differ.

-- Each partition by time from the present one to `ahead` further ones, and whether it is there.
CREATE FUNCTION partitions_ahead()
RETURNS TABLE (parent text, child text, begins timestamptz, ends timestamptz, append_only boolean, there boolean)
LANGUAGE sql
SECURITY DEFINER
SET search_path = {{schema}}, pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
SELECT
    t.parent,
    n.child,
    b.begins,
    b.begins + ('1 ' || t.unit)::interval AS ends,
    t.append_only,
    to_regclass(quote_ident(n.child)) IS NOT NULL AS there
FROM partitioned AS t
CROSS JOIN LATERAL generate_series(0, t.ahead) AS k
CROSS JOIN LATERAL (SELECT date_trunc(t.unit, statement_timestamp()) + k * ('1 ' || t.unit)::interval AS begins) AS b
CROSS JOIN LATERAL (
    SELECT t.parent || '_' || to_char(b.begins, CASE t.unit WHEN 'day' THEN 'YYYYMMDD' ELSE 'YYYYMM' END) AS child
) AS n
ORDER BY t.parent, b.begins
$$;

REVOKE ALL ON FUNCTION partitions_ahead() FROM public;
GRANT EXECUTE ON FUNCTION partitions_ahead() TO {{service_role}};

-- Makes those that are missing; gives how many it made.
-- Standalone first, triggers before data, then ATTACH: the parent is never locked for long. Runs as the owner.
CREATE OR REPLACE FUNCTION ensure_partitions() RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = {{schema}}, pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    p record;
    made int := 0;
BEGIN
    -- One at a time in this schema: two housekeepers would both find the same partition missing.
    LOCK TABLE partitioned IN SHARE ROW EXCLUSIVE MODE;
    FOR p IN SELECT * FROM partitions_ahead() AS a WHERE NOT a.there LOOP
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', p.child, p.parent);
        IF p.append_only THEN
            EXECUTE format(
                'CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', p.child);
        END IF;
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', p.parent, p.child, p.begins, p.ends);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
