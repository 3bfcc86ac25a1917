-- name: relation
SELECT c.relkind::text AS kind, c.relpersistence::text AS persistence, pg_get_userbyid(c.relowner)::text AS owner,
       c.relrowsecurity AS row_security, c.relispartition AS is_partition,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid AND NOT c.relispartition
               OR i.inhparent = c.oid AND c.relkind <> 'p') AS inherits
FROM pg_catalog.pg_class c WHERE c.oid = to_regclass(%(table)s);

-- name: tree
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind
FROM pg_catalog.pg_partition_tree(to_regclass(%(table)s)) AS t
JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE t.level > 0 ORDER BY t.level, n.nspname, c.relname;

-- name: columns
-- With the equality operator of each column, from the default B-tree operator class of its type, or of a type to which
-- it is binary coercible. `stored` is the widest type to which the column can be altered without another equality, so
-- that balances can still store its values. A NOT NULL that is not validated (since 18) does not guarantee that the
-- rows have a value.
WITH RECURSIVE unwrapped(oid, type, modifier) AS (
    SELECT a.attnum::int, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
    SELECT u.oid, t.typbasetype, t.typtypmod
    FROM unwrapped u JOIN pg_catalog.pg_type t ON t.oid = u.type AND t.typtype = 'd'
), base AS (
    SELECT u.* FROM unwrapped u JOIN pg_catalog.pg_type t ON t.oid = u.type AND t.typtype <> 'd'
)
SELECT a.attname::text AS name, format_type(b.type, b.modifier) AS type,
       CASE WHEN b.type IN ('int2'::regtype, 'int4'::regtype) THEN 'bigint' WHEN b.type = 'varchar'::regtype THEN 'text'
            ELSE format_type(b.type, -1) END AS stored,
       NOT a.attnotnull OR EXISTS (SELECT FROM pg_catalog.pg_constraint k
                                   WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey[1] = a.attnum
                                     AND NOT k.convalidated) AS nullable,
       a.attgenerated = 'v' AS virtual, t.typcategory = 'A' AS array,
       t.typcategory = 'N' AND b.type <> 'money'::regtype AS numeric,
       (SELECT ARRAY[cn.nspname::text, c.collname::text]
        FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace cn ON cn.oid = c.collnamespace
        WHERE c.oid = a.attcollation AND a.attcollation <> t.typcollation) AS collation,
       (SELECT ARRAY[pn.nspname::text, o.oprname::text]
        FROM pg_catalog.pg_opclass oc
        JOIN pg_catalog.pg_am m ON m.oid = oc.opcmethod AND m.amname = 'btree'
        JOIN pg_catalog.pg_amop p ON p.amopfamily = oc.opcfamily AND p.amopstrategy = 3
                                 AND p.amoplefttype = oc.opcintype AND p.amoprighttype = oc.opcintype
        JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
        JOIN pg_catalog.pg_namespace pn ON pn.oid = o.oprnamespace
        WHERE oc.opcdefault AND (oc.opcintype = b.type
          OR EXISTS (SELECT FROM pg_catalog.pg_cast k WHERE k.castsource = b.type AND k.casttarget = oc.opcintype
                     AND k.castmethod = 'b' AND k.castcontext = 'i')
          OR t.typtype = 'e' AND oc.opcintype = 'anyenum'::regtype
          OR t.typcategory = 'A' AND oc.opcintype = 'anyarray'::regtype
          OR t.typtype = 'r' AND oc.opcintype = 'anyrange'::regtype
          OR t.typtype = 'c' AND oc.opcintype = 'record'::regtype)
        ORDER BY oc.opcintype <> b.type LIMIT 1) AS operator
FROM base b
JOIN pg_catalog.pg_attribute a ON a.attrelid = to_regclass(%(table)s) AND a.attnum = b.oid
JOIN pg_catalog.pg_type t ON t.oid = b.type
ORDER BY a.attnum;

-- name: indexes
-- Indexes that a query of all rows can use. `columns` are NULL if they are expressions. The first `keys` of them are
-- the key columns.
SELECT c.relname::text AS name, i.indisunique AS unique, i.indnkeyatts::int AS keys,
       ARRAY(SELECT a.attname::text
             FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number > 0
             ORDER BY k.place) AS columns
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = c.relam
WHERE i.indrelid = to_regclass(%(table)s) AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'
ORDER BY c.relname;

-- name: readers
-- The roles that may read the entire table. PUBLIC is an empty name.
SELECT DISTINCT coalesce(r.rolname::text, '') AS role, pg_get_userbyid(e.grantor)::text AS grantor
FROM pg_catalog.pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS e
LEFT JOIN pg_catalog.pg_roles r ON r.oid = e.grantee
WHERE c.oid = to_regclass(%(table)s) AND e.privilege_type = 'SELECT' AND e.grantee <> c.relowner
ORDER BY 1, 2;

-- name: known
SELECT to_regclass('tenantry.ledgers') IS NOT NULL;

-- name: states
SELECT ledger, stale, stale_since, reason, generation, corrections, backfilled_at FROM tenantry.ledgers;

-- name: hold
-- For sessions that find differences: excludes all others that find or add some.
SELECT generation, corrections FROM tenantry.ledgers WHERE ledger = %(ledger)s FOR UPDATE;

-- name: share
-- For sessions that add what was found: the generation under which it was found.
SELECT generation FROM tenantry.ledgers WHERE ledger = %(ledger)s AND corrections = generation FOR SHARE;

-- name: found
UPDATE tenantry.ledgers SET corrections = generation WHERE ledger = %(ledger)s;

-- name: settled
UPDATE tenantry.ledgers SET stale = false, stale_since = NULL, reason = NULL, corrections = NULL,
  backfilled_at = pg_catalog.clock_timestamp()
WHERE ledger = %(ledger)s;

-- name: kept
SELECT count(*) FROM tenantry.drifts
WHERE ledger = %(ledger)s AND (quantity <> 0 OR total_in <> 0 OR total_out <> 0 OR movements <> 0
                               OR nans <> 0 OR infinities <> 0 OR negative_infinities <> 0);
