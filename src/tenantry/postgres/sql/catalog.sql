-- name: schemas
SELECT nspname::text AS name
FROM pg_catalog.pg_namespace n
WHERE NOT starts_with(nspname::text, 'pg_') AND nspname NOT IN ('information_schema', 'tenantry')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
ORDER BY nspname

-- name: database
SELECT current_setting('server_version_num')::int AS version, current_database()::text AS database,
       current_user::text AS "user"

-- name: search_path
-- Without tenantry's setting, which is restored before the query ends.
SELECT set_config('search_path', reset_val, true) AS default, current_schemas(false)::text[] AS schemas,
       set_config('search_path', setting, true) AS again
FROM pg_catalog.pg_settings WHERE name = 'search_path'

-- name: has_citus_cleanup
SELECT to_regclass('pg_catalog.pg_dist_cleanup') IS NOT NULL AS there

-- name: citus_cleanup
-- Shards that Citus drops later: of a failed operation, or replaced by others. It hides those that are in use.
SELECT to_regclass(d.object_name)::oid::bigint AS oid FROM pg_catalog.pg_dist_cleanup d
WHERE d.object_type = 1 AND d.node_group_id = (SELECT g.groupid FROM pg_catalog.pg_dist_local_group g)
  AND to_regclass(d.object_name) IS NOT NULL

-- name: tables
-- Partitions and inheritance children are included from any schema: a tree without one of them would leak rows.
WITH RECURSIVE listed(oid) AS (
    SELECT c.oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'f')
  UNION
    SELECT i.inhrelid FROM listed JOIN pg_catalog.pg_inherits i ON i.inhparent = listed.oid
)
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       pg_get_userbyid(c.relowner)::text AS owner,
       c.relrowsecurity AS row_security, c.relforcerowsecurity AS forced,
       c.relreplident::text AS replica_identity, c.relispartition AS is_partition,
       greatest(c.reltuples, 0)::float8 AS rows, obj_description(c.oid, 'pg_class') AS comment,
       coalesce(pg_total_relation_size(c.oid), 0) AS bytes,
       ARRAY(SELECT ARRAY[pn.nspname::text, p.relname::text]
             FROM pg_catalog.pg_inherits i
             JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
             JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
             WHERE i.inhrelid = c.oid ORDER BY i.inhseqno) AS parents,
       ARRAY(SELECT a.attname::text
             FROM pg_catalog.pg_partitioned_table t, unnest(t.partattrs::int2[]) WITH ORDINALITY k(number, position)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number AND k.number > 0
             WHERE t.partrelid = c.oid ORDER BY k.position) AS partition_key
FROM listed
JOIN pg_catalog.pg_class c USING (oid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname

-- name: columns
-- A NOT NULL that is not validated (since 18) does not guarantee that the rows have a value.
WITH RECURSIVE unwrapped(domain, type, modifier) AS (
    SELECT oid, typbasetype, typtypmod FROM pg_catalog.pg_type WHERE typtype = 'd'
  UNION ALL
    SELECT u.domain, t.typbasetype, t.typtypmod
    FROM unwrapped u JOIN pg_catalog.pg_type t ON t.oid = u.type AND t.typtype = 'd'
), base AS (
    SELECT u.* FROM unwrapped u JOIN pg_catalog.pg_type t ON t.oid = u.type AND t.typtype <> 'd'
)
SELECT a.attrelid::bigint AS relation, a.attinhcount > 0 AS inherited, a.attname::text AS name,
       format_type(a.atttypid, a.atttypmod) AS type,
       format_type(coalesce(b.type, a.atttypid), coalesce(b.modifier, a.atttypmod)) AS base_type,
       a.attnotnull AND v.attnum IS NULL AS not_null,
       pg_get_expr(d.adbin, d.adrelid) AS default,
       a.attgenerated::text AS generated, a.attidentity::text AS identity, b.domain IS NOT NULL AS domain,
       tn.nspname::text AS type_schema, col_description(a.attrelid, a.attnum) AS comment
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN base b ON b.domain = a.atttypid
LEFT JOIN (SELECT conrelid, conkey[1] AS attnum FROM pg_catalog.pg_constraint
           WHERE contype = 'n' AND NOT convalidated) v ON v.conrelid = a.attrelid AND v.attnum = a.attnum
WHERE a.attrelid = ANY(%(tables)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum

-- name: indexes
-- The name of a table is written as pg_get_indexdef writes it, whatever characters it has, so that the prefix can be
-- cut off. pg_get_indexdef leaves out the tablespace, which comes before WHERE.
SELECT i.indrelid::bigint AS relation, x.relname::text AS name, m.amname::text AS method,
       i.indisunique AS is_unique, i.indisprimary AS is_primary, i.indisexclusion AS exclusion,
       i.indisvalid AND i.indisready AS valid, i.indpred IS NOT NULL AS partial, x.relispartition AS inherited,
       (SELECT w.relname::text FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class w ON w.oid = h.inhparent
        WHERE h.inhrelid = i.indexrelid) AS part_of,
       i.indisreplident AS identity, c.oid IS NOT NULL AS is_constraint, coalesce(c.condeferrable, false) AS deferrable,
       coalesce(c.condeferred, false) AS deferred,
       ARRAY(SELECT a.attname::text
             FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, position)
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number <> 0
             WHERE k.position <= i.indnkeyatts ORDER BY k.position) AS columns,
       EXISTS (SELECT FROM pg_catalog.pg_constraint f
               WHERE f.confrelid = i.indrelid AND f.conindid = i.indexrelid AND f.contype = 'f'
                 AND NOT starts_with(f.conname::text, 'tenantry_') AND NOT starts_with(f.conname::text, '~tenantry_')
              ) AS referenced,
       'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || quote_ident(x.relname)
           || ' ON ' || CASE WHEN x.relkind = 'I' THEN 'ONLY ' ELSE '' END || i.indrelid::regclass::text
           || ' USING ' || quote_ident(m.amname) || ' (' AS prefix,
       CASE WHEN s.spcname IS NULL THEN d.text
            ELSE left(d.text, length(d.text) - length(d.tail)) || ' TABLESPACE ' || quote_ident(s.spcname) || d.tail
       END AS definition
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = x.relam
LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = x.reltablespace
CROSS JOIN LATERAL (SELECT pg_get_indexdef(i.indexrelid) AS text,
                           coalesce(' WHERE ' || pg_get_expr(i.indpred, i.indrelid, false), '') AS tail) d
LEFT JOIN pg_catalog.pg_constraint c
       ON c.conrelid = i.indrelid AND c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x')
WHERE i.indrelid = ANY(%(tables)s::oid[])
ORDER BY i.indrelid, x.relname

-- name: foreign_keys
-- A key to a partitioned table has a copy for each partition. Only the declared one is listed. confdelsetcols exists
-- since 15 and conenforced since 18, hence the detour by jsonb.
WITH RECURSIVE root(oid, parent, target) AS (
    SELECT oid, conparentid, confrelid FROM pg_catalog.pg_constraint WHERE contype = 'f'
  UNION ALL
    SELECT r.oid, p.conparentid, p.confrelid FROM root r JOIN pg_catalog.pg_constraint p ON p.oid = r.parent
)
SELECT f.conrelid::bigint AS relation, f.conname::text AS name,
       pn.nspname::text AS parent_schema, p.relname::text AS parent_name,
       ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY k(number, position)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number
             ORDER BY k.position) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY k(number, position)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number
             ORDER BY k.position) AS parent_columns,
       ARRAY(SELECT ARRAY[n.nspname::text, o.oprname::text]
             FROM unnest(f.conpfeqop) WITH ORDINALITY k(operator, position)
             JOIN pg_catalog.pg_operator o ON o.oid = k.operator
             JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
             ORDER BY k.position) AS operators,
       ARRAY(SELECT a.attname::text
             FROM jsonb_array_elements_text(CASE jsonb_typeof(to_jsonb(f) -> 'confdelsetcols')
                                            WHEN 'array' THEN to_jsonb(f) -> 'confdelsetcols' ELSE '[]' END)
                  WITH ORDINALITY k(number, position)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number::int2
             ORDER BY k.position) AS delete_columns,
       f.confdeltype::text AS on_delete, f.confupdtype::text AS on_update, f.confmatchtype::text AS match,
       f.condeferrable AS deferrable, f.condeferred AS deferred, f.convalidated AS validated,
       coalesce((to_jsonb(f) ->> 'conenforced')::bool, true) AS enforced,
       f.conparentid <> 0 AS inherited
FROM pg_catalog.pg_constraint f
JOIN root r ON r.oid = f.oid AND r.parent = 0 AND r.target = f.confrelid
JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conrelid = ANY(%(tables)s::oid[])
ORDER BY f.conrelid, f.conname

-- name: triggers
-- Until 14 the copy of a parent's trigger on a partition is marked as internal, as those of foreign keys are.
SELECT t.tgrelid::bigint AS relation, t.tgname::text AS name, t.tgtype & 2 <> 0 AS before, t.tgtype & 1 <> 0 AS row,
       array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END, CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END,
                          CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END,
                          CASE WHEN t.tgtype & 32 <> 0 THEN 'TRUNCATE' END], NULL) AS events,
       t.tgenabled::text AS enabled, n.nspname::text AS function_schema, p.proname::text AS function_name,
       p.prosrc AS source, p.prosecdef AS security_definer, t.tgconstraint <> 0 AS constraint,
       t.tgparentid <> 0 AS inherited
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE t.tgrelid = ANY(%(tables)s::oid[]) AND n.nspname <> 'tenantry'
  AND (NOT t.tgisinternal
       OR t.tgparentid <> 0 AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c
                                            WHERE c.oid = t.tgconstraint AND c.contype <> 't'))
ORDER BY t.tgrelid, t.tgname

-- name: rules
SELECT ev_class::bigint AS relation, rulename::text AS name
FROM pg_catalog.pg_rewrite
WHERE ev_class = ANY(%(tables)s::oid[]) AND rulename <> '_RETURN'
ORDER BY ev_class, rulename

-- name: policies
SELECT polrelid::bigint AS relation, polname::text AS name, polpermissive AS permissive,
       CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                   ELSE 'ALL' END AS command,
       ARRAY(SELECT CASE r.oid WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r.oid)::text END
             FROM unnest(polroles) r(oid)) AS roles
FROM pg_catalog.pg_policy
WHERE polrelid = ANY(%(tables)s::oid[])
ORDER BY polrelid, polname

-- name: grants
-- In their order in the catalog, on which the output of pg_dump depends.
SELECT a.relation::bigint AS relation, a.name AS column, pg_get_userbyid(e.grantor)::text AS grantor,
       CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END AS grantee,
       e.privilege_type AS privilege, e.is_grantable AS grantable
FROM (SELECT oid AS relation, NULL::text AS name, 0 AS number, coalesce(relacl, acldefault('r', relowner)) AS acl
      FROM pg_catalog.pg_class WHERE oid = ANY(%(relations)s::oid[])
      UNION ALL
      SELECT attrelid, attname::text, attnum, attacl
      FROM pg_catalog.pg_attribute
      WHERE attrelid = ANY(%(relations)s::oid[]) AND attacl IS NOT NULL AND NOT attisdropped) a,
     aclexplode(a.acl) WITH ORDINALITY e(grantor, grantee, privilege_type, is_grantable, position)
ORDER BY a.relation, a.number, e.position

-- name: sequences
-- Sequences that columns of a table own, and those that its defaults call.
SELECT d.refobjid::bigint AS relation, n.nspname::text AS schema, s.relname::text AS name
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  AND d.refobjid = ANY(%(tables)s::oid[]) AND d.refobjsubid > 0
UNION
SELECT a.adrelid::bigint, n.nspname::text, s.relname::text
FROM pg_catalog.pg_attrdef a
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
JOIN pg_catalog.pg_class s ON d.refclassid = 'pg_class'::regclass AND s.oid = d.refobjid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
WHERE a.adrelid = ANY(%(tables)s::oid[])
ORDER BY 1, 2, 3

-- name: executed
-- Functions of the user's that run with the rights of whoever writes or reads a relation: those that defaults, checks,
-- index expressions, partition keys, policies, rules, view definitions and conditions of triggers call, by operators and
-- domains as well, and its triggers'. A trigger's function needs no right to be called; its text does.
WITH RECURSIVE part(relation, class, object) AS (
    SELECT * FROM (
      SELECT oid, 'pg_class'::regclass::oid, oid FROM pg_catalog.pg_class
      UNION ALL SELECT adrelid, 'pg_attrdef'::regclass, oid FROM pg_catalog.pg_attrdef
      UNION ALL SELECT attrelid, 'pg_type'::regclass, atttypid FROM pg_catalog.pg_attribute WHERE atttypid >= 16384
      UNION ALL SELECT conrelid, 'pg_constraint'::regclass, oid FROM pg_catalog.pg_constraint
                WHERE contype IN ('c', 'x')
      UNION ALL SELECT indrelid, 'pg_class'::regclass, indexrelid FROM pg_catalog.pg_index
      UNION ALL SELECT polrelid, 'pg_policy'::regclass, oid FROM pg_catalog.pg_policy
      UNION ALL SELECT ev_class, 'pg_rewrite'::regclass, oid FROM pg_catalog.pg_rewrite
      UNION ALL SELECT tgrelid, 'pg_trigger'::regclass, oid FROM pg_catalog.pg_trigger WHERE tgqual IS NOT NULL
    ) known(relation, class, object)
    WHERE relation = ANY(%(relations)s::oid[])
  UNION
    SELECT p.relation, next.class, next.object
    FROM part p
    CROSS JOIN LATERAL (
      SELECT d.refclassid AS class, d.refobjid AS object
      FROM pg_catalog.pg_depend d
      WHERE d.classid = p.class AND d.objid = p.object AND d.deptype = 'n' AND d.refobjid >= 16384
        AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc f
                        WHERE p.class = 'pg_proc'::regclass AND f.oid = p.object AND f.prosecdef)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                        WHERE p.class = 'pg_trigger'::regclass AND t.oid = p.object AND t.tgfoid = d.refobjid)
      UNION ALL
      SELECT 'pg_constraint'::regclass, c.oid FROM pg_catalog.pg_constraint c
      WHERE p.class = 'pg_type'::regclass AND c.contypid = p.object AND c.contypid <> 0
    ) next
), called(relation, oid, trigger) AS (
    SELECT relation, object, NULL FROM part WHERE class = 'pg_proc'::regclass
  UNION
    SELECT t.tgrelid, t.tgfoid, min(t.tgname::text) FROM pg_catalog.pg_trigger t
    WHERE t.tgrelid = ANY(%(relations)s::oid[]) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
      AND t.tgtype & 28 <> 0
    GROUP BY 1, 2
)
SELECT c.relation::bigint AS relation, p.oid::regprocedure::text AS signature, c.trigger,
       EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e
               WHERE e.grantee = 0 AND e.privilege_type = 'EXECUTE') AS public,
       CASE WHEN l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL AND NOT p.prosecdef THEN p.prosrc
            ELSE '' END AS source
FROM called c
JOIN pg_catalog.pg_proc p USING (oid)
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.oid >= 16384 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tenantry')
ORDER BY 1, 2

-- name: every_sequence
SELECT n.nspname::text AS schema, s.relname::text AS name
FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
WHERE s.relkind = 'S' AND NOT starts_with(n.nspname::text, 'pg_') AND n.nspname <> 'tenantry'
ORDER BY 1, 2

-- name: published
SELECT prrelid::bigint AS relation FROM pg_catalog.pg_publication_rel WHERE prrelid = ANY(%(tables)s::oid[])
UNION
SELECT c.oid::bigint
FROM pg_catalog.pg_publication_tables p
JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
WHERE c.oid = ANY(%(tables)s::oid[])

-- name: type_users
-- Columns elsewhere that hold the table's row type: bare, in arrays, domains, ranges or other row types.
WITH RECURSIVE held(relation, type) AS (
    SELECT oid, reltype FROM pg_catalog.pg_class WHERE oid = ANY(%(tables)s::oid[]) AND reltype <> 0
  UNION
    SELECT h.relation, w.wrapper
    FROM held h
    JOIN (SELECT typelem AS type, oid AS wrapper FROM pg_catalog.pg_type WHERE typcategory = 'A' AND typelem <> 0
          UNION ALL SELECT typbasetype, oid FROM pg_catalog.pg_type WHERE typtype = 'd'
          UNION ALL SELECT rngsubtype, rngtypid FROM pg_catalog.pg_range
          UNION ALL SELECT a.atttypid, c.reltype
                    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
                    WHERE c.relkind = 'c' AND a.attnum > 0 AND NOT a.attisdropped) w ON w.type = h.type
)
SELECT h.relation::bigint AS relation,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) || '.' || quote_ident(a.attname) AS column
FROM held h
JOIN pg_catalog.pg_attribute a ON a.atttypid = h.type AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm', 'f')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2

-- name: views
-- Of the schemas, and those of any schema that read a table of them, also through other views.
WITH RECURSIVE edge AS (
    SELECT DISTINCT r.ev_class AS reader, d.refobjid AS relation
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                               AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
    WHERE r.rulename = '_RETURN'
), chosen(oid) AS (
    SELECT c.oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm') AND n.nspname = ANY(%(schemas)s)
  UNION
    SELECT reader FROM edge WHERE relation = ANY(%(tables)s::oid[])
  UNION
    SELECT edge.reader FROM chosen JOIN edge ON edge.relation = chosen.oid
)
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       pg_get_userbyid(c.relowner)::text AS owner, coalesce(c.reloptions, '{}') AS options,
       pg_relation_is_updatable(c.oid, false) AS writable,
       pg_get_viewdef(c.oid) AS definition,
       ARRAY(SELECT ARRAY[rn.nspname::text, r.relname::text]
             FROM edge
             JOIN pg_catalog.pg_class r ON r.oid = edge.relation
             JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
             WHERE edge.reader = c.oid ORDER BY rn.nspname, r.relname) AS reads
FROM chosen
JOIN pg_catalog.pg_class c USING (oid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT starts_with(n.nspname::text, 'pg_') AND n.nspname NOT IN ('information_schema', 'tenantry')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname

-- name: functions
-- In every schema: any of them may have objects that read a table.
SELECT n.nspname::text AS schema, p.proname::text AS name, p.oid::regprocedure::text AS signature,
       pg_get_userbyid(p.proowner)::text AS owner, l.lanname::text AS language, p.prosecdef AS security_definer,
       rn.nspname::text AS returned_schema, r.relname::text AS returned_name,
       CASE WHEN p.prosqlbody IS NULL THEN p.prosrc ELSE pg_get_functiondef(p.oid) END AS source
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN pg_catalog.pg_type t ON t.oid = p.prorettype AND t.typrelid <> 0
LEFT JOIN pg_catalog.pg_class r ON r.oid = t.typrelid AND r.relkind IN ('r', 'p', 'v', 'm', 'f')
LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
WHERE p.prokind IN ('f', 'p')
  AND NOT starts_with(n.nspname::text, 'pg_') AND n.nspname NOT IN ('information_schema', 'tenantry')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY n.nspname, p.proname, signature

-- name: roles
-- Memberships are followed first and then checked: checking each pair would be slow with a thousand roles.
WITH RECURSIVE member(role, of) AS (
    SELECT m.member, m.roleid
    FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.member AND NOT r.rolsuper
  UNION
    SELECT member.role, m.roleid FROM member JOIN pg_catalog.pg_auth_members m ON m.member = member.of
)
SELECT r.rolname::text AS name, r.rolsuper AS superuser, r.rolbypassrls AS bypasses, r.rolcanlogin AS login,
       r.rolcreaterole AS create_role,
       ARRAY(SELECT pg_get_userbyid(m.of)::text FROM member m
             WHERE m.role = r.oid AND m.of <> r.oid AND pg_has_role(r.oid, m.of, 'usage') ORDER BY 1) AS usage_of
FROM pg_catalog.pg_roles r
WHERE NOT starts_with(r.rolname::text, 'pg_')
ORDER BY r.rolname
