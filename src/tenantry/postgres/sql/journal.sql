-- name: schema
CREATE TABLE IF NOT EXISTS tenantry.journal (
  version integer PRIMARY KEY,
  made_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO tenantry.journal (version) VALUES (1) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS tenantry.runs (
  id text PRIMARY KEY,
  command text NOT NULL,
  username text NOT NULL DEFAULT current_user,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  exit_status integer,
  outcome text
);

-- What is in force and ours: one row a step, until it is reverted.
CREATE TABLE IF NOT EXISTS tenantry.steps (
  key text PRIMARY KEY,
  position bigint GENERATED ALWAYS AS IDENTITY,
  run text NOT NULL,
  phase text NOT NULL,
  value jsonb NOT NULL,
  before jsonb NOT NULL DEFAULT '{}',
  definition text,
  state text NOT NULL CHECK (state IN ('running', 'done', 'kept')),
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz
);

-- What happened, for reports: rows are only added.
CREATE TABLE IF NOT EXISTS tenantry.events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  key text NOT NULL,
  action text NOT NULL CHECK (action IN ('applied', 'reverted', 'kept', 'failed')),
  milliseconds double precision NOT NULL,
  waited double precision NOT NULL DEFAULT 0,
  tries integer NOT NULL DEFAULT 1,
  rows bigint,
  error text
);

-- Checkpoints of fills: page ranges, and the next page of each that is not done.
CREATE TABLE IF NOT EXISTS tenantry.progress (
  step text NOT NULL,
  relation text NOT NULL,
  filenode bigint NOT NULL,
  first bigint NOT NULL,
  past bigint NOT NULL,
  next bigint NOT NULL,
  rows bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (step, relation, first)
);

-- Rows whose tenant, NULL in the user's own column, we filled: rollback puts the NULLs back.
CREATE TABLE IF NOT EXISTS tenantry.filled (
  step text NOT NULL,
  key jsonb NOT NULL,
  tenant text NOT NULL
);

-- The schema before the first step, object by object: what a rollback is compared with.
CREATE TABLE IF NOT EXISTS tenantry.described (
  object text PRIMARY KEY,
  relation text NOT NULL,
  definition text NOT NULL
);

-- name: place
SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'tenantry'

-- name: shut_out
-- What default privileges have given to others on what this transaction has made; what was given since stays.
DO $$
DECLARE
  given record;
BEGIN
  FOR given IN
    SELECT DISTINCT o.object, CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END AS grantee
    FROM (SELECT 'SCHEMA tenantry' AS object, nspowner AS owner, nspacl AS acl, xmin
          FROM pg_catalog.pg_namespace WHERE nspname = 'tenantry'
          UNION ALL
          SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || oid::regclass, relowner, relacl, xmin
          FROM pg_catalog.pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relkind IN ('r', 'S')) o,
         aclexplode(o.acl) e
    WHERE e.grantee <> o.owner AND age(o.xmin) <= age(pg_current_xact_id()::xid)
  LOOP
    EXECUTE format('REVOKE ALL ON %s FROM %s', given.object, given.grantee);
  END LOOP;
END
$$;

-- name: installed
SELECT pg_catalog.to_regclass('tenantry.steps') IS NOT NULL;

-- name: version
SELECT max(version) FROM tenantry.journal;

-- name: usable
SELECT pg_catalog.has_schema_privilege('tenantry', 'usage') AND pg_catalog.has_table_privilege('tenantry.steps', 'select');

-- name: entries
SELECT key, position, run, phase, value, before, definition, state FROM tenantry.steps ORDER BY position;

-- name: begin_step
INSERT INTO tenantry.steps (key, run, phase, value, before, state)
VALUES (%(key)s, %(run)s, %(phase)s, %(value)s, %(before)s, %(state)s)
ON CONFLICT (key) DO UPDATE SET run = excluded.run, state = excluded.state,
  value = CASE WHEN steps.state = 'kept' THEN steps.value ELSE excluded.value END;

-- name: finish_step
UPDATE tenantry.steps SET state = 'done', definition = %(definition)s, finished_at = clock_timestamp() WHERE key = %(key)s;

-- name: keep_step
UPDATE tenantry.steps SET state = 'kept' WHERE key = %(key)s;

-- name: forget_step
WITH progress AS (DELETE FROM tenantry.progress WHERE step = %(key)s),
     filled AS (DELETE FROM tenantry.filled WHERE step = %(key)s)
DELETE FROM tenantry.steps WHERE key = %(key)s;

-- name: forget_progress
DELETE FROM tenantry.progress WHERE step = %(key)s;

-- name: event
INSERT INTO tenantry.events (run, key, action, milliseconds, waited, tries, rows, error)
VALUES (%(run)s, %(key)s, %(action)s, %(milliseconds)s, %(waited)s, %(tries)s, %(rows)s, %(error)s);

-- name: acted
SELECT EXISTS (SELECT FROM tenantry.events WHERE run = %(run)s);

-- name: begin_run
INSERT INTO tenantry.runs (id, command) VALUES (%(id)s, %(command)s);

-- name: finish_run
UPDATE tenantry.runs SET finished_at = clock_timestamp(), exit_status = %(exit_status)s, outcome = %(outcome)s
WHERE id = %(id)s;

-- name: runs
-- The last runs, each with what its steps took, and with the one of the same command before it that came to its end.
WITH latest AS (SELECT * FROM tenantry.runs ORDER BY started_at DESC LIMIT %(limit)s)
SELECT r.id, r.command, r.username, r.started_at, r.finished_at, r.exit_status, r.outcome,
       extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds,
       own.steps, own.rows, own.waited, own.retries,
       p.id AS previous, extract(epoch FROM p.finished_at - p.started_at)::float8 AS previous_seconds,
       (SELECT count(*) FROM tenantry.events e WHERE e.run = p.id AND e.action <> 'failed') AS previous_steps
FROM latest r
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE e.action <> 'failed') AS steps, coalesce(sum(e.rows), 0)::bigint AS rows,
         coalesce(max(e.waited), 0) AS waited, coalesce(sum(e.tries - 1), 0)::bigint AS retries
  FROM tenantry.events e WHERE e.run = r.id
) AS own
LEFT JOIN LATERAL (
  SELECT b.id, b.started_at, b.finished_at FROM tenantry.runs b
  WHERE b.command = r.command AND b.started_at < r.started_at AND b.exit_status IN (0, 1) AND r.exit_status IN (0, 1)
  ORDER BY b.started_at DESC LIMIT 1
) AS p ON true
ORDER BY r.started_at DESC;

-- name: purge
DROP SCHEMA IF EXISTS tenantry CASCADE;
