-- The tables with the tenant column that lack row security, enabled, forced and with a policy. Safe under any search_path.
SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.', pg_catalog.quote_ident(c.relname::pg_catalog.text))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
  AND a.attname OPERATOR(pg_catalog.=) :column::pg_catalog.name AND NOT a.attisdropped
WHERE (c.relkind OPERATOR(pg_catalog.=) 'r' OR c.relkind OPERATOR(pg_catalog.=) 'p')
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  -- Backups, and what else the operator keeps: the role may use this schema for the function of API keys.
  AND n.nspname OPERATOR(pg_catalog.<>) 'tenantry'
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity
    AND EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid OPERATOR(pg_catalog.=) c.oid))
ORDER BY 1
