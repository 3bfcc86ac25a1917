-- name: there
SELECT pg_catalog.to_regclass('tenantry.api_keys') IS NOT NULL

-- name: keys
SELECT lookup, tenant, name, scopes, created_at, created_by, ends_at, replaced_by, last_used_at,
       ends_at IS NULL OR ends_at > pg_catalog.clock_timestamp() AS active
FROM tenantry.api_keys ORDER BY created_at, lookup

-- name: add
INSERT INTO tenantry.api_keys (lookup, hash, tenant, name, scopes, ends_at)
VALUES (%(lookup)s, %(hash)s, %(tenant)s, %(name)s, %(scopes)s, pg_catalog.now() + %(lifetime)s::interval)

-- name: end
-- Never later than its present end.
UPDATE tenantry.api_keys SET ends_at = least(ends_at, pg_catalog.now() + %(overlap)s::interval), replaced_by = %(by)s
WHERE lookup = %(lookup)s
