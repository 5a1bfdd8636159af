-- A service's login in the control database: reads where tenants are, reports its own positions.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{{name}}') THEN
        CREATE ROLE {{role}} LOGIN;
    END IF;
END
$$;
ALTER ROLE {{role}} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD '{{password}}';
GRANT CONNECT ON DATABASE {{database}} TO {{role}};
GRANT USAGE ON SCHEMA control TO {{role}};
GRANT SELECT ON control.tenants, control.schema_versions, control.positions, control.releases TO {{role}};
GRANT INSERT, UPDATE ON control.positions TO {{role}};
-- Only where they are missing, or somebody altered them: each of these waits for all who read the table, and makes all who come
-- later wait.
DO $$
DECLARE
    own constant text := '(service = ''{{service}}''::text)';
BEGIN
    IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = 'control.positions'::regclass) THEN
        ALTER TABLE control.positions ENABLE ROW LEVEL SECURITY;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_policies AS p
        WHERE p.schemaname = 'control' AND p.tablename = 'positions' AND p.policyname = 'read_all'
            AND (p.permissive, p.cmd, p.roles, p.qual) = ('PERMISSIVE', 'SELECT', ARRAY['public'::name], 'true')
    ) THEN
        DROP POLICY IF EXISTS read_all ON control.positions;
        CREATE POLICY read_all ON control.positions FOR SELECT USING (true);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_policies AS p
        WHERE p.schemaname = 'control' AND p.tablename = 'positions' AND p.policyname = 'own_{{service}}'
            AND (p.permissive, p.cmd, p.roles, p.qual, p.with_check) = ('PERMISSIVE', 'ALL', ARRAY['{{name}}'::name], own, own)
    ) THEN
        DROP POLICY IF EXISTS own_{{service}} ON control.positions;
        CREATE POLICY own_{{service}} ON control.positions TO {{role}} USING (service = '{{service}}') WITH CHECK (service = '{{service}}');
    END IF;
END
$$;
