-- The control database's only question: the rest is none of the auditor's business.

-- name: place
-- Where a tenant's database is; no host or port: on the server of the control database.
SELECT t.database, t.host, t.port FROM control.tenants AS t WHERE t.code = $1;
