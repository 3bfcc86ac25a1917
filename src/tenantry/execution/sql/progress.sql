-- name: progress
SELECT step, relation, sum(next - first), sum(past - first) FROM tenantry.progress GROUP BY step, relation

-- name: validated
-- What has changed anything since, or found anything, even in one table, takes the word back.
SELECT run.command = 'validate' AND run.exit_status = 0
FROM tenantry.runs AS run
WHERE run.command IN ('migrate', 'rollback') AND EXISTS (SELECT FROM tenantry.events AS event WHERE event.run = run.id)
   OR run.command = 'fixes undo'
   OR run.command = 'validate' AND (run.exit_status = 1 OR run.exit_status = 0 AND NOT run.partial)
ORDER BY run.started_at DESC LIMIT 1;
