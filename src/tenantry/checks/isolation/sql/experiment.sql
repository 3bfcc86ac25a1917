-- name: patience
SELECT set_config('lock_timeout', '1s', true)

-- name: settle
-- The maximum time that a writer waits for a row that is locked here, whatever happens to tenantry's process.
SELECT set_config('lock_timeout', '1s', true), set_config('statement_timeout', '5s', true),
       set_config('idle_in_transaction_session_timeout', '10s', true), set_config('row_security', 'on', true)

-- name: bounded
-- The operator's session still fails if a policy would hide rows from it.
SELECT set_config('lock_timeout', '1s', true), set_config('statement_timeout', '5s', true)

-- name: database
-- Identifies a database of a server at an address.
SELECT d.oid::bigint AS oid, d.datname::text AS name, pg_postmaster_start_time()::text AS started
FROM pg_catalog.pg_database d
WHERE d.datname = current_database()

-- name: user
SELECT session_user::text

-- name: stands_for
-- SET is a privilege of its own since 16.
SELECT current_user::text AS "user",
       EXISTS (SELECT FROM pg_catalog.pg_roles r
               WHERE r.rolname = %(role)s AND pg_has_role(current_user, r.oid, 'USAGE')) AS stands,
       EXISTS (SELECT FROM pg_catalog.pg_roles r
               WHERE r.rolname = %(role)s
                 AND CASE WHEN current_setting('server_version_num')::int >= 160000
                          THEN pg_has_role(current_user, r.oid, 'SET')
                          ELSE pg_has_role(current_user, r.oid, 'MEMBER') END) AS becomes

-- name: readable
-- Relations that the application role may read or write, or whose rows it can get from a function.
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(SELECT to_regclass(t.name) FROM unnest(%(names)s::text[]) t(name))
  AND has_schema_privilege(%(role)s, n.oid, 'USAGE')
  AND (has_any_column_privilege(%(role)s, c.oid, 'SELECT') OR has_any_column_privilege(%(role)s, c.oid, 'INSERT')
       OR has_any_column_privilege(%(role)s, c.oid, 'UPDATE') OR has_table_privilege(%(role)s, c.oid, 'DELETE'))

-- name: has_column
SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = to_regclass(%(name)s) AND a.attname = %(column)s AND NOT a.attisdropped)
