-- The session's role, with a reason for each way to bypass the policies. One row without a reason if there is none.
-- Safe under any search_path: tables, functions and operators are qualified. Runs with the rights of the caller, and
-- reads only the catalog.
WITH session AS (
  SELECT r.oid, r.rolsuper FROM pg_catalog.pg_roles r
  WHERE r.rolname OPERATOR(pg_catalog.=) SESSION_USER OR r.rolname OPERATOR(pg_catalog.=) CURRENT_USER
),
reachable AS (
  SELECT r.oid, r.rolsuper, r.rolbypassrls, r.rolcreaterole,
    CASE WHEN EXISTS (SELECT FROM session s WHERE s.oid OPERATOR(pg_catalog.=) r.oid) THEN 'it'
      ELSE pg_catalog.concat('it may become ', pg_catalog.quote_ident(r.rolname::text), ', which') END AS subject
  FROM pg_catalog.pg_roles r
  WHERE EXISTS (
    SELECT FROM session s WHERE s.oid OPERATOR(pg_catalog.=) r.oid
      OR NOT s.rolsuper AND pg_catalog.pg_has_role(s.oid, r.oid, 'MEMBER')
  )
),
secured AS (
  SELECT c.oid, c.relowner, pg_catalog.concat(pg_catalog.quote_ident(n.nspname::text), '.', pg_catalog.quote_ident(c.relname::text)) AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE c.relrowsecurity
),
reason AS (
  SELECT 1 AS place, pg_catalog.concat(subject, ' is a superuser') AS text FROM reachable WHERE rolsuper
  UNION ALL
  SELECT 2, pg_catalog.concat(subject, ' has BYPASSRLS') FROM reachable WHERE rolbypassrls AND NOT rolsuper
  UNION ALL
  SELECT 3, pg_catalog.concat(r.subject, ' owns ', pg_catalog.min(t.name),
    CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>) 1
      THEN pg_catalog.concat(' and ', pg_catalog.count(*) OPERATOR(pg_catalog.-) 1, ' more') END)
  FROM reachable r JOIN secured t ON t.relowner OPERATOR(pg_catalog.=) r.oid
  WHERE NOT r.rolsuper GROUP BY r.oid, r.subject
  UNION ALL
  SELECT 4, pg_catalog.concat(r.subject, ' sees all rows of ', pg_catalog.min(t.name), ' by policy ', pg_catalog.min(p.polname::text))
  FROM reachable r
  JOIN pg_catalog.pg_policy p ON EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) AS q(role) WHERE q.role OPERATOR(pg_catalog.=) r.oid)
  JOIN secured t ON t.oid OPERATOR(pg_catalog.=) p.polrelid
  WHERE p.polpermissive AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) OPERATOR(pg_catalog.=) 'true'
    AND t.relowner OPERATOR(pg_catalog.<>) r.oid
  GROUP BY r.oid, r.subject
  UNION ALL
  SELECT 5, pg_catalog.concat(subject, ' has CREATEROLE, and before PostgreSQL 16 could make itself a member of other roles')
  FROM reachable
  WHERE rolcreaterole AND NOT rolsuper
    AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.<) 160000
  UNION ALL
  SELECT 6, pg_catalog.concat('it is a member of ', r.rolname, ', and reaches the files of the server')
  FROM pg_catalog.pg_roles r JOIN reachable USING (oid)
  WHERE r.rolname OPERATOR(pg_catalog.=) 'pg_execute_server_program'
    OR r.rolname OPERATOR(pg_catalog.=) 'pg_read_server_files' OR r.rolname OPERATOR(pg_catalog.=) 'pg_write_server_files'
  UNION ALL
  SELECT 7, pg_catalog.concat('the role or the database sets ', c.line, ' by default')
  FROM pg_catalog.pg_db_role_setting d
  CROSS JOIN LATERAL pg_catalog.unnest(d.setconfig) AS c(line)
  WHERE pg_catalog.starts_with(pg_catalog.lower(c.line), :prefix)
    AND (d.setrole OPERATOR(pg_catalog.=) 0 OR EXISTS (SELECT FROM session s WHERE s.oid OPERATOR(pg_catalog.=) d.setrole))
    AND (d.setdatabase OPERATOR(pg_catalog.=) 0 OR d.setdatabase OPERATOR(pg_catalog.=) (
      SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))
)
SELECT SESSION_USER::pg_catalog.text, reason.text
FROM (SELECT 1) AS one LEFT JOIN reason ON true ORDER BY reason.place, reason.text
