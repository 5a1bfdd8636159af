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
ALTER TABLE control.positions ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS read_all ON control.positions;
CREATE POLICY read_all ON control.positions FOR SELECT USING (true);
DROP POLICY IF EXISTS own_{{service}} ON control.positions;
CREATE POLICY own_{{service}} ON control.positions TO {{role}} USING (service = '{{service}}') WITH CHECK (service = '{{service}}');
