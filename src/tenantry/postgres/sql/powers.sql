-- name: standings
-- Predefined roles, too.
SELECT r.rolname::text AS name, r.rolsuper AS superuser, r.rolbypassrls AS bypasses, r.rolcreaterole AS creates_roles,
       r.rolcreatedb AS creates_databases, r.rolreplication AS replicates, r.rolcanlogin AS login
FROM pg_catalog.pg_roles r
ORDER BY r.rolname

-- name: memberships
-- Before 16 a member may always SET ROLE, and inherits the privileges unless it is NOINHERIT itself.
SELECT member.rolname::text AS member, role.rolname::text AS "of", m.admin_option AS admin,
       coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, member.rolinherit) AS inherits,
       coalesce((to_jsonb(m) ->> 'set_option')::boolean, true) AS settable
FROM pg_catalog.pg_auth_members m
JOIN pg_catalog.pg_roles member ON member.oid = m.member
JOIN pg_catalog.pg_roles role ON role.oid = m.roleid
ORDER BY 1, 2

-- name: opened_functions
-- Functions of PostgreSQL and of extensions that PUBLIC may not call at first, and that were granted to these roles
-- since.
SELECT p.oid::regprocedure::text AS name, coalesce(r.rolname::text, 'PUBLIC') AS holder
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_init_privs i
  ON i.classoid = 'pg_catalog.pg_proc'::regclass AND i.objoid = p.oid AND i.objsubid = 0
CROSS JOIN pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) e
LEFT JOIN pg_catalog.pg_roles r ON r.oid = e.grantee
WHERE (e.grantee = 0 OR r.rolname = ANY(%(roles)s))
  AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(i.initprivs) o WHERE o.grantee IN (0, e.grantee))
ORDER BY 1, 2

-- name: opened_parameters
-- GRANT SET ON PARAMETER exists since 15.
SELECT p.parname || ' (' || e.privilege_type || ')' AS name, coalesce(r.rolname::text, 'PUBLIC') AS holder
FROM pg_catalog.pg_parameter_acl p
CROSS JOIN pg_catalog.aclexplode(p.paracl) e
LEFT JOIN pg_catalog.pg_roles r ON r.oid = e.grantee
WHERE e.grantee = 0 OR r.rolname = ANY(%(roles)s)
ORDER BY 1, 2

-- name: owned
-- The schemas of tenantry's objects and functions, and functions that triggers of the tables call: their owner can
-- change them.
SELECT 'DATABASE' AS kind, pg_catalog.quote_ident(d.datname) AS name, pg_catalog.pg_get_userbyid(d.datdba)::text AS holder
FROM pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database() AND pg_catalog.pg_get_userbyid(d.datdba) = ANY(%(roles)s)
UNION ALL
SELECT 'SCHEMA', pg_catalog.quote_ident(n.nspname), pg_catalog.pg_get_userbyid(n.nspowner)::text
FROM pg_catalog.pg_namespace n
WHERE n.nspname = ANY(%(schemas)s) AND pg_catalog.pg_get_userbyid(n.nspowner) = ANY(%(roles)s)
UNION ALL
SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure::text,
       pg_catalog.pg_get_userbyid(p.proowner)::text
FROM pg_catalog.pg_proc p
WHERE pg_catalog.pg_get_userbyid(p.proowner) = ANY(%(roles)s)
  AND (p.pronamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'tenantry')
       OR EXISTS (SELECT FROM pg_catalog.pg_trigger t
                  WHERE t.tgfoid = p.oid AND t.tgenabled <> 'D'
                    AND t.tgrelid IN (SELECT pg_catalog.to_regclass(w.name) FROM pg_catalog.unnest(%(names)s::text[]) w(name))))
ORDER BY 1, 2
