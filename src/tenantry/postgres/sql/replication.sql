-- name: capacity
-- What this server has for logical replication, and how much of it is in use; and what the connected role may do.
SELECT pg_catalog.current_setting('server_version_num')::integer AS version,
       pg_catalog.current_setting('wal_level') AS wal_level,
       pg_catalog.current_setting('max_replication_slots')::integer
         - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots)::integer AS free_slots,
       pg_catalog.current_setting('max_wal_senders')::integer
         - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
            WHERE backend_type = 'walsender')::integer AS free_senders,
       coalesce(pg_catalog.current_setting('max_active_replication_origins', true),
                pg_catalog.current_setting('max_replication_slots'))::integer
         - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_origin)::integer AS free_origins,
       pg_catalog.current_setting('max_logical_replication_workers')::integer
         - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
            WHERE backend_type LIKE 'logical replication %%worker')::integer AS free_workers,
       r.rolsuper AS superuser, r.rolsuper OR r.rolreplication AS replicates,
       r.rolsuper OR r.rolbypassrls AS bypasses,
       r.rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_roles g WHERE g.rolname = 'pg_create_subscription'
                             AND pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE')) AS subscribes,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS creates,
       (SELECT s.system_identifier FROM pg_catalog.pg_control_system() s)::text || '/'
         || (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())::text AS server
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user

-- name: table
-- What replication needs to know of a table. `tenant_keys` are indexes that can be the replica identity and contain the
-- tenant column, the primary key first, and `key` the numbers of the first one's columns; `global_keys` are unique indexes without it. `stranger`: the owner is a role
-- with fewer rights than the connected one, whose code would run as that. `incomparable` is a column by which rows
-- cannot be compared.
SELECT c.oid::bigint AS oid, c.relkind = 'r' AND c.relpersistence = 'p' AS plain, c.relreplident::text AS identity,
       (SELECT x.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisreplident) AS identity_index,
       ARRAY(SELECT x.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
             WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
             AND t.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) AND NOT 0 = ANY (i.indkey)
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attnotnull
                             AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))
             ORDER BY NOT i.indisprimary, x.relname) AS tenant_keys,
       coalesce((SELECT i.indkey[0:i.indnkeyatts - 1]::smallint[]
                 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                 WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
                 AND t.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) AND NOT 0 = ANY (i.indkey)
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attnotnull
                                 AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))
                 ORDER BY NOT i.indisprimary, x.relname LIMIT 1), '{}') AS key,
       (SELECT x.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisprimary) AS primary_key,
       ARRAY(SELECT x.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
             WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)
             AND NOT t.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) ORDER BY x.relname) AS global_keys,
       (SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
        AND NOT a.attisdropped AND a.atttypid IN ('json'::regtype, 'xml'::regtype, 'point'::regtype, 'polygon'::regtype)
        ORDER BY a.attnum LIMIT 1) AS incomparable,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       NOT pg_catalog.pg_has_role(c.relowner, session_user, 'MEMBER')
         AND pg_catalog.pg_has_role(session_user, c.relowner, 'USAGE') AS stranger,
       pg_catalog.pg_has_role(session_user, c.relowner, 'USAGE') AS may_alter
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid AND t.attname = %(column)s
WHERE c.oid = pg_catalog.to_regclass(%(name)s)

-- name: identity
-- The present name of a table, by its OID, and its replica identity; no row if the table was dropped.
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relreplident::text AS identity,
       (SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)::bigint AS index,
       (SELECT x.relname::text FROM pg_catalog.pg_class x WHERE x.oid = %(index)s::oid) AS earlier
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(oid)s

-- name: index_oid
SELECT i.indexrelid::bigint FROM pg_catalog.pg_index i WHERE i.indrelid = %(oid)s::oid AND i.indisreplident

-- name: publication
SELECT FROM pg_catalog.pg_publication WHERE pubname = %(name)s

-- name: slot
SELECT confirmed_flush_lsn::text AS flushed, active, wal_status::text AS wal_status,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0
         ELSE coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint
       END AS lag
FROM pg_catalog.pg_replication_slots WHERE slot_name = %(name)s AND database = pg_catalog.current_database()

-- name: create_slot
SELECT pg_catalog.pg_create_logical_replication_slot(%(name)s, 'pgoutput')

-- name: end_sender
SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots
WHERE slot_name = %(name)s AND active_pid IS NOT NULL

-- name: drop_slot
SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots
WHERE slot_name = %(name)s AND NOT active

-- name: subscription
-- Its tables by their state, and how often its workers have failed.
SELECT s.oid::bigint AS oid, s.subenabled AS enabled,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription_rel r WHERE r.srsubid = s.oid)::integer AS tables,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription_rel r
        WHERE r.srsubid = s.oid AND r.srsubstate = 'r')::integer AS ready,
       (SELECT coalesce(pg_catalog.sum(t.apply_error_count + t.sync_error_count), 0)
        FROM pg_catalog.pg_stat_subscription_stats t WHERE t.subid = s.oid)::integer AS failures
FROM pg_catalog.pg_subscription s
WHERE s.subname = %(name)s
AND s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())

-- name: sync_slots
SELECT slot_name::text FROM pg_catalog.pg_replication_slots
WHERE database = pg_catalog.current_database() AND slot_name LIKE %(pattern)s AND (%(active)s OR NOT active)

-- name: position
SELECT pg_catalog.pg_current_wal_insert_lsn()::text

-- name: reached
SELECT coalesce(confirmed_flush_lsn >= %(position)s::pg_catalog.pg_lsn, false)
FROM pg_catalog.pg_replication_slots WHERE slot_name = %(name)s

-- name: same_session
-- Whether the session with this process and this name is one of the connected database.
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %(pid)s AND application_name = %(application)s
               AND datname = pg_catalog.current_database())

-- name: columns
-- The columns of a table now: the name of each, and what it is as one text.
SELECT a.attname::text,
       pg_catalog.format('%%I %%s%%s%%s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
                         CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
                         CASE WHEN a.attgenerated <> '' THEN ' GENERATED' ELSE '' END)
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = pg_catalog.to_regclass(%(name)s) AND a.attnum > 0 AND NOT a.attisdropped

-- name: referring_keys
-- The foreign keys that lead to these tables: table and name of each, and where it leads to.
SELECT n.nspname::text, c.relname::text, k.conname::text, given.name
FROM pg_catalog.unnest(%(names)s::text[]) AS given (name)
JOIN pg_catalog.pg_constraint k ON k.confrelid = pg_catalog.to_regclass(given.name) AND k.contype = 'f'
  AND k.conparentid = 0
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2, 3

-- name: structure
-- Whatever of these tables could make a comparison of their rows invalid if it changes: their storage, which TRUNCATE
-- and rewrites replace, their columns, and the foreign keys that lead to them. One text for each.
SELECT pg_catalog.format('%%s %%s %%s', c.oid, pg_catalog.pg_relation_filenode(c.oid), c.relreplident)
FROM pg_catalog.unnest(%(names)s::text[]) AS given (name)
JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(given.name)
UNION ALL
SELECT pg_catalog.format('%%s.%%s %%I %%s %%s %%s %%s', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod,
                         a.attnotnull, a.attmissingval)
FROM pg_catalog.unnest(%(names)s::text[]) AS given (name)
JOIN pg_catalog.pg_attribute a ON a.attrelid = pg_catalog.to_regclass(given.name) AND a.attnum > 0
WHERE NOT a.attisdropped
UNION ALL
SELECT pg_catalog.format('%%s %%s', k.oid, k.conname)
FROM pg_catalog.unnest(%(names)s::text[]) AS given (name)
JOIN pg_catalog.pg_constraint k ON k.confrelid = pg_catalog.to_regclass(given.name) AND k.contype = 'f'

-- name: recorded_keys
-- Of each table with the triggers of a function, the columns that these record.
SELECT c.oid::bigint, n.nspname::text, c.relname::text,
       ARRAY(SELECT a.attname::text
             FROM pg_catalog.unnest(pg_catalog.string_to_array(
                    pg_catalog.replace(pg_catalog.encode(t.tgargs, 'escape'), '\000', ''), ' ')::smallint[]
                  ) WITH ORDINALITY AS k (number, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number AND NOT a.attisdropped
             ORDER BY k.place)
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pronamespace = 'tenantry'::regnamespace AND p.proname = %(function)s AND (t.tgtype & 4) <> 0

-- name: key_columns
-- The columns of a unique key, and the operator by which an index compares each.
SELECT a.attname::text, n.nspname::text, o.oprname::text
FROM pg_catalog.unnest(%(columns)s::text[]) WITH ORDINALITY AS given (name, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = pg_catalog.to_regclass(%(table)s) AND a.attname = given.name
CROSS JOIN LATERAL (
  SELECT m.amopopr FROM pg_catalog.pg_index i
  CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(i.indkey::smallint[]), pg_catalog.unnest(i.indclass::oid[]))
    AS k (number, class)
  JOIN pg_catalog.pg_opclass c ON c.oid = k.class
  JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
    AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
  WHERE i.indrelid = a.attrelid AND i.indisunique AND k.number = a.attnum
  ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1
) AS f
JOIN pg_catalog.pg_operator o ON o.oid = f.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
ORDER BY given.place

-- name: named_roles
-- The roles that objects of this database belong to, or whose privileges and policies name them; not the predefined ones.
SELECT r.rolname::text FROM pg_catalog.pg_roles r
WHERE r.rolname NOT LIKE 'pg\_%%' AND (
  EXISTS (SELECT FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database d ON d.oid = s.dbid
          WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = r.oid
          AND d.datname = pg_catalog.current_database())
  -- The dependence on the role of initdb is not recorded.
  OR EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relowner = r.oid AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')))
ORDER BY 1

-- name: roles
SELECT r.rolname::text FROM pg_catalog.pg_roles r

-- name: foreign_objects
-- Tables, views, sequences, types and functions of the user's, and the schema tenantry; not those of extensions.
SELECT pg_catalog.pg_describe_object(o.class, o.oid, 0)
FROM (SELECT 'pg_class'::regclass, oid, relnamespace FROM pg_catalog.pg_class WHERE relkind <> ALL ('{i,I,t}'::"char"[])
      UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_catalog.pg_proc
      UNION ALL SELECT 'pg_namespace'::regclass, oid, oid FROM pg_catalog.pg_namespace WHERE nspname = 'tenantry'
     ) AS o (class, oid, namespace)
JOIN pg_catalog.pg_namespace n ON n.oid = o.namespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\_temp%%'
  AND n.nspname NOT LIKE 'pg\_toast%%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
ORDER BY 1 LIMIT 10

-- name: column_names
SELECT k.relation::text, a.attname::text, k.name
FROM tenantry.columns AS k JOIN pg_catalog.pg_attribute a ON a.attrelid = k.relation AND a.attnum = k.attnum
WHERE NOT a.attisdropped

-- name: write_column_names
INSERT INTO tenantry.columns (relation, attnum, name)
SELECT a.attrelid, a.attnum, given.name
FROM unnest(%(tables)s::text[], %(columns)s::text[], %(names)s::text[]) AS given ("table", "column", name)
JOIN pg_catalog.pg_attribute a ON a.attrelid = pg_catalog.to_regclass(given."table") AND a.attname = given."column"
WHERE a.attnum > 0 AND NOT a.attisdropped
ON CONFLICT (relation, attnum) DO NOTHING
