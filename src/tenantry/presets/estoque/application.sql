-- What an application does that knows no tenants. Statements `name.1`, `name.2`, … are one transaction.
-- %(pick)s and %(other)s are random numbers from 0 to 1, %(name)s is a text that nobody else uses.

-- name: take_out.1
INSERT INTO estoque_movimentacoes (lote_id, produto_id, tipo, quantidade, quantidade_anterior, quantidade_posterior,
                                   motivo, usuario_id, escola_id)
SELECT m.lote_id, m.produto_id, 'saida', 1, m.quantidade_posterior, m.quantidade_posterior - 1, %(name)s, m.usuario_id, m.escola_id
FROM estoque_movimentacoes m
WHERE m.id >= %(pick)s * (SELECT max(id) FROM estoque_movimentacoes) ORDER BY m.id LIMIT 1

-- name: count_stock.1
UPDATE estoque_escolas SET quantidade_atual = quantidade_atual + 1
WHERE id = (SELECT id FROM estoque_escolas WHERE id >= %(pick)s * (SELECT max(id) FROM estoque_escolas) ORDER BY id LIMIT 1)

-- name: receive_lot.1
-- The lot comes before the movement that tells whose it is.
INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
SELECT id, %(name)s, 10, 10, CURRENT_DATE + 90 FROM produtos
WHERE id >= %(pick)s * (SELECT max(id) FROM produtos) ORDER BY id LIMIT 1

-- name: receive_lot.2
INSERT INTO estoque_movimentacoes (lote_id, produto_id, tipo, quantidade, quantidade_anterior, quantidade_posterior, escola_id)
SELECT l.id, l.produto_id, 'entrada', 10, 0, 10, e.id FROM estoque_lotes l, escolas e
WHERE l.id = currval('estoque_lotes_id_seq') AND e.id >= %(other)s * (SELECT max(id) FROM escolas) ORDER BY e.id LIMIT 1

-- name: hire.1
INSERT INTO usuarios (nome, email, tipo, escola_id)
SELECT 'Demonstração', %(name)s || '@demo.example', 'merendeira', id FROM escolas
WHERE id >= %(pick)s * (SELECT max(id) FROM escolas) ORDER BY id LIMIT 1

-- name: move_person.1
-- To a school that may be of another municipality: the row changes its tenant.
UPDATE usuarios SET escola_id =
  (SELECT id FROM escolas WHERE id >= %(pick)s * (SELECT max(id) FROM escolas) ORDER BY id LIMIT 1)
WHERE id = (SELECT max(id) FROM usuarios WHERE email LIKE '%%@demo.example')

-- name: warn.1
INSERT INTO estoque_alertas (produto_id, lote_id, tipo, titulo)
SELECT produto_id, id, 'demo', %(name)s FROM estoque_lotes
WHERE id >= %(pick)s * (SELECT max(id) FROM estoque_lotes) ORDER BY id LIMIT 1

-- name: settle.1
DELETE FROM estoque_alertas WHERE id = (SELECT min(id) FROM estoque_alertas WHERE tipo = 'demo')

-- name: look.1
SELECT escola, sum(quantidade_atual) FROM vw_estoque_disponivel GROUP BY escola ORDER BY 2 DESC LIMIT 5
