-- name: referring
-- Tables of tenantry's whose rows belong to a run: while they exist, the run is kept, too.
SELECT c.relname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'run' AND NOT a.attisdropped
WHERE c.relnamespace = to_regnamespace('tenantry') AND c.relkind = 'r' AND c.relname <> 'events'
ORDER BY 1

-- name: newest
-- The last runs, and the last one of each command, which status and rollback read.
(SELECT id FROM tenantry.runs ORDER BY started_at DESC LIMIT 100)
UNION
(SELECT DISTINCT ON (split_part(command, ' ', 1)) id FROM tenantry.runs ORDER BY split_part(command, ' ', 1), started_at DESC)

-- name: old
SELECT id FROM tenantry.runs WHERE started_at < now() - make_interval(days => %(days)s) AND NOT id = ANY (%(kept)s)

-- name: events
SELECT count(*) FROM tenantry.events WHERE run = ANY (%(runs)s)

-- name: forget_events
DELETE FROM tenantry.events WHERE run = ANY (%(runs)s)

-- name: forget_runs
DELETE FROM tenantry.runs WHERE id = ANY (%(runs)s)

-- name: counts
SELECT (SELECT count(*) FROM tenantry.runs), (SELECT count(*) FROM tenantry.steps)
