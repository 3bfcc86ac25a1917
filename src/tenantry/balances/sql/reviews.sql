-- name: list
SELECT id, ledger, key, tenant, run, found_at, seen_at, state, reason, size, quantity, total_in, total_out, movements,
       ledger_quantity, ledger_movements, balance_quantity, balance_movements, since, recent, evidence, decided_at,
       decided_by, note
FROM tenantry.discrepancies
WHERE (state = 'open' OR %(all)s) AND state <> 'corrected' AND ledger = ANY (%(ledgers)s)
  AND (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
ORDER BY state <> 'open', id DESC;

-- name: decide
-- The second of two decisions finds the first.
SELECT state, key, quantity, total_in, total_out, movements, decided_by, decided_at
FROM tenantry.discrepancies WHERE id = %(id)s FOR UPDATE;

-- name: decided
UPDATE tenantry.discrepancies SET state = %(state)s, decided_at = pg_catalog.clock_timestamp(),
  decided_by = %(by)s || ' (' || session_user || ')', note = %(note)s
WHERE id = %(id)s;

-- name: measured
SELECT s.equal, s.quantity_shown AS quantity, s.movements, s.ledger_shown AS ledger_quantity,
       s.balance_shown AS balance_quantity,
       (s.quantity_shown, s.total_in_shown, s.total_out_shown, s.movements)
         IS NOT DISTINCT FROM (d.quantity, d.total_in, d.total_out, d.movements) AS same
FROM pg_temp.tenantry_settled s, tenantry.discrepancies d WHERE d.id = %(id)s;

-- name: superseded
UPDATE tenantry.discrepancies d SET state = 'gone' FROM tenantry.discrepancies n
WHERE n.id = %(id)s AND d.id <> n.id AND d.state = 'rejected' AND d.ledger = n.ledger
  AND md5(d.key::text) = md5(n.key::text);

-- name: forgiven
-- A person has decided: the total of corrections without a decision starts again from zero.
INSERT INTO tenantry.drifts (ledger, key, quantity, total_in, total_out, movements, nans, infinities,
  negative_infinities)
SELECT n.ledger, n.key, k.quantity, k.total_in, k.total_out, k.movements, k.nans, k.infinities, k.negative_infinities
FROM tenantry.discrepancies n, pg_temp.tenantry_settled s, LATERAL (
  SELECT s.ledger_quantity - s.balance_quantity, s.ledger_total_in - s.balance_total_in, s.ledger_total_out - s.balance_total_out,
         s.ledger_movements - s.balance_movements, s.ledger_nans - s.balance_nans,
         s.ledger_infinities - s.balance_infinities, s.ledger_negative_infinities - s.balance_negative_infinities
  WHERE %(keep)s
  UNION ALL SELECT 0, 0, 0, 0, 0, 0, 0 WHERE NOT %(keep)s
) AS k (quantity, total_in, total_out, movements, nans, infinities, negative_infinities) WHERE n.id = %(id)s
ON CONFLICT (ledger, md5(key::text)) DO UPDATE SET total = 0, quantity = excluded.quantity,
  total_in = excluded.total_in, total_out = excluded.total_out, movements = excluded.movements, nans = excluded.nans,
  infinities = excluded.infinities, negative_infinities = excluded.negative_infinities;
