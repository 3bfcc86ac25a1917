-- name: schema
-- One row for each tenant that is being moved to another server or from one, or has been moved away: the state of the
-- move, where the other side is, without secrets, and the replica identities that tables had before. `side` says which
-- of both this database is, `server` which database is the target.
CREATE TABLE IF NOT EXISTS tenantry.moves (
  id text PRIMARY KEY,
  side text NOT NULL,
  run text NOT NULL,
  tenant text NOT NULL,
  slug text NOT NULL,
  location text NOT NULL,
  server text NOT NULL,
  state text NOT NULL,
  identities jsonb NOT NULL DEFAULT '{}',
  pauses integer NOT NULL DEFAULT 0,
  longest_pause double precision NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- name: installed
SELECT pg_catalog.to_regclass('tenantry.moves') IS NOT NULL

-- name: all
SELECT id, side, run, tenant, slug, location, server, state, identities, pauses, longest_pause, started_at, changed_at
FROM tenantry.moves ORDER BY started_at, id

-- name: of_slug
SELECT id, side, run, tenant, slug, location, server, state, identities, pauses, longest_pause, started_at, changed_at
FROM tenantry.moves WHERE (slug = %(slug)s OR tenant = %(tenant)s) AND side = 'source'
ORDER BY server = %(server)s DESC, started_at DESC LIMIT 1

-- name: of_id
SELECT id, side, run, tenant, slug, location, server, state, identities, pauses, longest_pause, started_at, changed_at
FROM tenantry.moves WHERE id = %(id)s

-- name: begin
INSERT INTO tenantry.moves (id, side, run, tenant, slug, location, server, state, identities)
VALUES (%(id)s, %(side)s, %(run)s, %(tenant)s, %(slug)s, %(location)s, %(server)s, 'begun', %(identities)s)
RETURNING id, side, run, tenant, slug, location, server, state, identities, pauses, longest_pause, started_at,
  changed_at

-- name: change
UPDATE tenantry.moves SET state = %(state)s, changed_at = pg_catalog.clock_timestamp() WHERE id = %(id)s

-- name: abandon
UPDATE tenantry.moves SET state = 'abandoned', identities = '{}', changed_at = pg_catalog.clock_timestamp()
WHERE id = %(id)s

-- name: rename
UPDATE tenantry.moves SET slug = %(slug)s WHERE id = %(id)s AND slug <> %(slug)s

-- name: paused
UPDATE tenantry.moves SET pauses = pauses + 1, changed_at = pg_catalog.clock_timestamp() WHERE id = %(id)s

-- name: pause
UPDATE tenantry.moves SET longest_pause = greatest(longest_pause, %(milliseconds)s) WHERE id = %(id)s

-- name: forget
DELETE FROM tenantry.moves WHERE id = %(id)s

-- name: forget_departed
DELETE FROM tenantry.moves WHERE tenant = %(tenant)s AND side = 'source' AND state = 'moved' AND id <> %(id)s
