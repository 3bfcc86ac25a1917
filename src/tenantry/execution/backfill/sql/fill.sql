-- name: extent
-- The pages of a relation, and its file. No row if the relation does not exist.
SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint, pg_relation_filenode(c.oid)::bigint
FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)

-- name: units
SELECT first, past, next FROM tenantry.progress
WHERE step = $1 AND relation = $2 AND filenode::bigint = $3 ORDER BY first

-- name: forget
DELETE FROM tenantry.progress WHERE step = $1 AND relation = $2

-- name: forget_step
DELETE FROM tenantry.progress WHERE step = $1

-- name: divide
INSERT INTO tenantry.progress (step, relation, filenode, first, past, next, rows)
SELECT $1, $2, $3::bigint, first, least(first + $5::bigint, $4::bigint), first, 0
FROM generate_series(0, $4::bigint - 1, $5::bigint) AS first

-- name: impatience
SELECT pg_catalog.set_config('lock_timeout', $1, false)

-- name: settings
-- A crash of the server may lose a batch, but only together with its checkpoint, so its commit need not wait for the
-- disk. The commit that records the step as applied does wait, which covers all commits before it as well.
SELECT pg_catalog.set_config('synchronous_commit', 'off', true),
       pg_catalog.set_config('lock_timeout', %(lock_timeout)s, true),
       pg_catalog.set_config('jit', 'off', true), pg_catalog.set_config('tenantry.filling', 'on', true),
       pg_catalog.set_config('tenantry.sweeping', 'on', true),
       pg_catalog.set_config('TimeZone', 'UTC', true), pg_catalog.set_config('extra_float_digits', '3', true),
       pg_catalog.set_config('lc_monetary', 'C', true)

-- name: checkpoint
-- No row if the relation was rewritten. The lock of the batch keeps that from happening now. The counters are those of
-- this session: HOT updates and all updates. Triggers of the user's have run in this transaction, and may have set the
-- search_path.
UPDATE tenantry.progress SET next = %(position)s, rows = rows OPERATOR(pg_catalog.+) %(rows)s
WHERE step OPERATOR(pg_catalog.=) %(step)s AND relation OPERATOR(pg_catalog.=) %(relation)s
  AND first OPERATOR(pg_catalog.=) %(first)s
  AND filenode::bigint OPERATOR(pg_catalog.=) pg_catalog.pg_relation_filenode(pg_catalog.to_regclass(%(table)s))::bigint
RETURNING pg_catalog.pg_stat_get_xact_tuples_hot_updated(pg_catalog.to_regclass(%(table)s)),
          pg_catalog.pg_stat_get_xact_tuples_updated(pg_catalog.to_regclass(%(table)s))

-- name: next_transaction
-- As text: it is compared with an xid, and the driver would return a number.
SELECT pg_snapshot_xmax(pg_current_snapshot())::xid::text

-- name: guards
-- Triggers and rules that can keep a row from changing without an error.
SELECT format('trigger %I', t.tgname) FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = to_regclass($1) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
  AND t.tgtype & 1 = 1 AND t.tgtype & 2 = 2 AND t.tgtype & 16 = 16 AND t.tgname NOT LIKE '~tenantry\_%'
UNION ALL
SELECT format('rule %I', r.rulename) FROM pg_catalog.pg_rewrite r
WHERE r.ev_class = to_regclass($1) AND r.ev_type = '2' AND r.is_instead AND r.ev_enabled <> 'D'
ORDER BY 1
