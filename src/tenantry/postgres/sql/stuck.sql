-- name: parties
-- Every other session of this database, and the sessions that it waits for. A prepared transaction among those is pid
-- 0.
SELECT a.pid, coalesce(a.usename::text, '') AS "user", coalesce(a.application_name, '') AS application,
       coalesce(a.state, '') AS state, left(coalesce(a.query, ''), 1000) AS query, a.backend_start AS since,
       coalesce(a.application_name, '') LIKE 'tenantry %%'
         AND a.application_name !~ ' (status|plan|watch|fill watch|demo|tenants|lock)$' AS run,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS lasts,
       CASE WHEN a.wait_event_type = 'Lock' THEN pg_catalog.pg_blocking_pids(a.pid) ELSE '{}' END AS waits_for
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
  AND (%(pid)s::int IS NULL OR a.pid = %(pid)s::int)
ORDER BY a.xact_start NULLS LAST, a.pid

-- name: prepared
SELECT p.gid AS name, p.owner::text AS owner, extract(epoch FROM clock_timestamp() - p.prepared)::float8 AS age
FROM pg_catalog.pg_prepared_xacts p WHERE p.database = current_database() ORDER BY p.prepared

-- name: terminate
-- Another process may have got the same number meanwhile.
SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
WHERE a.pid = %(pid)s AND a.backend_start = %(since)s
