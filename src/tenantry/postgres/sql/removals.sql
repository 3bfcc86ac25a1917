-- name: schema
-- One row for each tenant that is being removed: what was exported before, and the progress. It is deleted in the
-- transaction that deletes the tenant's own row.
CREATE TABLE IF NOT EXISTS tenantry.removals (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run text NOT NULL,
  tenant text NOT NULL,
  slug text NOT NULL,
  folder text,
  exported bigint NOT NULL,
  removed bigint NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- name: installed
SELECT pg_catalog.to_regclass('tenantry.removals') IS NOT NULL

-- name: open
SELECT id, run, tenant, slug, folder, exported, removed FROM tenantry.removals
WHERE tenant = %(tenant)s ORDER BY id DESC LIMIT 1

-- name: open_of
SELECT id, run, tenant, slug, folder, exported, removed FROM tenantry.removals
WHERE slug = %(slug)s ORDER BY id DESC LIMIT 1

-- name: begin
INSERT INTO tenantry.removals (run, tenant, slug, folder, exported)
VALUES (%(run)s, %(tenant)s, %(slug)s, %(folder)s, %(exported)s)
RETURNING id, run, tenant, slug, folder, exported, removed

-- name: count
UPDATE tenantry.removals SET removed = removed + %(rows)s WHERE id = %(id)s

-- name: finish
DELETE FROM tenantry.removals WHERE id = %(id)s RETURNING removed

-- name: forget
DELETE FROM tenantry.removals WHERE tenant = %(tenant)s

-- name: keys
SELECT pg_catalog.to_regclass('tenantry.api_keys') IS NOT NULL

-- name: end_keys
UPDATE tenantry.api_keys SET ends_at = least(ends_at, pg_catalog.now())
WHERE tenant = %(tenant)s AND (ends_at IS NULL OR ends_at > pg_catalog.now())
