-- The session's role, the number of tables that have the tenant column, and those of them of which row security hides
-- rows from the role: no policy shows it all of them. Tables in schemas that the role may not use are left out. One row.
-- Safe under any search_path.
SELECT CURRENT_USER::pg_catalog.text, pg_catalog.count(*), pg_catalog.array_agg(t.name ORDER BY t.name) FILTER (WHERE t.hides)
FROM (
  SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.', pg_catalog.quote_ident(c.relname::pg_catalog.text)) AS name,
    pg_catalog.row_security_active(c.oid) AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_policy p
      WHERE p.polrelid OPERATOR(pg_catalog.=) c.oid AND p.polpermissive
        AND p.polcmd OPERATOR(pg_catalog.=) '*'::pg_catalog."char"
        AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) OPERATOR(pg_catalog.=) 'true'
        AND EXISTS (
          SELECT FROM pg_catalog.unnest(p.polroles) AS q(role)
          WHERE q.role OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND pg_catalog.pg_has_role(q.role, 'USAGE'))) AS hides
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
    AND a.attname OPERATOR(pg_catalog.=) :column::pg_catalog.name AND NOT a.attisdropped
  WHERE (c.relkind OPERATOR(pg_catalog.=) 'r' OR c.relkind OPERATOR(pg_catalog.=) 'p')
    AND n.nspname OPERATOR(pg_catalog.<>) 'tenantry' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
) AS t
