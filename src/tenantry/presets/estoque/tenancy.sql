-- name: strays
-- Rows whose tenant is not that of their school, or of their lot where they have none.
SELECT (SELECT count(*) FROM usuarios u JOIN escolas e ON e.id = u.escola_id WHERE u.tenant_id IS DISTINCT FROM e.tenant_id)
     + (SELECT count(*) FROM estoque_escolas s JOIN escolas e ON e.id = s.escola_id WHERE s.tenant_id IS DISTINCT FROM e.tenant_id)
     + (SELECT count(*) FROM estoque_escolas_historico h JOIN escolas e ON e.id = h.escola_id
        WHERE h.tenant_id IS DISTINCT FROM e.tenant_id)
     + (SELECT count(*) FROM estoque_movimentacoes m JOIN escolas e ON e.id = m.escola_id
        WHERE m.tenant_id IS DISTINCT FROM e.tenant_id)
     + (SELECT count(*) FROM estoque_movimentacoes m JOIN estoque_lotes l ON l.id = m.lote_id
        WHERE m.tenant_id IS DISTINCT FROM l.tenant_id)
     + (SELECT count(*) FROM estoque_alertas a JOIN estoque_lotes l ON l.id = a.lote_id WHERE a.tenant_id IS DISTINCT FROM l.tenant_id)
