-- name: settle_citus
-- An operator that is a member of the application role may have it: Citus would then send each message that begins with
-- SET LOCAL to all nodes, as a whole.
SELECT set_config('citus.propagate_set_commands', 'none', false)
FROM pg_catalog.pg_extension e WHERE e.extname = 'citus'

-- name: settle
-- The server, the database or the role may have other defaults, and a pooler refuses startup options. So the settings
-- are set after the connection is made, by name, and only those that exist in this version. They determine how values
-- and definitions are written, what a query means and which rows it finds. The search_path has been set before.
SELECT set_config(w.name, w.value, false)
FROM (VALUES ('application_name', %(application_name)s::text),
             ('client_encoding', 'UTF8'),
             ('lock_timeout', '0'),
             ('statement_timeout', '0'),
             ('transaction_timeout', '0'),
             ('idle_in_transaction_session_timeout', '0'),
             ('idle_session_timeout', '0'),
             ('default_transaction_read_only', 'off'),
             ('default_transaction_deferrable', 'off'),
             ('default_transaction_isolation', 'read committed'),
             -- An operator to whom no policy applies must get an error, and not some of the rows.
             ('row_security', CASE WHEN %(operator)s::bool AND EXISTS (
                  SELECT FROM pg_catalog.pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls))
              THEN 'off' ELSE 'on' END),
             -- With replica, foreign keys and triggers have no effect. Not every role may set it.
             ('session_replication_role',
              CASE WHEN current_setting('session_replication_role') <> 'origin' THEN 'origin' END),
             ('DateStyle', 'ISO'),
             ('IntervalStyle', 'postgres'),
             ('bytea_output', 'hex'),
             ('standard_conforming_strings', 'on'),
             ('quote_all_identifiers', 'off'),
             ('transform_null_equals', 'off'),
             ('array_nulls', 'on'),
             ('xmloption', 'content'),
             ('extra_float_digits', '1'),
             ('check_function_bodies', 'on'),
             ('gin_fuzzy_search_limit', '0'),
             ('restrict_nonsystem_relation_kind', '')) w(name, value)
WHERE w.value IS NOT NULL AND current_setting(w.name, true) IS NOT NULL

-- name: notice_lost_client
SELECT set_config('client_connection_check_interval', '1000', false)

-- name: server
SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_name,
       current_database()::text AS database, current_user::text AS "user",
       r.rolsuper AS superuser, r.rolsuper OR r.rolbypassrls AS bypasses,
       r.rolsuper OR r.rolcreaterole AS can_create_role,
       has_database_privilege(current_database(), 'CREATE') AS can_create_schema,
       pg_is_in_recovery() AS in_recovery
FROM pg_catalog.pg_roles r
WHERE r.rolname = current_user

-- name: backend
-- tenantry's search_path is not set yet.
SELECT pg_catalog.pg_backend_pid()

-- name: set_role
SELECT split_part(c.setting, '=', 1), split_part(c.setting, '=', 2)
FROM pg_catalog.pg_db_role_setting s CROSS JOIN unnest(s.setconfig) c(setting)
WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AND s.setrole = 0
  AND split_part(c.setting, '=', 1) IN ('role', 'session_authorization')
  AND split_part(c.setting, '=', 2) NOT IN ('none', %(user)s::text)
