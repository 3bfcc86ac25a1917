-- name: try_run_lock
SELECT pg_try_advisory_lock(%(key)s::bigint)

-- name: share_run_lock
-- The exclusive lock of the session becomes a shared one, without a moment in which another session could take it.
SELECT pg_advisory_lock_shared(k.key), pg_advisory_unlock(k.key) FROM (SELECT %(key)s::bigint OFFSET 0) AS k (key)

-- name: keep_run_lock
SELECT pg_try_advisory_lock_shared(%(key)s::bigint)

-- name: release_run_lock
SELECT CASE l.mode WHEN 'ShareLock' THEN pg_advisory_unlock_shared(%(key)s::bigint)
                   ELSE pg_advisory_unlock(%(key)s::bigint) END
FROM pg_catalog.pg_locks l
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid = pg_backend_pid()
  AND l.classid::bigint = %(key)s::bigint >> 32 AND l.objid::bigint = %(key)s::bigint & 4294967295

-- name: run_lock_holder
-- backend_start is hidden from roles that may not see the session.
SELECT l.pid AS pid, coalesce(a.usename::text, '') AS user, coalesce(a.application_name, '') AS application,
       a.backend_start AS since
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.classid::bigint = %(key)s::bigint >> 32 AND l.objid::bigint = %(key)s::bigint & 4294967295
ORDER BY a.backend_start
LIMIT 1

-- name: blockers
-- What the session waits for: a relation, or a row (then the transaction of another, and the tuple's table is known
-- while it holds the tuple lock). A prepared transaction is pid 0 here, and has no pid in pg_locks.
WITH blocker AS MATERIALIZED (
    SELECT DISTINCT unnest(pg_blocking_pids(%(pid)s::int)) AS pid
), lock AS MATERIALIZED (
    SELECT * FROM pg_catalog.pg_locks WHERE EXISTS (SELECT FROM blocker)
), waiting AS (
    SELECT * FROM lock WHERE pid = %(pid)s::int AND NOT granted
), wanted AS (
    SELECT coalesce(w.relation, t.relation) AS relation, w.transactionid, w.virtualxid
    FROM waiting w
    LEFT JOIN lock t ON t.pid = w.pid AND t.locktype = 'tuple' AND t.granted
    LIMIT 1
), prepared AS (
    SELECT p.gid, p.owner::text AS owner, p.prepared, x.virtualtransaction
    FROM pg_catalog.pg_prepared_xacts p
    JOIN lock x ON x.locktype = 'transactionid' AND x.pid IS NULL AND x.transactionid = p.transaction
    WHERE p.database = current_database()
), party AS (
    SELECT b.pid, coalesce(a.usename::text, '') AS user, coalesce(a.application_name, '') AS application,
           coalesce(a.state, '') AS state, left(coalesce(a.query, ''), 200) AS query,
           a.xact_start AS started, NULL::text AS virtualtransaction
    FROM blocker b LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
    WHERE b.pid <> 0
  UNION ALL
    SELECT 0, p.owner, '', 'prepared', p.gid, p.prepared, p.virtualtransaction
    FROM prepared p
    WHERE EXISTS (SELECT FROM blocker WHERE pid = 0)
      AND EXISTS (SELECT FROM lock l, wanted w
                  WHERE l.virtualtransaction = p.virtualtransaction AND l.pid IS NULL
                    AND (l.relation = w.relation OR l.transactionid = w.transactionid))
)
SELECT p.pid, p.user, p.application, p.state, p.query,
       extract(epoch FROM clock_timestamp() - p.started)::float8 AS age,
       n.nspname::text AS schema, c.relname::text AS name, held.mode, coalesce(held.granted, true) AS granted
FROM party p
LEFT JOIN wanted w ON true
LEFT JOIN pg_catalog.pg_class c ON c.oid = w.relation
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT l.mode, l.granted
    FROM lock l
    WHERE l.locktype = 'relation' AND l.relation = w.relation
      AND (l.pid = p.pid OR l.virtualtransaction = p.virtualtransaction AND l.pid IS NULL)
    ORDER BY l.granted DESC,
             array_position(ARRAY['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock',
                                  'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock', 'AccessShareLock'],
                            l.mode)
    LIMIT 1) held ON true
ORDER BY p.started NULLS LAST, p.pid

-- name: exclusive
-- Sessions that hold or wait for an exclusive lock on a table: its definition cannot be read meanwhile.
SELECT DISTINCT ON (coalesce(l.pid, 0), c.oid)
       coalesce(l.pid, 0) AS pid, coalesce(a.usename::text, '') AS user,
       coalesce(a.application_name, '') AS application, coalesce(a.state, '') AS state,
       CASE WHEN l.pid IS NULL THEN l.virtualtransaction ELSE left(coalesce(a.query, ''), 200) END AS query,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age,
       n.nspname::text AS schema, c.relname::text AS name, l.mode, l.granted
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
ORDER BY coalesce(l.pid, 0), c.oid, l.granted DESC
