-- The auditor's login in the control database: reads where tenants are, and nothing else.

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
GRANT SELECT ON control.tenants TO {{role}};
