-- The control database's queries.

-- name: tenants_of
-- Every tenant with the schema version of one service.
SELECT t.code, t.cell, t.database, t.host, t.port, t.state, v.version, v.state AS version_state, v.needs
FROM control.tenants AS t
LEFT JOIN control.schema_versions AS v ON v.tenant = t.code AND v.service = :service
ORDER BY t.code;

-- name: tenants_mark$
-- Another text whenever `tenants_of` would give something else; NULL where there is no tenant.
SELECT encode(
    sha256(convert_to(
        string_agg((t.code, t.cell, t.database, t.host, t.port, t.state, v.version, v.state, v.needs)::text, ',' ORDER BY t.code), 'UTF8'
    )), 'hex')
FROM control.tenants AS t
LEFT JOIN control.schema_versions AS v ON v.tenant = t.code AND v.service = :service;

-- name: all_tenants
-- Every tenant, for people: the lowest schema version and the worst state of its services.
SELECT t.code, t.cell, t.database, t.host, t.port, t.state, t.created_at,
    min(v.version) AS version, string_agg(v.service || ': ' || v.detail, '; ') FILTER (WHERE v.state = 'failed') AS failure
FROM control.tenants AS t
LEFT JOIN control.schema_versions AS v ON v.tenant = t.code
GROUP BY t.code
ORDER BY t.code;

-- name: add_tenant!
-- A tenant that is being made; one that is made already stays where it is.
INSERT INTO control.tenants AS t (code, cell, database, host, port, state)
VALUES (:code, :cell, :database, :host, :port, 'creating')
ON CONFLICT (code) DO UPDATE
SET host = coalesce(EXCLUDED.host, t.host), port = coalesce(EXCLUDED.port, t.port)
WHERE t.state = 'creating';

-- name: place_of^
-- Where a tenant's database is.
SELECT database, host, port FROM control.tenants WHERE code = :code;

-- name: states_of
-- Every tenant of a cell, and whether it is there to be served.
SELECT code, state FROM control.tenants WHERE cell = :cell ORDER BY code;

-- name: activate!
-- A tenant whose tables are made can be served.
UPDATE control.tenants SET state = 'active' WHERE code = :code AND state = 'creating';

-- name: state_of$
-- Whether a tenant is there to be served; NULL where nobody made it.
SELECT state FROM control.tenants WHERE code = :code;

-- name: begin_suspension$
-- From here on nothing new is taken for this tenant; what it holds is finished. NULL where it can't be.
UPDATE control.tenants SET state = 'suspending' WHERE code = :code AND state IN ('active', 'suspending') RETURNING code;

-- name: end_suspension$
-- It is served no more; NULL where somebody has resumed it meanwhile.
UPDATE control.tenants SET state = 'suspended' WHERE code = :code AND state = 'suspending' RETURNING code;

-- name: resume$
-- It is served again; NULL where it was not suspended.
UPDATE control.tenants SET state = 'active' WHERE code = :code AND state IN ('suspending', 'suspended') RETURNING code;

-- name: move_place$
-- It is elsewhere from here on; NULL where it is not suspended, or no longer where it was believed to be.
UPDATE control.tenants
SET host = :host, port = :port
WHERE code = :code AND state = 'suspended' AND host IS NOT DISTINCT FROM :was_host AND port IS NOT DISTINCT FROM :was_port
RETURNING code;

-- name: sessions_of$
-- How many sessions these roles have in a database.
SELECT count(*) FROM pg_stat_activity WHERE datname = :database AND usename = ANY(:roles::text[]);

-- name: end_sessions
-- Ends the sessions that these roles have in a database.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :database AND usename = ANY(:roles::text[]);

-- name: room$
-- How many connections this server has for those who are no superusers.
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0);

-- name: database_exists$
-- Whether this server has a database of this name.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :database);

-- name: set_version!
-- How far a service's schema is. What code must know there is never taken back: an older release may say this too.
INSERT INTO control.schema_versions AS v (tenant, service, version, state, detail, needs)
VALUES (:tenant, :service, :version, :state, :detail, :needs::text[])
ON CONFLICT (tenant, service) DO UPDATE
SET version = EXCLUDED.version,
    state = EXCLUDED.state,
    detail = EXCLUDED.detail,
    needs = ARRAY(SELECT unnest(v.needs) UNION SELECT unnest(EXCLUDED.needs) ORDER BY 1),
    changed_at = clock_timestamp();

-- name: release!
-- Every tenant that is served was brought to this version; an older release takes nothing back.
INSERT INTO control.releases AS r (service, version)
SELECT n.service, n.version FROM unnest(:services::text[], :versions::int[]) AS n (service, version)
ON CONFLICT (service) DO UPDATE SET version = EXCLUDED.version, at = clock_timestamp()
WHERE r.version < EXCLUDED.version;

-- name: released$
-- The version that every tenant was brought to; NULL where that was never said.
SELECT version FROM control.releases WHERE service = :service;

-- name: has_tenants$
-- Whether there is anybody to be migrated.
SELECT EXISTS (SELECT FROM control.tenants);

-- name: report_positions!
-- What this service has applied, of each stream that it hears; never backwards.
INSERT INTO control.positions AS p (tenant, service, stream, applied_through)
SELECT :tenant, :service, r.stream, r.applied_through
FROM unnest(:streams::text[], :positions::bigint[]) AS r (stream, applied_through)
ORDER BY r.stream
ON CONFLICT (tenant, service, stream) DO UPDATE
SET applied_through = greatest(p.applied_through, EXCLUDED.applied_through), reported_at = clock_timestamp()
WHERE p.applied_through IS DISTINCT FROM EXCLUDED.applied_through;

-- name: lowest_position$
-- The lowest position among the services that must hear a stream; NULL while one of them has never reported.
SELECT CASE WHEN count(*) = cardinality(:services::text[]) THEN min(applied_through) END
FROM control.positions
WHERE tenant = :tenant AND stream = :stream AND service = ANY(:services::text[]);

-- name: highest_position$
-- The highest position that any hearer of a stream has reported; NULL where none has.
SELECT max(applied_through) FROM control.positions WHERE tenant = :tenant AND stream = :stream;

-- name: correct_positions!
-- What the hearers of a stream have really applied, after their tables were restored to less.
UPDATE control.positions AS p
SET applied_through = c.applied_through, reported_at = clock_timestamp()
FROM unnest(:services::text[], :positions::bigint[]) AS c (service, applied_through)
WHERE p.tenant = :tenant AND p.stream = :stream AND p.service = c.service AND p.applied_through > c.applied_through;
