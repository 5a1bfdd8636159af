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
-- Only where they are missing: each of these waits for all who read the table, and makes all who come later wait.
DO $$
BEGIN
    IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = 'control.positions'::regclass) THEN
        ALTER TABLE control.positions ENABLE ROW LEVEL SECURITY;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = 'control.positions'::regclass AND polname = 'read_all') THEN
        CREATE POLICY read_all ON control.positions FOR SELECT USING (true);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = 'control.positions'::regclass AND polname = 'own_{{service}}') THEN
        CREATE POLICY own_{{service}} ON control.positions TO {{role}} USING (service = '{{service}}') WITH CHECK (service = '{{service}}');
    END IF;
END
$$;
