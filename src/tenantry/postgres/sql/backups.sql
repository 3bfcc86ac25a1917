-- name: schema
CREATE TABLE IF NOT EXISTS tenantry.backups (
  id text PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('tables', 'dump')),
  reason text NOT NULL,
  run text NOT NULL,
  server_version integer NOT NULL,
  tables jsonb NOT NULL,
  bytes bigint NOT NULL DEFAULT 0,
  folder text,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  verified_at timestamptz,
  problem text NOT NULL DEFAULT ''
);

-- name: installed
SELECT pg_catalog.to_regclass('tenantry.backups') IS NOT NULL;

-- name: all
SELECT id, kind, reason, run, server_version, tables, bytes, folder, started_at, finished_at, verified_at, problem
FROM tenantry.backups ORDER BY started_at DESC, id DESC;

-- name: begin
-- A second backup in the same second is named after the next one.
WITH free AS (
    SELECT %(reason)s || '_' || to_char(clock_timestamp() AT TIME ZONE 'UTC' + n * interval '1 second', 'YYYYMMDDHH24MISS')
           AS id
    FROM generate_series(0, 600) n
)
SELECT id FROM free WHERE NOT EXISTS (SELECT FROM tenantry.backups b WHERE b.id = free.id) ORDER BY id LIMIT 1;

-- name: insert
INSERT INTO tenantry.backups (id, kind, reason, run, server_version, tables, folder)
VALUES (%(id)s, %(kind)s, %(reason)s, %(run)s, current_setting('server_version_num')::integer, %(tables)s, %(folder)s);

-- name: finish
UPDATE tenantry.backups SET tables = %(tables)s, bytes = %(bytes)s, finished_at = clock_timestamp() WHERE id = %(id)s;

-- name: verified
UPDATE tenantry.backups SET verified_at = clock_timestamp(), problem = %(problem)s WHERE id = %(id)s;

-- name: forget
DELETE FROM tenantry.backups WHERE id = %(id)s;

-- name: unbroken
-- Whether every run since the one that made a backup, including that one, has failed or was killed.
SELECT NOT EXISTS (
    SELECT FROM tenantry.runs made JOIN tenantry.runs later ON later.started_at >= made.started_at
    WHERE made.id = %(run)s AND later.exit_status IN (0, 1))
  AND EXISTS (SELECT FROM tenantry.runs WHERE id = %(run)s);

-- name: steady
-- The text of values must not depend on the session. 3 is the maximum that 14 to 18 accept.
SELECT set_config('TimeZone', 'UTC', true), set_config('extra_float_digits', '3', true),
       set_config('lc_monetary', 'C', true), set_config('xmloption', 'content', true);

-- name: bytes
SELECT coalesce(sum(pg_catalog.pg_table_size(pg_catalog.to_regclass(given))), 0)::bigint
FROM pg_catalog.unnest(%(names)s::text[]) AS given;

-- name: sequences
-- Sequences that the table owns, and those that its defaults call.
SELECT DISTINCT n.nspname::text AS schema, s.relname::text AS name
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class s ON s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
LEFT JOIN pg_catalog.pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
      AND d.objid = s.oid AND d.refobjid = %(table)s::regclass AND d.refobjsubid > 0
   OR d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND a.adrelid = %(table)s::regclass
ORDER BY 1, 2;

-- name: triggers
-- Triggers of the user's that fire. Until 14 the copy of a parent's trigger on a partition is marked as internal.
SELECT t.tgrelid::bigint AS relation, t.tgname::text AS name, t.tgenabled::text AS state
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = %(relation)s::regclass AND t.tgenabled <> 'D'
  AND (%(event)s::text IS NULL
       OR t.tgtype & CASE %(event)s::text WHEN 'INSERT' THEN 4 WHEN 'DELETE' THEN 8 WHEN 'UPDATE' THEN 16 END <> 0)
  AND p.pronamespace <> 'tenantry'::regnamespace
  AND (NOT t.tgisinternal
       OR t.tgparentid <> 0 AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c
                                            WHERE c.oid = t.tgconstraint AND c.contype <> 't'))
ORDER BY t.tgname;

-- name: rules
SELECT ev_class::bigint AS relation, rulename::text AS name, ev_enabled::text AS state
FROM pg_catalog.pg_rewrite
WHERE ev_class = %(relation)s::regclass AND rulename <> '_RETURN' AND ev_enabled <> 'D'
  AND (%(event)s::text IS NULL
       OR ev_type = CASE %(event)s::text WHEN 'UPDATE' THEN '2' WHEN 'INSERT' THEN '3' WHEN 'DELETE' THEN '4' END::"char")
ORDER BY rulename;
