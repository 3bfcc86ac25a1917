-- name: progress
SELECT step, relation, sum(next - first), sum(past - first) FROM tenantry.progress GROUP BY step, relation

-- name: validated
-- The exit status of the last validate. None if something was changed since. One with findings counts even if it was
-- restricted to one table.
SELECT CASE WHEN run.command = 'validate' THEN run.exit_status END
FROM tenantry.runs AS run
WHERE run.command IN ('migrate', 'rollback') AND EXISTS (SELECT FROM tenantry.events AS event WHERE event.run = run.id)
   OR run.command = 'fixes undo'
   OR run.command = 'validate' AND (run.exit_status = 1 OR run.exit_status = 0 AND NOT run.partial)
ORDER BY run.started_at DESC LIMIT 1;
