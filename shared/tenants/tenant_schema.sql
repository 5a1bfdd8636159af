-- A service's schema in a tenant's database: owned by the tenant's owner, used by that service's login, read by the auditor.

CREATE SCHEMA IF NOT EXISTS {{schema}} AUTHORIZATION {{owner}};
GRANT CONNECT ON DATABASE {{database}} TO {{role}};
GRANT USAGE ON SCHEMA {{schema}} TO {{role}}, {{auditor}};
ALTER ROLE {{role}} IN DATABASE {{database}} SET search_path = {{schema}};
ALTER DEFAULT PRIVILEGES FOR ROLE {{owner}} IN SCHEMA {{schema}} GRANT SELECT ON TABLES TO {{auditor}};
GRANT SELECT ON ALL TABLES IN SCHEMA {{schema}} TO {{auditor}};
