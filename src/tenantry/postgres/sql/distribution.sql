-- name: extension
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = 'citus') AS there

-- name: policies
-- Policies of others on these tables. The expression of a policy has its subqueries as SUBLINK nodes.
SELECT n.nspname::text AS schema, c.relname::text AS name, p.polname::text AS policy, p.polpermissive AS permissive,
       coalesce(p.polqual::text LIKE '%%{SUBLINK %%', false) OR coalesce(p.polwithcheck::text LIKE '%%{SUBLINK %%', false)
         AS subquery
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
  AND NOT starts_with(p.polname::text, 'tenantry_')
ORDER BY 1, 2, 3

-- name: standing_on_keys
-- Views that GROUP BY a primary key and show other columns of the table: they depend on the constraint.
SELECT DISTINCT n.nspname::text AS schema, c.relname::text AS name, k.conname::text AS key,
       v.oid::regclass::text AS view
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid
                           AND d.classid = 'pg_rewrite'::regclass
JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
ORDER BY 1, 2, 4

-- name: narrow_sequences
-- Columns of another type than bigint that are filled from a sequence.
SELECT n.nspname::text AS schema, c.relname::text AS name, a.attname::text AS column
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
  AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
  AND (a.attidentity <> '' OR pg_get_serial_sequence(c.oid::regclass::text, a.attname) IS NOT NULL)
ORDER BY 1, 2, 3

-- name: keys
-- Foreign keys of these tables, and of any table to one of these.
SELECT n.nspname::text AS schema, c.relname::text AS name, f.conname::text AS key, pn.nspname::text AS parent_schema,
       p.relname::text AS parent_name
FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0
  AND ARRAY[c.oid, p.oid] && ARRAY(SELECT to_regclass(t.name)::oid FROM unnest(%(names)s::text[]) t(name))
ORDER BY 1, 2, 3
