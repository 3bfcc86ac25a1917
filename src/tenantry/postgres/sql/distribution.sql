-- name: extension
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = 'citus') AS there

-- name: policies
-- Policies of others on these tables. The expression of a policy has its subqueries as SUBLINK nodes.
SELECT n.nspname::text AS schema, c.relname::text AS name, p.polname::text AS policy, p.polpermissive AS permissive,
       coalesce(p.polqual::text LIKE '%%{SUBLINK %%', false) OR coalesce(p.polwithcheck::text LIKE '%%{SUBLINK %%', false)
         AS subquery,
       ARRAY(SELECT CASE r.oid WHEN 0 THEN 'public' ELSE pg_get_userbyid(r.oid)::text END
             FROM unnest(p.polroles) r(oid) ORDER BY 1) AS roles
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
  AND NOT starts_with(p.polname::text, 'tenantry_')
ORDER BY 1, 2, 3

-- name: standing_on_keys
-- Views and rules, and functions whose body was parsed, that depend on a unique constraint: they GROUP BY a primary key
-- and show other columns of the table, or name the constraint in ON CONFLICT.
SELECT DISTINCT n.nspname::text AS schema, c.relname::text AS name, k.conname::text AS key,
       CASE WHEN f.oid IS NOT NULL THEN 'function ' || f.oid::regprocedure::text
            WHEN r.rulename = '_RETURN' THEN 'view ' || v.oid::regclass::text
            ELSE 'rule ' || quote_ident(r.rulename) || ' of ' || v.oid::regclass::text END AS dependent
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid
LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
LEFT JOIN pg_catalog.pg_proc f ON d.classid = 'pg_proc'::regclass AND f.oid = d.objid
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
  AND k.contype IN ('p', 'u') AND (r.oid IS NOT NULL OR f.oid IS NOT NULL)
ORDER BY 1, 2, 4

-- name: exclusions
-- The exclusion constraints of these tables, with the columns that they compare for equality. Citus takes an operator
-- for equality if a btree or hash operator family says so; another access method may have it under any number.
SELECT n.nspname::text AS schema, c.relname::text AS name, k.conname::text AS key, k.contype::text <> 'x' AS periods,
       ARRAY(SELECT a.attname::text
             FROM unnest(k.conkey, k.conexclop) AS o(number, operator)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.number
             WHERE EXISTS (SELECT FROM pg_catalog.pg_amop e JOIN pg_catalog.pg_am m ON m.oid = e.amopmethod
                           WHERE e.amopopr = o.operator
                             AND (m.amname, e.amopstrategy) IN (('btree', 3), ('hash', 1)))) AS equal
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_index i ON i.indexrelid = k.conindid AND i.indisexclusion
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name)) AND k.contype IN ('x', 'p', 'u')
  AND k.conparentid = 0
ORDER BY 1, 2, 3

-- name: invalid_indexes
-- Unique indexes of these tables that a build has left invalid. An index of tenantry's is built again by its step.
SELECT n.nspname::text AS schema, c.relname::text AS name, x.oid::regclass::text AS index
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
  AND i.indisunique AND NOT (i.indisvalid AND i.indisready)
  AND NOT starts_with(x.relname::text, 'tenantry_') AND NOT starts_with(x.relname::text, '~tenantry_')
ORDER BY 1, 2, 3

-- name: rules
-- What rules do instead of or beside a statement.
SELECT n.nspname::text AS schema, c.relname::text AS name, r.rulename::text AS rule, pg_get_ruledef(r.oid) AS definition
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.rulename <> '_RETURN' AND NOT starts_with(n.nspname::text, 'pg_')
  AND n.nspname NOT IN ('information_schema', 'tenantry')
ORDER BY 1, 2, 3

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
