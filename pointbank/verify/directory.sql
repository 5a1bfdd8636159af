-- What is asked of the control database: the rest is none of the auditor's business.

-- name: place
-- Where a tenant's database is; no host or port: on the server of the control database.
SELECT t.database, t.host, t.port FROM control.tenants AS t WHERE t.code = $1;

-- name: suspended
-- Whether its services are shut out of a tenant's database, or may be from one moment to the next.
SELECT t.state <> 'active' FROM control.tenants AS t WHERE t.code = $1;
