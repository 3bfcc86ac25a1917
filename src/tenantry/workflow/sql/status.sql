-- name: progress
SELECT step, relation, sum(next - first), sum(past - first) FROM tenantry.progress GROUP BY step, relation
