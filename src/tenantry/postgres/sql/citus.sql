-- name: node
SELECT e.extversion::text AS version,
       (SELECT g.groupid FROM pg_catalog.pg_dist_local_group g) = 0 AS coordinator,
       current_setting('citus.shard_replication_factor')::int AS replication_factor
FROM pg_catalog.pg_extension e WHERE e.extname = 'citus'

-- name: nodes
SELECT n.nodename::text AS name, n.nodeport AS port, n.groupid = 0 AS coordinator, n.isactive AS active,
       n.metadatasynced AS synced, n.shouldhaveshards AS takes_shards
FROM pg_catalog.pg_dist_node n WHERE n.noderole::text = 'primary' ORDER BY n.nodeid

-- name: prepared
-- Without prepared transactions, no change of several nodes can be committed on all of them.
SELECT n.nodename::text AS name, n.nodeport AS port, r.success,
       CASE WHEN r.success THEN r.result::int ELSE 0 END AS prepared
FROM run_command_on_all_nodes($$SELECT current_setting('max_prepared_transactions')$$) AS r
JOIN pg_catalog.pg_dist_node n ON n.nodeid = r.nodeid ORDER BY n.nodeid

-- name: partitions
-- Tables that Citus has already, and how.
SELECT n.nspname::text AS schema, c.relname::text AS name,
       CASE WHEN d.partmethod = 'h' THEN column_to_column_name(d.logicalrelid, d.partkey) END AS column,
       d.partmethod = 'n' AND d.repmodel = 's' AS one_shard
FROM pg_catalog.pg_dist_partition d
JOIN pg_catalog.pg_class c ON c.oid = d.logicalrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
ORDER BY 1, 2

-- name: sessions
-- Sessions of a role that began before the last change of its settings are not told apart from later ones.
SELECT count(*) FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.usename = ANY (%(roles)s) AND a.pid <> pg_backend_pid()

-- name: repartition
SET citus.enable_repartition_joins = on

-- name: in_turn
SET citus.multi_shard_modify_mode = 'sequential'

-- name: replication
-- Slots and senders are needed on the coordinator, workers of logical replication on the others. Of the libraries only
-- some roles can read.
SELECT n.nodename::text AS name, n.nodeport AS port, n.groupid = 0 AS coordinator, r.result::jsonb AS facts
FROM run_command_on_all_nodes($$
  SELECT jsonb_build_object('wal_level', current_setting('wal_level'),
    'plugins', (SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = 'output_plugin_libraries'),
    'free_slots', current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_catalog.pg_replication_slots),
    'free_senders', current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_catalog.pg_stat_replication),
    'free_workers', current_setting('max_logical_replication_workers')::int
      - (SELECT count(*) FROM pg_catalog.pg_stat_subscription s WHERE s.pid IS NOT NULL))
$$) AS r
JOIN pg_catalog.pg_dist_node n ON n.nodeid = r.nodeid WHERE r.success ORDER BY n.nodeid

-- name: concurrent_obstacles
-- A table that Citus has already has its rows in a table of another name.
SELECT n.nspname::text AS schema, c.relname::text AS name, d.dropped, d.generated
FROM unnest(%(names)s::text[], %(columns)s::text[]) AS t (name, tenant)
JOIN pg_catalog.pg_class c ON c.oid = to_regclass(t.name) AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE a.attisdropped)::int AS dropped,
         count(*) FILTER (WHERE a.attgenerated <> '' AND a.attnum < coalesce(
           (SELECT k.attnum FROM pg_catalog.pg_attribute k WHERE k.attrelid = a.attrelid AND k.attname = t.tenant),
           32767))::int AS generated
  FROM pg_catalog.pg_attribute a
  WHERE a.attnum > 0 AND a.attrelid IN (
    SELECT c.oid UNION ALL SELECT o.oid FROM pg_catalog.pg_dist_shard s
    CROSS JOIN LATERAL parse_ident(shard_name(s.logicalrelid, s.shardid)) AS i (parts)
    JOIN pg_catalog.pg_class o ON o.relnamespace = c.relnamespace AND o.relname = i.parts[array_upper(i.parts, 1)]
    WHERE s.logicalrelid = c.oid)
) AS d
WHERE d.dropped > 0 OR d.generated > 0 OR c.relreplident = 'n'
  OR c.relreplident = 'd' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
ORDER BY 1, 2

-- name: roles_not_settable
-- As PostgreSQL decides in ALTER ROLE SET; before 16, CREATEROLE was enough.
SELECT r.rolname::text FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_roles me ON me.rolname = current_user
WHERE r.rolname = ANY (%(roles)s) AND NOT (
  me.rolsuper OR r.oid = me.oid
  OR NOT r.rolsuper AND me.rolcreaterole
    AND (current_setting('server_version_num')::int < 160000 OR pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION')))
ORDER BY 1
