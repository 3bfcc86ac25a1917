-- name: replicas
-- The slowest replica that streams: its name, and how far it is behind, in bytes and seconds. Columns of other roles'
-- sessions are NULL without pg_monitor.
SELECT coalesce(nullif(application_name, ''), pid::text), pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::float8,
       coalesce(extract(epoch FROM replay_lag), 0)::float8
FROM pg_catalog.pg_stat_replication WHERE state = 'streaming' AND replay_lsn IS NOT NULL

-- name: waiting
-- Other sessions that wait for a lock of ours.
SELECT count(DISTINCT l.pid) FROM pg_catalog.pg_locks l
WHERE NOT l.granted AND l.pid <> ALL ($1::int[]) AND pg_blocking_pids(l.pid) && $1::int[]
