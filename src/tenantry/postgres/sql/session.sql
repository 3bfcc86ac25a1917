-- name: holders
SELECT DISTINCT ON (a.pid) a.pid, COALESCE(a.usename::text, '') AS user, COALESCE(a.application_name, '') AS application,
  COALESCE(a.state, '') AS state, pg_catalog.left(COALESCE(a.query, ''), 200) AS query,
  EXTRACT(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::double precision AS age,
  n.nspname::text AS schema, c.relname::text AS name, l.mode, l.granted
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND l.relation = ANY (SELECT pg_catalog.to_regclass(given)::oid FROM pg_catalog.unnest(%(names)s::text[]) AS given)
  AND l.mode = ANY (%(modes)s::text[])
ORDER BY a.pid, a.xact_start
LIMIT 20;

-- name: uncounted
SELECT pg_catalog.set_config('track_counts', 'off', false) FROM pg_catalog.pg_roles r
WHERE r.rolname OPERATOR(pg_catalog.=) current_user AND r.rolsuper;
