-- name: security
SELECT c.relrowsecurity, c.relforcerowsecurity,
       ARRAY(SELECT p.polname::text FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)
FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass(%(table)s);
