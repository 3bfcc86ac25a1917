-- name: reached_functions
-- Functions that run as their owner when the application or a trigger calls them.
SELECT p.oid::regprocedure::text AS signature
FROM pg_catalog.pg_proc p
WHERE p.prosecdef
  AND (EXISTS (SELECT FROM pg_catalog.unnest(%(roles)s::text[]) r(name)
               WHERE pg_catalog.has_function_privilege(r.name, p.oid, 'EXECUTE'))
       OR EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgfoid = p.oid AND t.tgenabled <> 'D'))

-- name: privileges
-- However a role has them: by its own privileges, those of PUBLIC, and of roles of which it is a member.
SELECT n.nspname::text AS schema, c.relname::text AS name,
       ARRAY(SELECT p.privilege FROM pg_catalog.unnest(%(privileges)s::text[]) WITH ORDINALITY p(privilege, position)
             WHERE p.privilege = ANY(pg_catalog.array_agg(h.privilege)) ORDER BY p.position) AS privileges,
       pg_catalog.array_agg(DISTINCT h.role) AS holders
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN (SELECT r.rolname::text AS role, p.privilege
      FROM pg_catalog.pg_roles r, pg_catalog.unnest(%(privileges)s::text[]) p(privilege)
      WHERE r.rolname = ANY(%(roles)s) AND NOT r.rolsuper) h
  ON pg_catalog.has_table_privilege(h.role, c.oid, h.privilege)
     OR h.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
        AND pg_catalog.has_any_column_privilege(h.role, c.oid, h.privilege)
WHERE c.oid = ANY(SELECT pg_catalog.to_regclass(t.name) FROM pg_catalog.unnest(%(names)s::text[]) t(name))
GROUP BY n.nspname, c.relname
ORDER BY n.nspname, c.relname

-- name: rules
-- Of tables and views that have an effect.
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
-- ALTER ROLE ... SET and ALTER DATABASE ... SET that apply to sessions of the application.
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
-- PERMISSIVE policies for the application role, whoever created them.
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
                                      WHERE a.rolname = ANY(%(roles)s) AND pg_has_role(a.oid, r.oid, 'USAGE')))
ORDER BY 1, 2, 3

-- name: open_relations
-- All relations that hold or show rows and that the application may read or write in some way, in any schema, except
-- those of PostgreSQL and of extensions, and views of these.
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, c.relrowsecurity AS secured,
       ARRAY(SELECT p.privilege FROM pg_catalog.unnest(%(privileges)s::text[]) WITH ORDINALITY p(privilege, position)
             WHERE p.privilege = ANY(pg_catalog.array_agg(h.privilege)) ORDER BY p.position) AS privileges,
       pg_catalog.array_agg(DISTINCT h.role) AS holders
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN (SELECT r.rolname::text AS role, p.privilege
      FROM pg_catalog.pg_roles r, pg_catalog.unnest(%(privileges)s::text[]) p(privilege)
      WHERE r.rolname = ANY(%(roles)s) AND NOT r.rolsuper) h
  ON pg_catalog.has_schema_privilege(h.role, n.oid, 'USAGE')
     AND (pg_catalog.has_table_privilege(h.role, c.oid, h.privilege)
          OR h.privilege IN ('SELECT', 'INSERT', 'UPDATE')
             AND pg_catalog.has_any_column_privilege(h.role, c.oid, h.privilege))
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND c.relpersistence <> 't'
  AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_') AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
GROUP BY n.nspname, c.relname, c.relkind, c.relrowsecurity
ORDER BY n.nspname, c.relname

-- name: creating
-- Schemas in which the application may create objects. Privileges of PUBLIC do not count as a grant to it.
SELECT w.kind, w.name, h.role AS holder, w.everybody
FROM pg_catalog.pg_roles r
CROSS JOIN LATERAL (SELECT r.rolname::text AS role) h
CROSS JOIN LATERAL (
    SELECT 'DATABASE' AS kind, pg_catalog.quote_ident(d.datname) AS name,
           EXISTS (SELECT FROM pg_catalog.aclexplode(d.datacl) e WHERE e.grantee = 0 AND e.privilege_type = 'CREATE')
               AS everybody, d.datdba AS owner
    FROM pg_catalog.pg_database d
    WHERE d.datname = pg_catalog.current_database() AND pg_catalog.has_database_privilege(r.oid, d.oid, 'CREATE')
    UNION ALL
    SELECT 'SCHEMA', pg_catalog.quote_ident(n.nspname),
           EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) e WHERE e.grantee = 0 AND e.privilege_type = 'CREATE'),
           n.nspowner
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname = ANY(%(schemas)s) AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')) w
WHERE r.rolname = ANY(%(roles)s) AND NOT r.rolsuper AND NOT pg_catalog.pg_has_role(r.oid, w.owner, 'USAGE')
ORDER BY 1, 2, 3

-- name: settable_sequences
SELECT n.nspname::text AS schema, c.relname::text AS name, pg_catalog.array_agg(r.rolname::text ORDER BY r.rolname) AS holders
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles r ON r.rolname = ANY(%(roles)s) AND NOT r.rolsuper
WHERE c.relkind = 'S' AND c.oid = ANY(SELECT pg_catalog.to_regclass(t.name) FROM pg_catalog.unnest(%(names)s::text[]) t(name))
  AND pg_catalog.has_sequence_privilege(r.oid, c.oid, 'UPDATE')
GROUP BY 1, 2
ORDER BY 1, 2

-- name: foreign_servers
-- Whoever may use a server can reach it by a foreign table of its own, or by dblink. Some wrappers let the user name a
-- server.
SELECT 'FOREIGN SERVER' AS kind, pg_catalog.quote_ident(s.srvname) AS name, r.rolname::text AS holder,
       EXISTS (SELECT FROM pg_catalog.pg_user_mappings m WHERE m.srvid = s.oid AND m.umuser IN (0, r.oid)) AS mapped
FROM pg_catalog.pg_foreign_server s
JOIN pg_catalog.pg_roles r ON r.rolname = ANY(%(roles)s) AND NOT r.rolsuper
WHERE pg_catalog.has_server_privilege(r.oid, s.oid, 'USAGE')
UNION ALL
SELECT 'FOREIGN DATA WRAPPER', pg_catalog.quote_ident(w.fdwname), r.rolname::text, false
FROM pg_catalog.pg_foreign_data_wrapper w
JOIN pg_catalog.pg_roles r ON r.rolname = ANY(%(roles)s) AND NOT r.rolsuper
WHERE pg_catalog.has_foreign_data_wrapper_privilege(r.oid, w.oid, 'USAGE')
ORDER BY 1, 2, 3

-- name: large_objects
-- Those that the application created or was granted.
SELECT pg_catalog.count(*) AS count
FROM pg_catalog.pg_largeobject_metadata l
WHERE pg_catalog.current_setting('lo_compat_privileges')::boolean
   OR l.lomowner IN (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = ANY(%(roles)s))
   OR EXISTS (SELECT FROM pg_catalog.aclexplode(l.lomacl) e
              WHERE e.grantee = 0 OR e.grantee IN (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = ANY(%(roles)s)))

-- name: default_privileges
SELECT DISTINCT pg_catalog.pg_get_userbyid(d.defaclrole)::text AS role, n.nspname::text AS schema,
       coalesce(r.rolname::text, 'PUBLIC') AS holder
FROM pg_catalog.pg_default_acl d
CROSS JOIN pg_catalog.aclexplode(d.defaclacl) e
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
LEFT JOIN pg_catalog.pg_roles r ON r.oid = e.grantee
WHERE d.defaclobjtype = 'r' AND (d.defaclnamespace = 0 OR n.nspname = ANY(%(schemas)s))
  AND (e.grantee = 0 OR r.rolname = ANY(%(roles)s)) AND e.grantee <> d.defaclrole
ORDER BY 1, 2 NULLS FIRST, 3
