-- name: database
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r
               WHERE r.rolname OPERATOR(pg_catalog.=) ANY (%(roles)s)
                 AND pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CREATE')) AS creates

-- name: schemas
SELECT n.nspname::text AS name,
       coalesce(pg_catalog.bool_or(pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')), false) AS uses,
       coalesce(pg_catalog.bool_or(pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')), false) AS creates,
       coalesce(pg_catalog.bool_or(pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE WITH GRANT OPTION')), false)
           AS grants_usage
FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_roles r ON r.rolname OPERATOR(pg_catalog.=) ANY (%(roles)s)
WHERE n.nspname OPERATOR(pg_catalog.=) ANY (%(schemas)s)
GROUP BY n.nspname
ORDER BY n.nspname

-- name: opened
-- To the application role. If no role of that name exists, to PUBLIC.
SELECT n.nspname::text AS name
FROM pg_catalog.pg_namespace n
WHERE n.nspname OPERATOR(pg_catalog.=) ANY (%(schemas)s)
  AND pg_catalog.has_schema_privilege(
        coalesce((SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) %(application)s),
                 'public'), n.oid, 'USAGE')

-- name: makers
SELECT r.rolname::text AS role, n.nspname::text AS schema
FROM pg_catalog.pg_namespace n, pg_catalog.pg_roles r
WHERE n.nspname OPERATOR(pg_catalog.=) ANY (%(schemas)s) AND r.rolname OPERATOR(pg_catalog.=) ANY (%(makers)s)
  AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')

-- name: withheld
-- What PUBLIC may use by default, and none of `roles` may: the language of tenantry's functions, and the types of the
-- tables' columns, which a table of tenantry's with such a column needs. For an array the type of its elements counts.
SELECT DISTINCT 'LANGUAGE' AS kind, ARRAY[l.lanname::text] AS names, NULL::text AS schema, NULL::text AS table
FROM pg_catalog.pg_language l
WHERE l.lanname OPERATOR(pg_catalog.=) 'plpgsql'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r
                  WHERE r.rolname OPERATOR(pg_catalog.=) ANY (%(roles)s)
                    AND pg_catalog.has_language_privilege(r.oid, l.oid, 'USAGE'))
UNION ALL
SELECT DISTINCT 'TYPE', ARRAY[tn.nspname::text, t.typname::text], n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
     AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type u ON u.oid OPERATOR(pg_catalog.=) a.atttypid
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) CASE WHEN u.typcategory OPERATOR(pg_catalog.=) 'A'
     AND u.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN u.typelem ELSE u.oid END
JOIN pg_catalog.pg_namespace tn ON tn.oid OPERATOR(pg_catalog.=) t.typnamespace
WHERE c.relkind IN ('r', 'p') AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_')
  AND n.nspname NOT IN ('information_schema', 'tenantry')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r
                  WHERE r.rolname OPERATOR(pg_catalog.=) ANY (%(roles)s)
                    AND pg_catalog.has_type_privilege(r.oid, t.oid, 'USAGE'))
ORDER BY 1, 2, 3, 4
