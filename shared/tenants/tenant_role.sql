-- A role of one tenant: the owner (no login), a service's login, or the auditor's.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{{name}}') THEN
        CREATE ROLE {{role}};
    END IF;
END
$$;
ALTER ROLE {{role}} WITH NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS {{login}};
