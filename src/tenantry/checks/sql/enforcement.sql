-- name: silent_keys
-- Foreign keys with a trigger that does not fire in an ordinary session (DISABLE, ENABLE REPLICA), with those triggers.
-- Both sides have some, and each partition of either side its own, for a constraint below the declared one.
WITH RECURSIVE wanted AS (
    SELECT pg_catalog.to_regclass(w.name)::pg_catalog.oid AS oid FROM pg_catalog.unnest(%(names)s::text[]) w(name)
), silent AS (
    SELECT t.tgconstraint AS below, t.tgconstraint AS above, t.tgname, t.tgrelid
    FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_constraint c ON c.oid = t.tgconstraint AND c.contype = 'f'
    WHERE t.tgenabled NOT IN ('O', 'A')
      AND (c.conrelid IN (SELECT oid FROM wanted) OR c.confrelid IN (SELECT oid FROM wanted))
  UNION ALL
    SELECT s.below, c.conparentid, s.tgname, s.tgrelid
    FROM silent s JOIN pg_catalog.pg_constraint c ON c.oid = s.above AND c.conparentid <> 0
)
SELECT n.nspname::text AS schema, r.relname::text AS name, c.conname::text AS constraint,
       pn.nspname::text AS parent_schema, p.relname::text AS parent_name,
       pg_catalog.array_agg(ARRAY[tn.nspname::text, tr.relname::text, s.tgname::text]
                            ORDER BY tn.nspname, tr.relname, s.tgname) AS triggers
FROM silent s
JOIN pg_catalog.pg_constraint c ON c.oid = s.above AND c.conparentid = 0
JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = c.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
JOIN pg_catalog.pg_class tr ON tr.oid = s.tgrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = tr.relnamespace
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3

-- name: keys_not_enforced
-- NOT ENFORCED exists since 18.
SELECT n.nspname::text AS schema, r.relname::text AS name, c.conname::text AS constraint
FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0 AND to_jsonb(c) ->> 'conenforced' = 'false'
  AND c.conrelid IN (SELECT pg_catalog.to_regclass(w.name) FROM pg_catalog.unnest(%(names)s::text[]) w(name))
ORDER BY 1, 2, 3

-- name: silent_triggers
-- tenantry's triggers on partitions, which have one each: that of the partitioned table, which the step creates, always
-- fires.
SELECT n.nspname::text AS schema, r.relname::text AS name, t.tgname::text AS trigger
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_trigger whole ON whole.oid = t.tgparentid AND whole.tgenabled = 'A'
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace AND pn.nspname = 'tenantry'
JOIN pg_catalog.pg_class r ON r.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE t.tgenabled <> 'A'
  AND r.oid IN (SELECT pg_catalog.to_regclass(w.name) FROM pg_catalog.unnest(%(names)s::text[]) w(name))
ORDER BY 1, 2, 3

-- name: replica_settings
-- Roles whose sessions fire no trigger: ALTER ROLE ... SET and ALTER DATABASE ... SET that apply in this database.
SELECT r.rolname::text AS role, d.datname::text AS database
FROM pg_catalog.pg_db_role_setting s
CROSS JOIN pg_catalog.unnest(s.setconfig) c(setting)
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
WHERE pg_catalog.lower(c.setting) = 'session_replication_role=replica'
  AND (s.setdatabase = 0 OR d.datname = pg_catalog.current_database())
ORDER BY 1 NULLS FIRST, 2 NULLS FIRST

-- name: replica_server
-- The same for all roles without a setting of their own, from the start of this session. Only superusers may see the
-- file.
SELECT EXISTS (SELECT FROM pg_catalog.pg_settings s
               WHERE s.name = 'session_replication_role' AND pg_catalog.lower(s.reset_val) = 'replica'
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting d, pg_catalog.unnest(d.setconfig) c(setting)
                                 WHERE pg_catalog.lower(c.setting) = 'session_replication_role=replica'))

-- name: replica_files
SELECT EXISTS (SELECT FROM pg_catalog.pg_file_settings f
               WHERE f.name = 'session_replication_role' AND f.applied AND pg_catalog.lower(f.setting) = 'replica')

-- name: sees_files
SELECT pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'SELECT')
   AND pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE')

-- name: replica_functions
-- Functions with that setting while they run.
SELECT p.oid::regprocedure::text AS signature
FROM pg_catalog.pg_proc p, pg_catalog.unnest(p.proconfig) c(setting)
WHERE pg_catalog.lower(c.setting) = 'session_replication_role=replica'
ORDER BY 1

-- name: subscriptions
-- The apply worker of a subscription does not check foreign keys.
SELECT DISTINCT s.subname::text AS subscription, n.nspname::text AS schema, r.relname::text AS name
FROM pg_catalog.pg_subscription_rel sr
JOIN pg_catalog.pg_subscription s ON s.oid = sr.srsubid
JOIN pg_catalog.pg_class r ON r.oid = sr.srrelid
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE r.oid IN (SELECT pg_catalog.to_regclass(w.name) FROM pg_catalog.unnest(%(names)s::text[]) w(name))
ORDER BY 1, 2, 3
