-- name: bounded
SELECT set_config('lock_timeout', '1s', true), set_config('statement_timeout', '3s', true),
       set_config('idle_in_transaction_session_timeout', '10s', true), set_config('row_security', 'on', true)

-- name: patience
SELECT set_config('lock_timeout', '1s', true)

-- name: as_applications_do
-- Operators of extensions are found by the search path. The plan must be for any value, not for a particular one.
SELECT set_config('search_path', coalesce((SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'), ''), true),
       set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true)

-- name: sizes
-- In bytes, of what holds rows.
SELECT n.nspname::text AS schema, c.relname::text AS name, pg_relation_size(c.oid) AS bytes
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))

-- name: idle_indexes
-- Indexes that enforce no constraint, and the number of days without a use of them. The counters cover the time since
-- their last reset, or else since the first run of tenantry. last_idx_scan exists since 16.
WITH since AS (
    SELECT coalesce((SELECT stats_reset FROM pg_catalog.pg_stat_database WHERE datname = current_database()),
                    %(first_run)s::timestamptz) AS moment
), counted AS (
    SELECT n.nspname::text AS schema, c.relname::text AS name, xn.nspname::text AS index_schema,
           x.relname::text AS index, pg_relation_size(x.oid) AS bytes,
           CASE WHEN s.idx_scan = 0 THEN since.moment ELSE (to_jsonb(s) ->> 'last_idx_scan')::timestamptz END AS moment
    FROM since
    CROSS JOIN pg_catalog.pg_stat_user_indexes s
    JOIN pg_catalog.pg_index i ON i.indexrelid = s.indexrelid
    JOIN pg_catalog.pg_class x ON x.oid = s.indexrelid
    JOIN pg_catalog.pg_namespace xn ON xn.oid = x.relnamespace
    JOIN pg_catalog.pg_class c ON c.oid = s.relid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT (i.indisunique OR i.indisexclusion OR i.indisreplident)
      AND c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
)
SELECT schema, name, index_schema, index, bytes,
       extract(epoch FROM now() - moment)::float8 / 86400 AS days
FROM counted
WHERE moment IS NOT NULL
ORDER BY bytes DESC, schema, name, index

-- name: made
-- The age of tenantry's indexes, in days, and of its first run.
SELECT s.key, extract(epoch FROM now() - s.finished_at)::float8 / 86400 AS days
FROM tenantry.steps s
WHERE starts_with(s.key, 'index:') AND s.finished_at IS NOT NULL

-- name: first_run
SELECT min(started_at) FROM tenantry.runs
