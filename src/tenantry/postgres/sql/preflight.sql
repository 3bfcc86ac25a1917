-- name: room
-- Sessions whose details are hidden from our role count too; superusers may take reserved places.
WITH used AS (
    SELECT count(*) AS server, count(*) FILTER (WHERE datname = current_database()) AS database,
           count(*) FILTER (WHERE usename = session_user) AS role
    FROM pg_catalog.pg_stat_activity
    WHERE usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
)
SELECT least(current_setting('max_connections')::bigint - used.server
                 - CASE WHEN r.rolsuper THEN 0
                        ELSE current_setting('superuser_reserved_connections')::bigint
                             + coalesce(current_setting('reserved_connections', true), '0')::bigint END,
             CASE WHEN d.datconnlimit >= 0 AND NOT r.rolsuper THEN d.datconnlimit - used.database END,
             CASE WHEN r.rolconnlimit >= 0 AND NOT r.rolsuper THEN r.rolconnlimit - used.role END)::int
           AS connections_left,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory') AS data_directory,
       extract(epoch FROM pg_postmaster_start_time())::float8 AS started,
       pg_size_bytes(current_setting('max_wal_size'))::bigint AS wal_bytes
FROM used, pg_catalog.pg_roles r, pg_catalog.pg_database d
WHERE r.rolname = session_user AND d.datname = current_database()

-- name: role_access
-- SET is a privilege of its own since 16.
SELECT r.rolname::text AS name, pg_has_role(r.oid, 'USAGE') AS usage,
       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN pg_has_role(r.oid, 'SET')
            ELSE pg_has_role(r.oid, 'MEMBER') END AS settable
FROM pg_catalog.pg_roles r
WHERE r.rolname = ANY(%(roles)s)

-- name: schema_access
SELECT n.nspname::text AS name, has_schema_privilege(n.oid, 'CREATE') AS creates,
       has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION') AS grants_usage,
       EXISTS (SELECT FROM pg_catalog.pg_roles r
               WHERE r.rolname = %(application)s AND has_schema_privilege(r.oid, n.oid, 'USAGE')) AS open_to_application
FROM pg_catalog.pg_namespace n
WHERE n.nspname = ANY(%(schemas)s)

-- name: barred
-- A privilege on some columns counts: which of them are needed is not checked. Objects that are yet to be created are
-- missing.
SELECT *
FROM (SELECT w.role, w.schema, w.name, w.privilege, has_schema_privilege(r.oid, n.oid, 'USAGE') AS usage,
             CASE w.privilege WHEN '' THEN true
                              ELSE has_any_column_privilege(r.oid, c.oid, w.privilege) END AS held
      FROM unnest(%(roles)s::text[], %(schemas)s::text[], %(tables)s::text[], %(privileges)s::text[])
           AS w(role, schema, name, privilege)
      JOIN pg_catalog.pg_roles r ON r.rolname = w.role
      JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
      JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name) f
WHERE NOT (usage AND held)
ORDER BY 1, 2, 3, 4

-- name: sessions
-- Only this database: transactions in others delay neither CREATE INDEX CONCURRENTLY nor pruning here.
SELECT a.pid, a.usename::text AS user, coalesce(a.application_name, '') AS application,
       coalesce(a.state, '') AS state, a.query IS NOT DISTINCT FROM '<insufficient privilege>' AS hidden,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_age,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_age
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usename IS NOT NULL
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
ORDER BY a.xact_start NULLS LAST, a.pid

-- name: prepared
-- A prepared transaction has no pid in pg_locks; its own transaction id leads to its other locks.
SELECT p.gid AS name, p.owner::text AS owner, extract(epoch FROM clock_timestamp() - p.prepared)::float8 AS age,
       ARRAY(SELECT DISTINCT ARRAY[n.nspname::text, c.relname::text]
             FROM pg_catalog.pg_locks x
             JOIN pg_catalog.pg_locks l ON l.virtualtransaction = x.virtualtransaction AND l.pid IS NULL
             JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE x.locktype = 'transactionid' AND x.pid IS NULL AND x.transactionid = p.transaction
               AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
             ORDER BY 1) AS tables
FROM pg_catalog.pg_prepared_xacts p
WHERE p.database = current_database()
ORDER BY p.prepared

-- name: standbys
SELECT coalesce(application_name, '') AS name, coalesce(state, '') AS state,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint END AS bytes,
       extract(epoch FROM replay_lag)::float8 AS seconds
FROM pg_catalog.pg_stat_replication
ORDER BY 1

-- name: slots
SELECT slot_name::text AS name, active, coalesce(plugin::text, '') AS plugin,
       coalesce(database = current_database(), false) AS here, xmin IS NOT NULL AS holds_rows,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint END AS bytes
FROM pg_catalog.pg_replication_slots
WHERE NOT temporary
ORDER BY 1

-- name: event_triggers
SELECT e.evtname::text AS name, e.evtevent::text AS event, coalesce(e.evttags, '{}') AS tags, p.prosrc AS source
FROM pg_catalog.pg_event_trigger e
JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid
WHERE e.evtenabled IN ('O', 'A')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e')
ORDER BY 1

-- name: rules
SELECT n.nspname::text AS schema, c.relname::text AS name, r.rulename::text AS rule,
       CASE r.ev_type WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' WHEN '4' THEN 'DELETE' ELSE 'SELECT' END AS event,
       r.is_instead AS instead
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.rulename <> '_RETURN' AND r.ev_enabled IN ('O', 'A')
  AND NOT starts_with(n.nspname::text, 'pg_') AND n.nspname NOT IN ('information_schema', 'tenantry')
ORDER BY 1, 2, 3

-- name: narrowed_triggers
-- Those that do not fire on every UPDATE: with a list of columns, or a condition.
SELECT n.nspname::text AS schema, c.relname::text AS name, t.tgname::text AS trigger,
       cardinality(t.tgattr::int2[]) > 0 AS on_columns,
       CASE WHEN t.tgqual IS NOT NULL THEN pg_get_triggerdef(t.oid) END AS definition
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgtype & 16 <> 0 AND (cardinality(t.tgattr::int2[]) > 0 OR t.tgqual IS NOT NULL)
  AND NOT starts_with(n.nspname::text, 'pg_') AND n.nspname NOT IN ('information_schema', 'tenantry')
ORDER BY 1, 2, 3

-- name: publications
-- Column lists exist since 15, hence the detour by jsonb.
SELECT t.schemaname::text AS schema, t.tablename::text AS name, bool_or(p.pubupdate) AS updates,
       bool_or(to_jsonb(r) ->> 'prattrs' IS NULL) AS every_column
FROM pg_catalog.pg_publication_tables t
JOIN pg_catalog.pg_publication p ON p.pubname = t.pubname
JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
GROUP BY 1, 2
ORDER BY 1, 2

-- name: unproved
-- Checks that are enforced and were never validated. A row that violates one cannot be updated at all.
SELECT n.nspname::text AS schema, c.relname::text AS name, k.conname::text AS constraint,
       pg_get_expr(k.conbin, k.conrelid) AS condition
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'c' AND NOT k.convalidated AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true)
  AND NOT starts_with(k.conname::text, 'tenantry_')
  AND NOT starts_with(n.nspname::text, 'pg_') AND n.nspname NOT IN ('information_schema', 'tenantry')
ORDER BY 1, 2, 3

-- name: cramped
-- Tables to which no column can be added: typed ones, and those that have had 1600, including dropped ones.
SELECT n.nspname::text AS schema, c.relname::text AS name,
       CASE WHEN c.reloftype <> 0 THEN c.reloftype::regtype::text END AS of_type
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND (c.reloftype <> 0 OR c.relnatts >= 1600)
ORDER BY 1, 2

-- name: leaky_indexes
-- Indexes that are searched with operators of which none is leakproof: under a policy they are applied only to rows
-- that it shows, and so cannot be used to search an index.
SELECT n.nspname::text AS schema, c.relname::text AS name, x.relname::text AS index,
       ARRAY(SELECT DISTINCT o.oprcode::regprocedure::text
             FROM pg_catalog.pg_amop p JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
             WHERE p.amopfamily = k.opcfamily AND p.amoplefttype = k.opcintype AND p.amoppurpose = 's'
             ORDER BY 1) AS functions
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_opclass k ON k.oid = i.indclass[0]
WHERE i.indisvalid AND NOT x.relispartition AND x.relname !~ '^tenantry_'
  AND NOT starts_with(n.nspname::text, 'pg_') AND n.nspname NOT IN ('information_schema', 'tenantry')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_amop p
                  JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
                  JOIN pg_catalog.pg_proc f ON f.oid = o.oprcode AND f.proleakproof
                  WHERE p.amopfamily = k.opcfamily AND p.amoplefttype = k.opcintype AND p.amoppurpose = 's')
ORDER BY 1, 2, 3

-- name: statements_schema
SELECT n.nspname::text
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'

-- name: hidden
-- Tables whose rows policies may hide from the current role: row security applies to it, and either no policy lets it
-- see and change every row, or a restrictive one, other than the floor, from which operators are exempt, hides some.
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND row_security_active(c.oid)
  AND (NOT EXISTS (SELECT FROM pg_catalog.pg_policy p
                   WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd = '*'
                     AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                     AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
                     AND EXISTS (SELECT FROM unnest(p.polroles) AS member
                                 WHERE member = 0 OR pg_has_role(member, 'usage')))
       OR EXISTS (SELECT FROM pg_catalog.pg_policy p
                  WHERE p.polrelid = c.oid AND NOT p.polpermissive AND NOT starts_with(p.polname::text, 'tenantry_floor')
                    AND EXISTS (SELECT FROM unnest(p.polroles) AS member
                                WHERE member = 0 OR pg_has_role(member, 'usage'))))
ORDER BY 1, 2
