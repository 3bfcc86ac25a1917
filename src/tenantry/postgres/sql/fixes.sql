-- name: schema
-- One row for each fix: what a run has corrected in one table, and how its rows are found again.
CREATE TABLE IF NOT EXISTS tenantry.fixes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run text NOT NULL,
  name text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  keys text[] NOT NULL,
  filling boolean NOT NULL,
  why text NOT NULL,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The images of a row: the values, as text, of the columns that the fix has changed.
CREATE TABLE IF NOT EXISTS tenantry.fixed_rows (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  fix bigint NOT NULL REFERENCES tenantry.fixes ON DELETE CASCADE,
  key jsonb NOT NULL,
  before jsonb NOT NULL,
  after jsonb,
  undone_by text,
  undone_at timestamptz
);
CREATE INDEX IF NOT EXISTS fixed_rows_fix ON tenantry.fixed_rows (fix, id);

-- name: installed
SELECT pg_catalog.to_regclass('tenantry.fixed_rows') IS NOT NULL

-- name: add
INSERT INTO tenantry.fixes (run, name, schema_name, table_name, keys, filling, why)
VALUES (%(run)s, %(name)s, %(schema)s, %(table)s, %(keys)s, %(filling)s, %(why)s) RETURNING id

-- name: forget_empty
DELETE FROM tenantry.fixes f WHERE f.id = %(id)s AND NOT EXISTS (SELECT FROM tenantry.fixed_rows r WHERE r.fix = f.id)

-- name: list
SELECT f.id, f.run, f.name, f.schema_name AS schema, f.table_name AS "table", f.keys, f.filling, f.why, f.made_at,
       count(r.id) AS rows, count(r.id) FILTER (WHERE r.undone_by IS NOT NULL) AS undone,
       max(r.undone_by) AS undone_by
FROM tenantry.fixes f LEFT JOIN tenantry.fixed_rows r ON r.fix = f.id
WHERE %(run)s::text IS NULL OR f.run = %(run)s GROUP BY f.id ORDER BY f.id

-- name: broken
-- Images that were changed by others so that they are not valid.
SELECT r.id FROM tenantry.fixed_rows r JOIN tenantry.fixes f ON f.id = r.fix
WHERE f.run = %(run)s
  AND (jsonb_typeof(r.key) <> 'object' OR jsonb_typeof(r.before) <> 'object' OR jsonb_typeof(r.after) <> 'object')
ORDER BY r.id LIMIT 1

-- name: parts
-- What is still to be undone, last first: consecutive rows of one fix with the same columns.
SELECT fix, columns, array_agg(id ORDER BY id DESC) AS ids FROM (
  SELECT part.*, sum(new::int) OVER (ORDER BY id DESC) AS number FROM (
    SELECT r.id, r.fix, k.columns,
           (r.fix, k.columns) IS DISTINCT FROM (lag(r.fix) OVER w, lag(k.columns) OVER w) AS new
    FROM tenantry.fixed_rows r JOIN tenantry.fixes f ON f.id = r.fix,
         LATERAL (SELECT array_agg(c ORDER BY c) AS columns FROM jsonb_object_keys(r.before) AS c) AS k
    WHERE f.run = %(run)s AND r.undone_by IS NULL
    WINDOW w AS (ORDER BY r.id DESC)) AS part) AS parts
GROUP BY fix, columns, number ORDER BY max(id) DESC

-- name: undone
UPDATE tenantry.fixed_rows SET undone_by = %(run)s, undone_at = clock_timestamp() WHERE id = ANY (%(ids)s::bigint[])

-- name: triggers
-- Triggers that change a row before it is written, the user's and tenantry's, and those of tenantry's that change other
-- rows with it, of a table and its partitions. Copies of a trigger on partitions are altered separately. Before
-- PostgreSQL 15 they are internal ones.
SELECT t.tgname AS name, n.nspname AS schema, c.relname AS "table", t.tgenabled::text AS enabled
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT to_regclass(%(table)s) UNION SELECT relid FROM pg_catalog.pg_partition_tree(to_regclass(%(table)s)))
  AND t.tgenabled IN ('O', 'A')
  AND t.tgtype & 1 = 1 AND t.tgtype & 16 = 16
  AND (t.tgtype & 2 = 2 OR t.tgname = '~tenantry_adopt' OR starts_with(t.tgname, '~tenantry_follow'))
ORDER BY n.nspname, c.relname, t.tgname

-- name: columns
-- Columns that can be set.
SELECT a.attname AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''

-- name: cascades
-- Foreign keys that propagate a change of these columns to the rows that refer to them.
SELECT n.nspname AS schema, c.relname AS "table", con.conname AS name,
       array(SELECT a.attname::text FROM unnest(con.conkey) WITH ORDINALITY AS k(num, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.num ORDER BY k.place) AS columns,
       array(SELECT a.attname::text FROM unnest(con.confkey) WITH ORDINALITY AS k(num, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.num ORDER BY k.place) AS parent_columns,
       array(SELECT o.oprname::text FROM unnest(con.conpfeqop) WITH ORDINALITY AS k(op, place)
             JOIN pg_catalog.pg_operator o ON o.oid = k.op ORDER BY k.place) AS operators,
       array(SELECT ns.nspname::text FROM unnest(con.conpfeqop) WITH ORDINALITY AS k(op, place)
             JOIN pg_catalog.pg_operator o ON o.oid = k.op JOIN pg_catalog.pg_namespace ns ON ns.oid = o.oprnamespace
             ORDER BY k.place) AS operator_schemas
FROM pg_catalog.pg_constraint con JOIN pg_catalog.pg_class c ON c.oid = con.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE con.contype = 'f' AND con.confupdtype IN ('c', 'n', 'd') AND con.conparentid = 0
  AND con.confrelid = to_regclass(%(table)s)
  AND EXISTS (SELECT FROM unnest(con.confkey) AS k JOIN pg_catalog.pg_attribute a
              ON a.attrelid = con.confrelid AND a.attnum = k WHERE a.attname = ANY (%(columns)s::text[]))
ORDER BY n.nspname, c.relname, con.conname
