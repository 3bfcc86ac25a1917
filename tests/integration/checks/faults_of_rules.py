"""Faults against the rules of the presets, each before the migration unless it is about tenants."""

from __future__ import annotations

from collections.abc import Mapping

from checks.faults import Fault, Found, fault
from checks.presets import spec_of

LOTS = "public.estoque_lotes"


def rule(
    preset: str, statements: str, name: str, count: int, *, inherent: Mapping[Found, str] | None = None, state: str = ""
) -> Fault:
    """Against a rule of the preset, on its table."""
    (of,) = (one for one in spec_of(preset).rule if one.name == name)
    own = (name, f"public.{of.table}", count)
    return fault(f"rules {preset}{state}", statements, own, inherent=inherent or {})


FAULTS: Mapping[str, Fault] = {
    "estoque: lot-negative": rule(
        "estoque",
        """ALTER TABLE estoque_lotes DROP CONSTRAINT estoque_lotes_quantidade_inicial_check;
        INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
        VALUES (1, 'N1', -1, -1, '2099-01-01'), (1, 'N2', -2, -2, '2099-01-01')""",
        "lot-negative",
        2,
        inherent={("orphans", LOTS, 2): "no movement has ever moved the lot, so nobody owns it"},
    ),
    "estoque: lot-above-initial": rule(
        "estoque",
        """INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
        VALUES (1, 'A1', 10, 10.5, '2099-01-01')""",
        "lot-above-initial",
        1,
        inherent={
            ("lot-sum", LOTS, 1): "what is above all that came in cannot add up either",
            ("orphans", LOTS, 1): "no movement has ever moved the lot, so nobody owns it",
        },
    ),
    "estoque: lot-sum": rule(
        "estoque",
        """INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
        VALUES (1, 'S1', 10, 7, '2099-01-01')""",
        "lot-sum",
        1,
        inherent={("orphans", LOTS, 1): "no movement has ever moved the lot, so nobody owns it"},
    ),
    "estoque: lot-expired-before-made": rule(
        "estoque",
        """INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, status, data_fabricacao,
        data_validade) VALUES (1, 'E1', 0, 0, 'vencido', '2025-06-02', '2025-06-01')""",
        "lot-expired-before-made",
        1,
        inherent={("orphans", LOTS, 1): "no movement has ever moved the lot, so nobody owns it"},
    ),
    "estoque: lot-expired-but-active": rule(
        "estoque",
        "UPDATE estoque_lotes SET status = 'ativo' WHERE id IN (SELECT id FROM estoque_lotes"
        " WHERE status = 'vencido' ORDER BY id LIMIT 4)",
        "lot-expired-but-active",
        4,
    ),
    "estoque: stock-negative": rule(
        "estoque",
        """INSERT INTO estoque_escolas (escola_id, produto_id, quantidade_atual)
        SELECT 1, max(id), -1 FROM produtos""",
        "stock-negative",
        1,
    ),
    "estoque: stock-minimum-above-maximum": rule(
        "estoque",
        """ALTER TABLE estoque_escolas DROP CONSTRAINT estoque_escolas_check;
        UPDATE estoque_escolas SET quantidade_minima = 900 WHERE id <= 2""",
        "stock-minimum-above-maximum",
        2,
    ),
    "estoque: stock-not-its-last-history": rule(
        "estoque",
        "UPDATE estoque_escolas SET quantidade_atual = quantidade_atual + 1 WHERE id <= 3",
        "stock-not-its-last-history",
        3,
    ),
    "estoque: history-arithmetic": rule(
        "estoque",
        "UPDATE estoque_escolas_historico SET quantidade_movimentada = quantidade_movimentada + 1 WHERE id = 1",
        "history-arithmetic",
        1,
    ),
    "estoque: history-in-the-future": rule(
        "estoque",
        """UPDATE estoque_escolas_historico SET data_movimentacao = now() + interval '2 days'
        WHERE id = (SELECT max(id) FROM estoque_escolas_historico)""",
        "history-in-the-future",
        1,
    ),
    "estoque: movement-kind": rule(
        "estoque",
        """ALTER TABLE estoque_movimentacoes DROP CONSTRAINT estoque_movimentacoes_tipo_check,
          DROP CONSTRAINT estoque_movimentacoes_check;
        UPDATE estoque_movimentacoes SET tipo = 'troca' WHERE id = (SELECT min(m.id) FROM estoque_movimentacoes m
          JOIN estoque_lotes l ON l.id = m.lote_id WHERE m.tipo = 'entrada' AND l.quantidade_atual < l.quantidade_inicial)""",
        "movement-kind",
        1,
    ),
    "estoque: movement-arithmetic": rule(
        "estoque",
        """WITH one AS (SELECT min(m.id) AS id, min(l.id) AS lot FROM estoque_movimentacoes m JOIN estoque_lotes l
            ON l.id = m.lote_id WHERE m.tipo = 'saida' AND l.quantidade_atual >= 1 GROUP BY l.id LIMIT 1),
          more AS (UPDATE estoque_movimentacoes m SET quantidade = quantidade + 1 FROM one WHERE m.id = one.id)
        UPDATE estoque_lotes l SET quantidade_atual = quantidade_atual - 1 FROM one WHERE l.id = one.lot""",
        "movement-arithmetic",
        1,
    ),
    "estoque: movement-chain": rule(
        "estoque",
        """UPDATE estoque_movimentacoes SET quantidade_anterior = quantidade_anterior + 1,
          quantidade_posterior = quantidade_posterior + 1 WHERE id = (SELECT max(id) FROM estoque_movimentacoes)""",
        "movement-chain",
        1,
    ),
    "estoque: movement-in-the-future": rule(
        "estoque",
        """UPDATE estoque_movimentacoes SET data_movimentacao = now() + interval '2 days'
        WHERE id = (SELECT max(id) FROM estoque_movimentacoes)""",
        "movement-in-the-future",
        1,
    ),
    "estoque: movement-before-its-lot": rule(
        "estoque",
        """WITH lot AS (INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual,
          data_fabricacao, data_validade) VALUES (1, 'B1', 10, 6, '2025-06-20', '2099-01-01') RETURNING id)
        INSERT INTO estoque_movimentacoes (lote_id, produto_id, tipo, quantidade, quantidade_anterior,
          quantidade_posterior, escola_id, data_movimentacao) SELECT id, 1, 'saida', 4, 10, 6, 1, '2025-06-10' FROM lot""",
        "movement-before-its-lot",
        1,
    ),
    "estoque: movement-of-two-tenants": rule(
        "estoque",
        """UPDATE estoque_movimentacoes m SET usuario_id = (SELECT u.id FROM usuarios u JOIN escolas e ON e.id = u.escola_id
          WHERE e.tenant_id <> (SELECT e.tenant_id FROM escolas e WHERE e.id = m.escola_id) ORDER BY u.id LIMIT 1)
        WHERE m.id IN (SELECT id FROM estoque_movimentacoes WHERE escola_id IS NOT NULL ORDER BY id LIMIT 2)""",
        "movement-of-two-tenants",
        2,
        inherent={("conflicts", "public.estoque_movimentacoes", 2): "its school and its user lead to two tenants"},
    ),
    "estoque: alert-without-lot": rule(
        "estoque",
        """SET session_replication_role = replica; UPDATE estoque_alertas SET lote_id = 999999
        WHERE id = (SELECT max(id) FROM estoque_alertas)""",
        "alert-without-lot",
        1,
        inherent={
            ("dangling-reference", "public.estoque_alertas", 1): "the foreign key was got around",
            ("orphans", "public.estoque_alertas", 3): "nothing but its lot said whose it was; two were so before",
        },
    ),
    "estoque: alert-of-exhausted-lot": rule(
        "estoque",
        """UPDATE estoque_alertas SET resolvido = false WHERE id = (SELECT max(id) FROM estoque_alertas);
        UPDATE estoque_lotes SET status = 'esgotado'
        WHERE id = (SELECT lote_id FROM estoque_alertas ORDER BY id DESC LIMIT 1)""",
        "alert-of-exhausted-lot",
        1,
    ),
    "estoque: lot-twice": rule(
        "estoque",
        """INSERT INTO estoque_lotes (tenant_id, produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
        SELECT t.id, 1, x.lote, 1, 1, date '2099-01-01'
        FROM (SELECT id FROM tenants ORDER BY slug LIMIT 1) t, (VALUES ('Same'), (' same')) x (lote)""",
        "lot-twice",
        2,
        state=" migrated",
    ),
    "enterprise: stock-negative": rule(
        "enterprise",
        """WITH lot AS (INSERT INTO lots (item_id, lot_code) VALUES (1, 'N1') RETURNING id)
        INSERT INTO inventory_ledger (item_id, location_id, lot_id, movement_type, quantity, created_at)
        SELECT 1, 1, id, 'issue', -4, '2025-06-01' FROM lot""",
        "stock-negative",
        1,
    ),
    "enterprise: movement-sign": rule(
        "enterprise",
        """WITH lot AS (INSERT INTO lots (item_id, lot_code) VALUES (1, 'N1') RETURNING id)
        INSERT INTO inventory_ledger (item_id, location_id, lot_id, movement_type, quantity, created_at)
        SELECT 1, 1, id, kind, 4, '2025-06-01' FROM lot, (VALUES ('waste'), ('issue'), ('receipt')) AS k (kind)""",
        "movement-sign",
        2,
    ),
    "enterprise: movement-in-the-future": rule(
        "enterprise",
        "UPDATE inventory_ledger SET created_at = now() + interval '1 day' WHERE id IN (1, 2)",
        "movement-in-the-future",
        2,
    ),
    "enterprise: movement-not-of-its-lot": rule(
        "enterprise",
        """WITH lot AS (INSERT INTO lots (item_id, lot_code) VALUES (1, 'N1') RETURNING id)
        INSERT INTO inventory_ledger (item_id, location_id, lot_id, movement_type, quantity, created_at)
        SELECT 2, 1, id, 'receipt', 4, '2025-06-01' FROM lot""",
        "movement-not-of-its-lot",
        1,
    ),
    "enterprise: lot-expired-before-made": rule(
        "enterprise",
        """INSERT INTO lots (item_id, lot_code, manufactured_on, expires_on)
        VALUES (1, 'E1', '2025-06-02', '2025-06-01')""",
        "lot-expired-before-made",
        1,
    ),
    "enterprise: count-in-the-future": rule(
        "enterprise", "UPDATE count_sheets SET counted_on = current_date + 3 WHERE id = 1", "count-in-the-future", 1
    ),
    "enterprise: a circle": fault(
        "rules enterprise",
        "UPDATE locations SET parent_id = 2 WHERE id = 2",
        ("reference-cycle", "public.locations", 1),
    ),
    "enterprise: lot-twice": rule(
        "enterprise",
        """INSERT INTO lots (org_id, item_id, lot_code) SELECT i.org_id, i.id, x.code
        FROM (SELECT org_id, id FROM items ORDER BY id LIMIT 1) i, (VALUES ('Same'), (' same')) x (code)""",
        "lot-twice",
        2,
        state=" migrated",
    ),
}
