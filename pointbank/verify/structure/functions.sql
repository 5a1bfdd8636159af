-- The functions of the services' schemas: what triggers call, and what runs with its owner's rights.

-- name: functions
-- Each function by name and arguments: a hash of its body as it was written, how it runs, and who else than its owner may
-- execute it (the empty name is PUBLIC). A body in SQL's own form has no text; it is told as such.
SELECT n.nspname || '.' || f.proname || '(' || oidvectortypes(f.proargtypes) || ')' AS name,
    CASE WHEN f.prosqlbody IS NULL THEN encode(sha256(convert_to(f.prosrc, 'UTF8')), 'hex') ELSE 'parsed' END AS body,
    concat_ws(
        '; ',
        l.lanname,
        CASE f.provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END,
        CASE WHEN f.proisstrict THEN 'strict' END,
        CASE WHEN f.prosecdef THEN 'with the rights of its owner' ELSE 'with the rights of its caller' END,
        CASE WHEN f.proowner <> n.nspowner THEN 'whose owner is not its schema''s' END,
        array_to_string(f.proconfig, '; '),
        'gives ' || pg_get_function_result(f.oid)
    ) AS runs,
    ARRAY(
        SELECT coalesce(r.rolname, '')
        FROM aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS g
        LEFT JOIN pg_roles AS r ON r.oid = g.grantee
        WHERE g.grantee <> f.proowner
        ORDER BY 1
    ) AS roles
FROM pg_proc AS f
JOIN pg_namespace AS n ON n.oid = f.pronamespace
JOIN pg_language AS l ON l.oid = f.prolang
WHERE n.nspname = ANY($1::text[])
ORDER BY 1;
