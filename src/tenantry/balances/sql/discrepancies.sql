-- name: over_time
-- The last days with a difference.
SELECT to_char(found_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, count(*) AS discrepancies,
       count(*) FILTER (WHERE state = 'corrected') AS corrected,
       count(*) FILTER (WHERE state = 'open') AS open, count(*) FILTER (WHERE state = 'accepted') AS accepted,
       count(*) FILTER (WHERE state = 'rejected') AS rejected, count(*) FILTER (WHERE state = 'gone') AS gone,
       sum(size) AS size
FROM tenantry.discrepancies WHERE ledger = %(ledger)s GROUP BY 1 ORDER BY 1 DESC LIMIT 20;

-- name: by_tenant
SELECT coalesce(tenant, 'without a tenant') AS tenant, count(*) AS discrepancies
FROM tenantry.discrepancies WHERE ledger = %(ledger)s GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 50;

-- name: by_size
-- By powers of ten.
WITH sized AS (
    SELECT state, size, CASE WHEN size IN (0, 'NaN', 'Infinity') THEN size ELSE power(10::numeric, floor(log(size))) END
      AS least
    FROM tenantry.discrepancies WHERE ledger = %(ledger)s
)
SELECT CASE WHEN least IN (0, 'NaN', 'Infinity') THEN least::text
            ELSE trim_scale(least) || ' to ' || trim_scale(least * 10) END AS size,
       count(*) AS discrepancies, count(*) FILTER (WHERE state = 'corrected') AS corrected,
       count(*) FILTER (WHERE state = 'open') AS open
FROM sized GROUP BY least ORDER BY least DESC LIMIT 20;

-- name: forget
-- Old reviews that were decided or corrected. Open and kept ones stay, and the point from which the next reconciliation
-- starts.
WITH old AS (
    DELETE FROM tenantry.discrepancies
    WHERE state IN ('corrected', 'accepted', 'gone')
      AND coalesce(decided_at, seen_at) < now() - make_interval(days => %(days)s) RETURNING 1
), runs AS (
    DELETE FROM tenantry.reconciliations r
    WHERE at < now() - make_interval(days => %(days)s)
      AND EXISTS (SELECT FROM tenantry.reconciliations n WHERE n.ledger = r.ledger AND n.id > r.id)
    RETURNING 1
)
SELECT (SELECT count(*) FROM old) + (SELECT count(*) FROM runs);

-- name: there
SELECT to_regclass('tenantry.discrepancies') IS NOT NULL;

-- name: count
SELECT (SELECT count(*) FROM tenantry.discrepancies) + (SELECT count(*) FROM tenantry.reconciliations);
