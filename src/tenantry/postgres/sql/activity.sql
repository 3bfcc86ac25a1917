-- name: sessions
-- Sessions of runs, except those that only read.
SELECT a.pid, a.application_name AS application, coalesce(a.state, '') AS state, left(coalesce(a.query, ''), 1000) AS query,
       concat_ws(': ', a.wait_event_type, a.wait_event) AS waiting,
       extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS seconds,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity w
        WHERE w.wait_event_type = 'Lock' AND a.pid = ANY (pg_catalog.pg_blocking_pids(w.pid)))::int AS behind
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.application_name LIKE 'tenantry %%'
  AND (%(pid)s::int IS NULL OR a.pid = %(pid)s::int)
  AND a.application_name !~ ' (status|plan|watch|fill watch|demo|tenants|lock)$'
ORDER BY a.backend_start, a.pid

-- name: rows_copied
-- On all nodes of Citus, by its own statements that are not finished. Only some roles see those of others.
SELECT coalesce(sum(r.result::bigint), 0)::bigint FROM run_command_on_all_nodes($$
  SELECT coalesce(sum(p.tuples_processed), 0) FROM pg_catalog.pg_stat_progress_copy p
  JOIN pg_catalog.pg_stat_activity a ON a.pid = p.pid AND starts_with(a.application_name, 'citus_internal')
  WHERE p.datname = current_database() AND p.command = 'COPY FROM'
$$) AS r WHERE r.success

-- name: index_builds
SELECT p.pid, n.nspname::text AS schema, c.relname::text AS name, p.phase,
       greatest(p.blocks_total, p.tuples_total) AS total,
       CASE WHEN p.blocks_total >= p.tuples_total THEN p.blocks_done ELSE p.tuples_done END AS done,
       p.current_locker_pid AS locker
FROM pg_catalog.pg_stat_progress_create_index p
JOIN pg_catalog.pg_class c ON c.oid = p.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.datname = current_database() AND (%(pid)s::int IS NULL OR p.pid = %(pid)s::int)
