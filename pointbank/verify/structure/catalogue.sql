-- What the database itself guarantees. $1 is the prefix of the tenant's roles, with its underscore; roles are told without it.

-- name: constraints
-- Constraints of tables that are no partitions, and exclusions wherever they stand, as PostgreSQL writes them. NOT NULL is
-- told by column.
SELECT n.nspname AS schema, c.relname AS "table", k.conname AS name,
    pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' (not validated)' END AS definition
FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY($1::text[]) AND (NOT c.relispartition OR k.contype = 'x') AND k.contype <> 'n'
ORDER BY 1, 2, 3;

-- name: indexes
-- Unique indexes that are no constraint's.
SELECT n.nspname AS schema, c.relname AS "table", i.relname AS name,
    regexp_replace(pg_get_indexdef(x.indexrelid), '^CREATE UNIQUE INDEX \S+ ON \S+ ', 'UNIQUE ')
    || CASE WHEN x.indisvalid THEN '' ELSE ' (not valid)' END AS definition
FROM pg_index AS x
JOIN pg_class AS i ON i.oid = x.indexrelid
JOIN pg_class AS c ON c.oid = x.indrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY($1::text[]) AND x.indisunique AND NOT c.relispartition
    AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = x.indexrelid)
ORDER BY 1, 2, 3;

-- name: not_null
-- Columns that are never null.
SELECT n.nspname AS schema, c.relname AS "table", string_agg(a.attname, ' ' ORDER BY a.attname) AS columns
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY($1::text[]) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND a.attnotnull
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: triggers
-- Triggers of tables that are no partitions: what each refuses, and whether it is on.
SELECT n.nspname AS schema, c.relname AS "table", t.tgname AS name,
    regexp_replace(pg_get_triggerdef(t.oid), ' ON \S+ ', ' ') || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' (off)' END AS definition
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY($1::text[]) AND NOT t.tgisinternal AND NOT c.relispartition
ORDER BY 1, 2, 3;

-- name: grants
-- Who else than its owner may do what with each table, partition and column. The empty name is PUBLIC.
SELECT n.nspname AS schema, coalesce(p.relname, c.relname) AS "table", c.relispartition AS partition,
    coalesce(r.rolname, '') AS role, string_agg(DISTINCT g.privilege_type || g.place, ' ' ORDER BY g.privilege_type || g.place) AS privileges,
    c.relname AS relation
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT t.relid AS oid FROM pg_partition_ancestors(c.oid) AS t WHERE c.relispartition ORDER BY t.relid = pg_partition_root(c.oid) DESC LIMIT 1
) AS root ON true
LEFT JOIN pg_class AS p ON p.oid = root.oid
CROSS JOIN LATERAL (
    SELECT a.grantee, a.privilege_type, '' AS place FROM aclexplode(c.relacl) AS a
    UNION ALL
    SELECT a.grantee, a.privilege_type, '(' || b.attname || ')'
    FROM pg_attribute AS b, aclexplode(b.attacl) AS a
    WHERE b.attrelid = c.oid AND b.attnum > 0
) AS g
LEFT JOIN pg_roles AS r ON r.oid = g.grantee
WHERE n.nspname = ANY($1::text[]) AND g.grantee <> c.relowner
GROUP BY 1, 2, 3, 4, 6
ORDER BY 1, 2, 3, 4, 6;

-- name: append_only_gaps
-- Partitions of append-only tables, at any depth, and how many of their triggers are those of the whole table.
SELECT n.nspname AS schema, c.relname AS "table",
    count(t.oid) FILTER (WHERE t.tgname = 'refuse_change') AS refusing_change,
    count(t.oid) FILTER (WHERE t.tgname = 'refuse_truncate') AS refusing_truncate
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_trigger AS t ON t.tgrelid = c.oid AND t.tgenabled = 'O' AND t.tgqual IS NULL AND EXISTS (
    SELECT FROM pg_trigger AS root
    WHERE root.tgrelid = pg_partition_root(c.oid) AND root.tgname = t.tgname
        AND (root.tgfoid, root.tgtype, root.tgattr) = (t.tgfoid, t.tgtype, t.tgattr)
)
WHERE n.nspname = ANY($1::text[]) AND c.relispartition AND c.relkind IN ('r', 'p')
    AND EXISTS (
        SELECT FROM pg_trigger AS above
        WHERE above.tgrelid = pg_partition_root(c.oid) AND above.tgname = 'refuse_change'
    )
GROUP BY 1, 2;

-- name: schema_grants
-- Who else than its owner may use or fill each schema. The empty name is PUBLIC.
SELECT n.nspname AS schema, coalesce(r.rolname, '') AS role, string_agg(g.privilege_type, ' ' ORDER BY g.privilege_type) AS privileges
FROM pg_namespace AS n
CROSS JOIN LATERAL aclexplode(n.nspacl) AS g
LEFT JOIN pg_roles AS r ON r.oid = g.grantee
WHERE (n.nspname = ANY($1::text[]) OR n.nspname = 'public') AND g.grantee <> n.nspowner
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: function_grants
-- Who else than its owner may call functions that run with their owner's rights.
SELECT n.nspname AS schema, f.proname AS name, coalesce(r.rolname, '') AS role
FROM pg_proc AS f
JOIN pg_namespace AS n ON n.oid = f.pronamespace
CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS g
LEFT JOIN pg_roles AS r ON r.oid = g.grantee
WHERE n.nspname = ANY($1::text[]) AND f.prosecdef AND g.grantee <> f.proowner
ORDER BY 1, 2, 3;

-- name: database_grants
-- Who may do what with the database. The empty name is PUBLIC.
SELECT coalesce(r.rolname, '') AS role, string_agg(g.privilege_type, ' ' ORDER BY g.privilege_type) AS privileges
FROM pg_database AS d
CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS g
LEFT JOIN pg_roles AS r ON r.oid = g.grantee
WHERE d.datname = current_database() AND g.grantee <> d.datdba
GROUP BY 1
ORDER BY 1;

-- name: roles
-- The tenant's roles and what makes them stronger than they should be.
SELECT r.rolname AS role, r.rolcanlogin AS logs_in,
    r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls AS strong,
    (SELECT count(*) FROM pg_auth_members AS m WHERE m.member = r.oid) AS memberships,
    (SELECT count(*) FROM pg_class AS c WHERE c.relowner = r.oid) AS owns
FROM pg_roles AS r
WHERE r.rolname LIKE replace(replace($1, '\', '\\'), '_', '\_') || '%' AND strpos(substr(r.rolname, length($1) + 1), '_') = 0
ORDER BY 1;

-- name: settings
-- What was tied to this database or to all, for one role or for everybody (the empty name).
SELECT coalesce(r.rolname, '') AS role, s.setdatabase <> 0 AS here, split_part(c.said, '=', 1) AS name,
    substr(c.said, strpos(c.said, '=') + 1) AS value
FROM pg_db_role_setting AS s
LEFT JOIN pg_roles AS r ON r.oid = s.setrole
CROSS JOIN LATERAL unnest(s.setconfig) AS c (said)
WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
ORDER BY 1, 2, 3;

-- name: server_settings
-- What the server's files, command line or defaults say of these, where nothing nearer says otherwise.
SELECT p.name, p.setting
FROM pg_settings AS p
WHERE p.name = ANY($1::text[]) AND p.source IN ('default', 'environment variable', 'configuration file', 'command line')
ORDER BY 1;

-- name: settable
-- Who besides administrators was let set these. The empty name is PUBLIC.
SELECT coalesce(r.rolname, '') AS role, p.parname AS name
FROM pg_parameter_acl AS p
CROSS JOIN LATERAL aclexplode(p.paracl) AS g
LEFT JOIN pg_roles AS r ON r.oid = g.grantee
WHERE p.parname = ANY($1::text[]) AND (r.oid IS NULL OR NOT r.rolsuper)
ORDER BY 1, 2;
