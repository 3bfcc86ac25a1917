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
       CASE WHEN d.partmethod = 'h' THEN column_to_column_name(d.logicalrelid, d.partkey) END AS column
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
