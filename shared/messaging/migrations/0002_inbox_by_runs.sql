-- The inbox by runs of entries instead of entry by entry: a batch of neighbours is one row (docs/decisions/0013).
-- Who hears what stands here a second time, for a new hearer is a migration: shared/messaging/keys.py has the same list.

ALTER TABLE inbox RENAME TO inbox_by_entry;
ALTER INDEX inbox_pkey RENAME TO inbox_by_entry_pkey;
DROP FUNCTION ensure_inbox(text, bigint);

-- Everything at or below positions.applied_through is a duplicate; above it this table decides. No entry is in two runs of a
-- stream: the exclusion stands on each partition, for only there does the stream need no part in it.
CREATE TABLE inbox (
    stream text NOT NULL,
    entries int8range NOT NULL,
    CONSTRAINT inbox_entries_are_a_run CHECK (lower(entries) > 0 AND NOT upper_inf(entries))
) PARTITION BY LIST (stream);

GRANT SELECT, INSERT ON inbox TO {{service_role}};

DO $$
DECLARE
    heard text;
BEGIN
    FOREACH heard IN ARRAY CASE current_schema()
        WHEN 'earn' THEN ARRAY['members', 'tiers']
        WHEN 'redeem' THEN ARRAY['members', 'earn']
        WHEN 'tiers' THEN ARRAY['members', 'redeem']
        WHEN 'notifier' THEN ARRAY['members', 'earn', 'redeem', 'tiers']
        ELSE '{}'::text[]
    END LOOP
        EXECUTE format('ALTER TABLE IF EXISTS %I RENAME TO %I', 'inbox_' || heard, 'inbox_' || heard || '_by_entry');
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF inbox (CONSTRAINT %I EXCLUDE USING gist (entries WITH &&)) FOR VALUES IN (%L)',
            'inbox_' || heard, 'inbox_' || heard || '_once', heard);
        INSERT INTO positions (stream) VALUES (heard) ON CONFLICT DO NOTHING;
    END LOOP;
END
$$;

INSERT INTO inbox (stream, entries)
SELECT run.stream, int8range(min(run.n), max(run.n), '[]')
FROM (SELECT i.stream, i.n, i.n - row_number() OVER (PARTITION BY i.stream ORDER BY i.n) AS anchor FROM inbox_by_entry AS i) AS run
GROUP BY run.stream, run.anchor;

DROP TABLE inbox_by_entry;

-- Forgets the runs that lie more than 200,000 entries below the position; gives how many. What is kept shows that there was no gap.
CREATE FUNCTION forget_heard(heard text) RETURNS int
LANGUAGE sql
SECURITY DEFINER
SET search_path = {{schema}}, pg_catalog, pg_temp
AS $$
WITH forgotten AS (
    DELETE FROM inbox AS i
    USING positions AS p
    WHERE p.stream = heard AND i.stream = heard AND i.entries << int8range(p.applied_through - 200000, NULL)
    RETURNING 1
)
SELECT count(*)::int FROM forgotten
$$;

REVOKE ALL ON FUNCTION forget_heard(text) FROM public;
GRANT EXECUTE ON FUNCTION forget_heard(text) TO {{service_role}};
