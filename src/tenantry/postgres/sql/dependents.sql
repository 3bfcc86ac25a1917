-- name: dependents
-- Objects of others that depend on columns, relations and indexes of tenantry's, which are recognised by their names.
-- Parts of partitioned tables are left out, since they are found on the table itself. DROP COLUMN drops an index or a
-- check of others silently (deptype a), and refuses for a view (deptype n). `spared` are indexes of the user's that
-- tenantry has replaced, and which are dropped before.
WITH RECURSIVE spared AS (
    SELECT to_regclass(s.name)::oid AS index FROM unnest(%(spared)s::text[]) AS s(name)
), given AS (
    SELECT g.number::int AS number, to_regclass(g.relation)::oid AS relation, g.name
    FROM unnest(%(relations)s::text[], %(columns)s::text[]) WITH ORDINALITY AS g(relation, name, number)
), tree AS (
    SELECT number, relation, name, false AS heir FROM given WHERE relation IS NOT NULL
  UNION
    SELECT t.number, i.inhrelid, t.name, true
    FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.relation WHERE t.name IS NOT NULL
), target AS (
    SELECT t.number, t.relation, a.attnum::int AS attnum, c.relkind
    FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.relation
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.relation AND a.attname = t.name AND NOT a.attisdropped
    WHERE t.name IS NULL OR a.attnum IS NOT NULL
), found AS (
    SELECT t.number, t.relation, t.attnum IS NULL AS whole, d.classid, d.objid, d.objsubid
    FROM target t JOIN pg_catalog.pg_depend d
      ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.relation
         AND (t.attnum IS NULL OR d.refobjsubid = t.attnum)
         AND (d.deptype = 'n' OR d.deptype = 'a' AND (t.attnum IS NOT NULL OR t.relkind IN ('i', 'I')))
    WHERE d.classid <> 'pg_attrdef'::regclass OR t.attnum IS NULL
       OR NOT EXISTS (SELECT FROM pg_catalog.pg_attrdef f
                      WHERE f.oid = d.objid AND f.adrelid = t.relation AND f.adnum = t.attnum)
), foreign_objects AS (
    -- OFFSET 0: one look-up after the other. Planning them as a join of all takes longer than running them.
    SELECT f.number, coalesce(v.view, f.objid) AS objid, f.objsubid,
           CASE WHEN v.view IS NULL THEN f.classid ELSE 'pg_class'::regclass::oid END AS classid
    FROM found f
    CROSS JOIN LATERAL (
      SELECT (SELECT r.ev_class FROM pg_catalog.pg_rewrite r
              WHERE f.classid = 'pg_rewrite'::regclass AND r.oid = f.objid AND r.rulename = '_RETURN') AS view
      OFFSET 0
    ) v
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
                      WHERE f.classid = 'pg_constraint'::regclass AND k.oid = f.objid
                        AND (k.conname ~ '^~?tenantry_' OR k.contype = 'n' OR k.conparentid <> 0
                             OR f.whole AND k.contype IN ('p', 'u', 'c') AND k.conrelid = f.relation
                             OR k.contype IN ('p', 'u') AND k.conindid = ANY(SELECT s.index FROM spared s)) OFFSET 0)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_class x
                      WHERE f.classid = 'pg_class'::regclass AND x.oid = f.objid
                        AND (x.relname ~ '^~?tenantry_' OR x.relispartition
                             OR x.oid = ANY(SELECT s.index FROM spared s)) OFFSET 0)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g
                      WHERE f.classid = 'pg_trigger'::regclass AND g.oid = f.objid
                        AND (g.tgname ~ '^~?tenantry_' OR g.tgisinternal OR g.tgparentid <> 0) OFFSET 0)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy p
                      WHERE f.classid = 'pg_policy'::regclass AND p.oid = f.objid
                        AND p.polname ~ '^~?tenantry_' OFFSET 0)
)
SELECT DISTINCT number, pg_describe_object(classid, objid, objsubid) AS object FROM foreign_objects
UNION
SELECT t.number, CASE WHEN i.indisreplident THEN 'replica identity' ELSE 'clustering' END || ' of table ' || i.indrelid::regclass
FROM target t JOIN pg_catalog.pg_index i ON i.indexrelid = t.relation AND (i.indisreplident OR i.indisclustered)
ORDER BY 1, 2

-- name: keys_to
-- Foreign keys of others to a table: their table, their column and the column there.
SELECT n.nspname::text AS schema, c.relname::text AS name, k.conname::text AS key, a.attname::text AS column,
       b.attname::text AS parent_column
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
WHERE k.contype = 'f' AND k.confrelid = to_regclass(%(table)s) AND cardinality(k.conkey) = 1 AND k.conparentid = 0
  AND k.conname !~ '^~?tenantry_' AND n.nspname <> 'tenantry'

-- name: files
-- A table that is rewritten or truncated gets another file.
SELECT c.oid::bigint, c.oid::regclass::text, pg_relation_filenode(c.oid)::bigint
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tenantry') AND n.nspname !~ '^pg_toast'

-- name: detached
WITH RECURSIVE tree AS (
    SELECT to_regclass(%(table)s)::oid AS relation
  UNION
    SELECT i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.relation
)
SELECT g.number::int FROM unnest(%(below)s::text[]) WITH ORDINALITY AS g(relation, number)
WHERE to_regclass(g.relation) IS NOT NULL AND to_regclass(g.relation)::oid NOT IN (SELECT relation FROM tree WHERE relation IS NOT NULL)
ORDER BY 1

-- name: existing
SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname = ANY (%(schemas)s) ORDER BY nspname
