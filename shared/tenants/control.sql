-- The control database: which tenants there are, where, at which schema version, and how far each service has applied
-- what it hears. It holds no secret and no member's data. Every statement can be run again.

CREATE SCHEMA IF NOT EXISTS control;

CREATE TABLE IF NOT EXISTS control.tenants (
    code text PRIMARY KEY CHECK (code ~ '^[a-z][a-z0-9-]{0,39}$' AND code <> 'control'),
    cell text NOT NULL,
    database text NOT NULL UNIQUE,
    host text,
    port int,
    state text NOT NULL CHECK (state IN ('creating', 'active', 'suspending', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A directory that an earlier release made knows no `suspending`.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'control.tenants'::regclass AND conname = 'tenants_state_check' AND pg_get_constraintdef(oid) LIKE '%suspending%'
    ) THEN
        ALTER TABLE control.tenants DROP CONSTRAINT IF EXISTS tenants_state_check;
        ALTER TABLE control.tenants ADD CONSTRAINT tenants_state_check
            CHECK (state IN ('creating', 'active', 'suspending', 'suspended'));
    END IF;
END
$$;

-- How many of a service's migrations have run in a tenant's database, and which of them code must know to run there.
CREATE TABLE IF NOT EXISTS control.schema_versions (
    tenant text NOT NULL REFERENCES control.tenants (code),
    service text NOT NULL,
    version int NOT NULL CHECK (version >= 0),
    state text NOT NULL CHECK (state IN ('migrating', 'ready', 'failed')),
    detail text,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    needs text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, service)
);

-- A directory that an earlier release made has no `needs`.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'control.schema_versions'::regclass AND attname = 'needs'
    ) THEN
        ALTER TABLE control.schema_versions ADD COLUMN needs text[] NOT NULL DEFAULT '{}';
    END IF;
END
$$;

-- The version that every tenant that is served was brought to: a process of a later one waits until it is there.
CREATE TABLE IF NOT EXISTS control.releases (
    service text PRIMARY KEY,
    version int NOT NULL CHECK (version >= 0),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What each hearer has applied of each stream, reported now and then: never above the truth, so a rebuild may start here.
CREATE TABLE IF NOT EXISTS control.positions (
    tenant text NOT NULL REFERENCES control.tenants (code),
    service text NOT NULL,
    stream text NOT NULL,
    applied_through bigint NOT NULL CHECK (applied_through >= 0),
    reported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, service, stream)
);

REVOKE ALL ON DATABASE {{database}} FROM public;
REVOKE ALL ON SCHEMA public FROM public;
