-- name: reached_functions
-- What runs as its owner when the application calls it, or when a trigger does.
SELECT p.oid::regprocedure::text AS signature
FROM pg_catalog.pg_proc p
WHERE p.prosecdef
  AND (has_function_privilege(%(role)s, p.oid, 'EXECUTE')
       OR EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgfoid = p.oid AND t.tgenabled <> 'D'))

-- name: reached_roles
-- SET is a privilege of its own since 16.
SELECT r.rolname::text AS name, r.rolsuper OR r.rolbypassrls AS bypasses
FROM pg_catalog.pg_roles a, pg_catalog.pg_roles r
WHERE a.rolname = %(role)s AND NOT a.rolsuper AND r.oid <> a.oid
  AND (r.rolsuper OR r.rolbypassrls OR r.rolname = ANY(%(roles)s))
  AND (pg_has_role(a.oid, r.oid, 'USAGE')
       OR CASE WHEN current_setting('server_version_num')::int >= 160000 THEN pg_has_role(a.oid, r.oid, 'SET')
               ELSE pg_has_role(a.oid, r.oid, 'MEMBER') END)
ORDER BY r.rolname

-- name: privileges
-- Whichever way the role has them: its own, those of PUBLIC, and of roles that it is a member of.
SELECT n.nspname::text AS schema, c.relname::text AS name, array_agg(p.privilege ORDER BY p.position) AS privileges
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN unnest(%(privileges)s::text[]) WITH ORDINALITY p(privilege, position)
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
  AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = %(role)s AND NOT r.rolsuper)
  AND (has_table_privilege(%(role)s, c.oid, p.privilege)
       OR p.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
          AND has_any_column_privilege(%(role)s, c.oid, p.privilege))
GROUP BY n.nspname, c.relname
ORDER BY n.nspname, c.relname

-- name: rules
-- Of tables and views, where they do something.
SELECT DISTINCT rn.nspname::text AS schema, rc.relname::text AS name, r.rulename::text AS rule,
       pg_get_userbyid(rc.relowner)::text AS owner, n.nspname::text AS read_schema, c.relname::text AS read_name
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class rc ON rc.oid = r.ev_class
JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                           AND d.refclassid = 'pg_class'::regclass
JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.rulename <> '_RETURN' AND r.ev_enabled <> 'D' AND pg_get_ruledef(r.oid) !~ 'NOTHING;\s*$'
  AND c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
ORDER BY 1, 2, 3, 5, 6

-- name: publications
SELECT DISTINCT p.pubname::text AS publication, p.schemaname::text AS schema, p.tablename::text AS name
FROM pg_catalog.pg_publication_tables p
JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
ORDER BY 1, 2, 3

-- name: tenants_by_default
-- ALTER ROLE ... SET and ALTER DATABASE ... SET, where they reach sessions of the application.
SELECT r.rolname::text AS role, d.datname::text AS database
FROM pg_catalog.pg_db_role_setting s
CROSS JOIN unnest(s.setconfig) c(setting)
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
WHERE lower(split_part(c.setting, '=', 1)) = lower(%(setting)s) AND split_part(c.setting, '=', 2) <> ''
  AND (s.setdatabase = 0 OR d.datname = current_database())
  AND (s.setrole = 0 OR NOT r.rolsuper AND EXISTS (SELECT FROM pg_catalog.pg_roles a
                                                   WHERE a.rolname = %(role)s AND pg_has_role(r.oid, a.oid, 'USAGE')))
ORDER BY 1 NULLS FIRST, 2 NULLS FIRST

-- name: policies
-- PERMISSIVE ones that are for the application role, whoever made them.
SELECT n.nspname::text AS schema, c.relname::text AS name, p.polname::text AS policy,
       CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                     ELSE 'ALL' END AS command,
       ARRAY(SELECT CASE r.oid WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r.oid)::text END
             FROM unnest(p.polroles) r(oid)) AS roles,
       pg_get_expr(p.polqual, p.polrelid) AS using, pg_get_expr(p.polwithcheck, p.polrelid) AS check
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.polpermissive
  AND c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
  AND (0 = ANY(p.polroles) OR EXISTS (SELECT FROM pg_catalog.pg_roles a, unnest(p.polroles) r(oid)
                                      WHERE a.rolname = %(role)s AND pg_has_role(a.oid, r.oid, 'USAGE')))
ORDER BY 1, 2, 3
