-- The tables of messaging, made in every service's schema before its own. Run by the tenant's owner role with
-- search_path = the service's schema; {{service_role}} is the role that the service logs in with.

-- ---------------------------------------------------------------- append-only tables and partitions

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: the table is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- A row trigger on a partitioned parent is cloned to its partitions; one for TRUNCATE is not, so each gets its own.
CREATE FUNCTION make_append_only(relation regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    own_schema name := (SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation);
BEGIN
    EXECUTE format(
        'CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %I.refuse_change()', relation, own_schema);
    EXECUTE format(
        'CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION %I.refuse_change()', relation, own_schema);
END
$$;

-- Tables that are partitioned by time: `ahead` partitions are always there before the boundary is reached.
CREATE TABLE partitioned (
    parent text PRIMARY KEY,
    unit text NOT NULL CHECK (unit IN ('day', 'month')),
    append_only boolean NOT NULL,
    ahead int NOT NULL CHECK (ahead >= 1)
);

CREATE FUNCTION partition_by(parent text, unit text, append_only boolean, ahead int DEFAULT 3) RETURNS void
LANGUAGE sql
AS $$
INSERT INTO partitioned (parent, unit, append_only, ahead) VALUES (parent, unit, append_only, ahead);
$$;

-- Makes the partitions that are missing from the present one to `ahead` further ones; gives how many it made.
-- Standalone first, triggers before data, then ATTACH: the parent is never locked for long. Runs as the owner.
CREATE FUNCTION ensure_partitions() RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = {{schema}}, pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    t partitioned%ROWTYPE;
    lower_bound timestamptz;
    upper_bound timestamptz;
    child text;
    made int := 0;
BEGIN
    -- One at a time in this schema: two housekeepers would both find the same partition missing.
    LOCK TABLE partitioned IN SHARE ROW EXCLUSIVE MODE;
    FOR t IN SELECT * FROM partitioned ORDER BY parent LOOP
        FOR k IN 0..t.ahead LOOP
            lower_bound := date_trunc(t.unit, clock_timestamp()) + k * ('1 ' || t.unit)::interval;
            upper_bound := lower_bound + ('1 ' || t.unit)::interval;
            child := t.parent || '_' || to_char(lower_bound, CASE t.unit WHEN 'day' THEN 'YYYYMMDD' ELSE 'YYYYMM' END);
            IF to_regclass(quote_ident(child)) IS NOT NULL THEN
                CONTINUE;
            END IF;
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', child, t.parent);
            IF t.append_only THEN
                EXECUTE format(
                    'CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', child);
            END IF;
            EXECUTE format(
                'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', t.parent, child, lower_bound, upper_bound);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

REVOKE ALL ON FUNCTION ensure_partitions() FROM public;
GRANT EXECUTE ON FUNCTION ensure_partitions() TO {{service_role}};
REVOKE ALL ON FUNCTION partition_by(text, text, boolean, int) FROM public;
REVOKE ALL ON FUNCTION make_append_only(regclass) FROM public;

-- ---------------------------------------------------------------- outbox: what is to be told, written with the fact

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    event_id uuid NOT NULL,
    payload bytea NOT NULL CHECK (octet_length(payload) <= 1048576)
) PARTITION BY RANGE (at);

-- The cut finds new rows by transaction id, never by id or time: see queries.sql, cut_outbox.
CREATE INDEX outbox_xid ON outbox (xid);
SELECT make_append_only('outbox');
SELECT partition_by('outbox', 'day', true);
GRANT SELECT, INSERT ON outbox TO {{service_role}};

-- A cut gives the rows that became visible between two snapshots the dense ids base, base + 1, ... in the order of outbox.id.
-- `hash` chains the event ids of all cuts so far: equal heads mean equal streams.
CREATE TABLE cuts (
    no bigint PRIMARY KEY,
    base bigint NOT NULL,
    n int NOT NULL CHECK (n >= 0),
    previous pg_snapshot NOT NULL,
    snapshot pg_snapshot NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX cuts_base ON cuts (base);
INSERT INTO cuts (no, base, n, previous, snapshot, hash) VALUES (0, 1, 0, '1:1:', '1:1:', sha256('pointbank'));
SELECT make_append_only('cuts');
GRANT SELECT, INSERT ON cuts TO {{service_role}};

-- ---------------------------------------------------------------- inbox: what has been heard

CREATE TABLE positions (
    stream text PRIMARY KEY,
    applied_through bigint NOT NULL DEFAULT 0 CHECK (applied_through >= 0)
);

GRANT SELECT, INSERT, UPDATE ON positions TO {{service_role}};

-- Everything at or below positions.applied_through is a duplicate; above it this table decides. Ranges of n, never of time.
CREATE TABLE inbox (
    stream text NOT NULL,
    n bigint NOT NULL CHECK (n > 0),
    PRIMARY KEY (stream, n)
) PARTITION BY LIST (stream);

GRANT SELECT, INSERT ON inbox TO {{service_role}};

-- Makes the inbox's partitions that hold n up to `through`, drops those wholly applied. Ranges of 200,000.
CREATE FUNCTION ensure_inbox(heard text, through bigint) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = {{schema}}, pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    span CONSTANT bigint := 200000;
    list_child text := 'inbox_' || heard;
    child text;
    applied bigint;
    k bigint;
BEGIN
    IF heard !~ '^[a-z]{1,20}$' OR through < 1 THEN
        RAISE EXCEPTION 'not a stream or position: %, %', heard, through USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE partitioned IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO positions (stream) VALUES (heard) ON CONFLICT DO NOTHING;
    SELECT applied_through INTO applied FROM positions WHERE stream = heard;
    IF to_regclass(quote_ident(list_child)) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF inbox FOR VALUES IN (%L) PARTITION BY RANGE (n)', list_child, heard);
    END IF;
    FOR k IN (applied / span)..(through / span) LOOP
        child := list_child || '_' || k;
        IF to_regclass(quote_ident(child)) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%s) TO (%s)', child, list_child, k * span, (k + 1) * span);
        END IF;
    END LOOP;
    FOR child IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass(quote_ident(list_child))
            AND (split_part(c.relname, '_', 3)::bigint + 1) * span <= applied
    LOOP
        EXECUTE format('DROP TABLE %I', child);
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION ensure_inbox(text, bigint) FROM public;
GRANT EXECUTE ON FUNCTION ensure_inbox(text, bigint) TO {{service_role}};

-- ---------------------------------------------------------------- what could not be done, asked twice, or waits

-- `payload` is encrypted with the service's key: it may hold what could not be decoded, personal data included.
CREATE TABLE dead_letters (
    dead_letter_id uuid PRIMARY KEY,
    stream text NOT NULL,
    entry_id text NOT NULL,
    source text,
    event_id text,
    type text,
    code text NOT NULL,
    detail text NOT NULL,
    errors jsonb NOT NULL DEFAULT '[]',
    payload bytea NOT NULL,
    request_id text NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'retry', 'retried', 'dropped')),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One entry dies once, however often it is delivered.
CREATE UNIQUE INDEX dead_letters_entry ON dead_letters (stream, entry_id);
CREATE INDEX dead_letters_retry ON dead_letters (at) WHERE state = 'retry';
GRANT SELECT, INSERT, UPDATE ON dead_letters TO {{service_role}};

-- The answer that a caller got under a key, refusals too. A repeat gets it again; another request under it is refused.
CREATE TABLE idempotency (
    principal text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status smallint NOT NULL,
    body bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (principal, route, key)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO {{service_role}};

-- How often an entry was tried alone, counted before the try: a process that it kills can't count afterwards.
CREATE TABLE attempts (
    stream text NOT NULL,
    entry_id text NOT NULL,
    tries int NOT NULL CHECK (tries >= 0),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, entry_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON attempts TO {{service_role}};

-- Where two sides of a wait meet: each upserts and locks the row, and looks for the other in its next statement.
CREATE TABLE awaited (
    kind text NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (kind, key)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON awaited TO {{service_role}};

-- ---------------------------------------------------------------- audit

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    before jsonb,
    after jsonb,
    place text,
    request_id text NOT NULL
) PARTITION BY RANGE (recorded_at);

CREATE INDEX audit_object ON audit (object, recorded_at);
SELECT make_append_only('audit');
SELECT partition_by('audit', 'month', true);
GRANT SELECT, INSERT ON audit TO {{service_role}};
