-- name: strays
-- Rows of no organization, or of another than the default.
WITH organization AS (SELECT id FROM organizations WHERE slug = 'default')
SELECT (SELECT count(*) FROM users WHERE org_id IS DISTINCT FROM (SELECT id FROM organization))
     + (SELECT count(*) FROM items WHERE org_id IS DISTINCT FROM (SELECT id FROM organization))
     + (SELECT count(*) FROM lots WHERE org_id IS DISTINCT FROM (SELECT id FROM organization))
     + (SELECT count(*) FROM inventory_ledger WHERE org_id IS DISTINCT FROM (SELECT id FROM organization))
     + (SELECT count(*) FROM count_sheets WHERE org_id IS DISTINCT FROM (SELECT id FROM organization))
     + (SELECT count(*) FROM audit_logs WHERE org_id IS DISTINCT FROM (SELECT id FROM organization))
