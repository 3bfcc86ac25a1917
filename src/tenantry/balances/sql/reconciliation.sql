-- name: context
-- Before anything is compared. `watched` changes with everything that could let a movement bypass the triggers: a
-- trigger that was disabled, dropped or created again, another function, a partition attached or detached, a table
-- rewritten, balances marked stale. A catalog row that was changed and changed back has another xmin.
WITH relations AS (
    SELECT to_regclass(%(table)s)::oid AS oid
    UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree(to_regclass(%(table)s))
    UNION SELECT to_regclass(%(storage)s)::oid
), triggers AS (
    SELECT t.oid, t.xmin, t.tgenabled, t.tgfoid
    FROM pg_catalog.pg_trigger t JOIN relations r ON r.oid = t.tgrelid
    WHERE starts_with(t.tgname::text, 'tenantry_balances_')
), facts AS (
    SELECT concat_ws(':', 'trigger', oid, xmin, tgenabled) AS fact FROM triggers
    UNION ALL
    SELECT concat_ws(':', 'function', p.oid, p.xmin) FROM pg_catalog.pg_proc p
    WHERE p.oid IN (SELECT tgfoid FROM triggers)
    UNION ALL
    SELECT concat_ws(':', 'relation', c.oid, c.relfilenode) FROM pg_catalog.pg_class c JOIN relations r USING (oid)
    UNION ALL
    SELECT concat_ws(':', 'generation', generation) FROM tenantry.ledgers WHERE ledger = %(ledger)s
)
SELECT pg_catalog.pg_current_snapshot()::text AS snapshot, pg_catalog.clock_timestamp() AS at,
       (SELECT md5(string_agg(fact, ' ' ORDER BY fact)) FROM facts) AS watched,
       (SELECT json_object_agg(c.oid::text,
                               pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::bigint)
        FROM pg_catalog.pg_class c JOIN relations r USING (oid) WHERE c.relkind = 'r') AS pages,
       (SELECT generation FROM tenantry.ledgers WHERE ledger = %(ledger)s) AS generation;

-- name: last
-- The last reconciliation that finished. `distance` counts the transactions since, `elapsed` the days since its scrub
-- began.
SELECT snapshot::text AS snapshot, at, watched, scrub_began, scrub_pages, scrubbed,
       pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint
         - pg_catalog.pg_snapshot_xmin(snapshot)::text::bigint AS distance,
       (extract(epoch FROM pg_catalog.clock_timestamp() - scrub_began) / 86400)::float AS elapsed
FROM tenantry.reconciliations WHERE ledger = %(ledger)s ORDER BY id DESC LIMIT 1;

-- name: relations
-- Those of the scrub's pages that still exist.
SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%(oids)s::oid[]) AND c.relkind = 'r';

-- name: work
-- The keys to be settled: those with a difference apart from what is kept, and those whose review or kept difference
-- may be gone.
CREATE TEMPORARY TABLE tenantry_work AS
WITH kept AS (
    SELECT key, quantity, total_in, total_out, movements, nans, infinities, negative_infinities FROM tenantry.drifts
    WHERE ledger = {ledger} AND (quantity <> 0 OR total_in <> 0 OR total_out <> 0 OR movements <> 0
      OR nans <> 0 OR infinities <> 0 OR negative_infinities <> 0)
), unsettled AS (
    SELECT d.key FROM pg_temp.tenantry_differing d
    WHERE NOT EXISTS (SELECT FROM kept k
      WHERE (k.key, k.quantity, k.total_in, k.total_out, k.movements, k.nans, k.infinities, k.negative_infinities)
          = (d.key, d.quantity, d.total_in, d.total_out, d.movements, d.nans, d.infinities, d.negative_infinities))
    UNION
    SELECT key FROM tenantry.discrepancies WHERE ledger = {ledger} AND state = 'open'
    UNION
    SELECT k.key FROM kept k WHERE NOT EXISTS (SELECT FROM pg_temp.tenantry_differing d WHERE d.key = k.key)
)
SELECT row_number() OVER () AS number, key FROM unsettled;

-- name: settled
-- The outcome for each key of a batch: its sums in one snapshot, the difference apart from what is kept, and what is to
-- be done. The sums are of finite quantities. `shown` has those that include the others. A difference of those has the
-- size NaN, which is greater than any threshold.
CREATE TEMPORARY TABLE tenantry_settled ON COMMIT DROP AS
WITH measured AS (
    SELECT s.*, w."tenantry key" AS key, coalesce(d.total, 0) AS drifted,
           s.ledger_quantity - s.balance_quantity - coalesce(d.quantity, 0) AS quantity,
           s.ledger_total_in - s.balance_total_in - coalesce(d.total_in, 0) AS total_in,
           s.ledger_total_out - s.balance_total_out - coalesce(d.total_out, 0) AS total_out,
           s.ledger_movements - s.balance_movements - coalesce(d.movements, 0) AS movements,
           s.ledger_nans - s.balance_nans - coalesce(d.nans, 0) AS nans,
           s.ledger_infinities - s.balance_infinities - coalesce(d.infinities, 0) AS infinities,
           s.ledger_negative_infinities - s.balance_negative_infinities - coalesce(d.negative_infinities, 0)
             AS negative_infinities,
           {ledger_shown} AS ledger_shown, {balance_shown} AS balance_shown
    FROM pg_temp.tenantry_sums s JOIN pg_temp.tenantry_batch w USING ("tenantry number")
    LEFT JOIN tenantry.drifts d ON d.ledger = {ledger} AND md5(d.key::text) = md5(w."tenantry key"::text)
), sized AS (
    SELECT *, CASE WHEN nans <> 0 OR infinities <> 0 OR negative_infinities <> 0 THEN 'NaN'
                   ELSE greatest(abs(quantity), abs(total_in), abs(total_out)) END AS size,
           {quantity_shown} AS quantity_shown, {total_in_shown} AS total_in_shown, {total_out_shown} AS total_out_shown
    FROM measured
), reasoned AS (
    SELECT *, CASE WHEN size >= {threshold} THEN 'threshold'
                   WHEN drifted + size > {limit} THEN 'total' END AS reason,
           ledger_quantity = balance_quantity AND ledger_total_in = balance_total_in AND ledger_total_out = balance_total_out
             AND ledger_movements = balance_movements AND ledger_nans = balance_nans
             AND ledger_infinities = balance_infinities AND ledger_negative_infinities = balance_negative_infinities AS equal
    FROM sized
)
SELECT *, CASE WHEN equal OR size = 0 AND movements = 0 THEN 'equal'
               WHEN reason IS NOT NULL OR EXISTS (
                 SELECT FROM tenantry.discrepancies o WHERE o.ledger = {ledger} AND o.state = 'open'
                   AND md5(o.key::text) = md5(reasoned.key::text)) THEN 'review'
               ELSE 'correct' END AS verdict
FROM reasoned;

-- name: corrected
INSERT INTO tenantry.discrepancies (ledger, key, tenant, run, state, reason, size, quantity, total_in, total_out,
  movements, ledger_quantity, ledger_movements, balance_quantity, balance_movements)
SELECT %(ledger)s, key, key ->> %(tenant)s, %(run)s, 'corrected', 'threshold', size, quantity, total_in, total_out,
  movements, ledger_shown, ledger_movements, balance_shown, balance_movements
FROM pg_temp.tenantry_settled WHERE verdict = 'correct';

-- name: drifted
INSERT INTO tenantry.drifts AS drift (ledger, key, total)
SELECT %(ledger)s, key, size FROM pg_temp.tenantry_settled WHERE verdict = 'correct'
ON CONFLICT (ledger, md5(key::text)) DO UPDATE SET total = drift.total + excluded.total;

-- name: reviewed
INSERT INTO tenantry.discrepancies AS known (ledger, key, tenant, run, state, reason, size, quantity, total_in,
  total_out, movements, ledger_quantity, ledger_movements, balance_quantity, balance_movements, since)
SELECT %(ledger)s, key, key ->> %(tenant)s, %(run)s, 'open', coalesce(reason, 'threshold'), size, quantity_shown,
  total_in_shown, total_out_shown, movements, ledger_shown, ledger_movements, balance_shown, balance_movements, %(since)s
FROM pg_temp.tenantry_settled WHERE verdict = 'review'
ON CONFLICT (ledger, md5(key::text)) WHERE state = 'open' DO UPDATE SET
  seen_at = pg_catalog.clock_timestamp(), size = excluded.size, quantity = excluded.quantity,
  total_in = excluded.total_in, total_out = excluded.total_out, movements = excluded.movements,
  ledger_quantity = excluded.ledger_quantity, ledger_movements = excluded.ledger_movements,
  balance_quantity = excluded.balance_quantity, balance_movements = excluded.balance_movements;

-- name: gone
UPDATE tenantry.discrepancies d SET state = 'gone', seen_at = pg_catalog.clock_timestamp()
FROM pg_temp.tenantry_settled s
WHERE d.ledger = %(ledger)s AND md5(d.key::text) = md5(s.key::text)
  AND (d.state = 'open' AND s.verdict = 'equal' OR d.state = 'rejected' AND s.equal);

-- name: unkept
-- The balance equals the ledger again: no difference is kept any more.
UPDATE tenantry.drifts d SET quantity = 0, total_in = 0, total_out = 0, movements = 0, nans = 0, infinities = 0,
  negative_infinities = 0
FROM pg_temp.tenantry_settled s WHERE d.ledger = %(ledger)s AND md5(d.key::text) = md5(s.key::text) AND s.equal;

-- name: told
-- New reviews first.
SELECT s.key, s.verdict, coalesce(s.reason, 'threshold') AS reason, s.size, s.quantity_shown AS quantity, s.movements,
       s.ledger_shown AS ledger_quantity, s.ledger_movements, s.balance_shown AS balance_quantity, s.balance_movements, s.key ->> %(tenant)s AS tenant,
       s.verdict = 'review' AND NOT EXISTS (
         SELECT FROM tenantry.discrepancies o WHERE o.ledger = %(ledger)s AND o.state = 'open'
           AND md5(o.key::text) = md5(s.key::text)) AS new
FROM pg_temp.tenantry_settled s WHERE s.verdict <> 'equal' ORDER BY s.verdict DESC, s.size DESC;

-- name: open
SELECT count(*) FROM tenantry.discrepancies WHERE ledger = %(ledger)s AND state = 'open';

-- name: done
INSERT INTO tenantry.reconciliations (ledger, run, whole, snapshot, watched, scrub_began, scrub_pages, scrubbed,
  compared, corrected, reviews)
VALUES (%(ledger)s, %(run)s, %(whole)s, %(snapshot)s::text::pg_snapshot, %(watched)s, %(began)s, %(pages)s, %(scrubbed)s,
  %(compared)s, %(corrected)s, %(reviews)s);

-- name: broken
-- The first row of tenantry's for a ledger with contents that tenantry does not write: it was changed by others.
SELECT * FROM (
    SELECT 1 AS position, 'discrepancies' AS relation, id::text AS row
    FROM tenantry.discrepancies
    WHERE ledger = %(ledger)s AND (jsonb_typeof(key) <> 'object' OR NOT key ?& %(columns)s::text[]
          OR jsonb_typeof(evidence) <> 'array' OR jsonb_path_exists(evidence, '$[*] ? (@.type() != "object")'))
  UNION ALL
    SELECT 2, 'drifts', key::text FROM tenantry.drifts
    WHERE ledger = %(ledger)s AND (jsonb_typeof(key) <> 'object' OR NOT key ?& %(columns)s::text[])
  UNION ALL
    SELECT 3, 'reconciliations', id::text FROM tenantry.reconciliations
    WHERE ledger = %(ledger)s AND (jsonb_typeof(scrub_pages) <> 'object'
          OR jsonb_path_exists(scrub_pages, '$.* ? (@.type() != "number")'))
) AS found ORDER BY position, row LIMIT 1
