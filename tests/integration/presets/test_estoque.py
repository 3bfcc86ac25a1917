"""Sample rows of the preset estoque: equal for equal seeds, right in their sums, faulty only on request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from servers import Database
from tenantry.presets import Fault, LoadedSample, fault_kinds, load

ROWS = 4000
TABLES = (
    "tenants", "produtos", "escolas", "usuarios", "estoque_escolas", "estoque_lotes",
    "estoque_escolas_historico", "estoque_movimentacoes", "estoque_alertas",
)  # fmt: skip

# Each symptom is sought in the whole table; a query gives the ids of the rows that show it.
ORPHAN_USERS = "SELECT id FROM usuarios WHERE escola_id IS NULL"
ORPHAN_LOTS = """
    SELECT id FROM estoque_lotes l
    WHERE NOT EXISTS (SELECT FROM estoque_movimentacoes m WHERE m.lote_id = l.id AND m.escola_id IS NOT NULL)
"""
ORPHAN_MOVEMENTS = f"SELECT id FROM estoque_movimentacoes WHERE lote_id IN ({ORPHAN_LOTS})"
CONFLICTING_LOTS = """
    SELECT m.lote_id FROM estoque_movimentacoes m JOIN escolas e ON e.id = m.escola_id
    GROUP BY m.lote_id HAVING count(DISTINCT e.tenant_id) > 1
"""
CONFLICTING_MOVEMENTS = f"SELECT id FROM estoque_movimentacoes WHERE lote_id IN ({CONFLICTING_LOTS})"
CONFLICTING_HISTORY = """
    SELECT h.id FROM estoque_escolas_historico h
    JOIN estoque_escolas s ON s.id = h.estoque_escola_id
    JOIN escolas a ON a.id = h.escola_id
    JOIN escolas b ON b.id = s.escola_id
    WHERE a.tenant_id <> b.tenant_id
"""
NEGATIVE_LOTS = "SELECT id FROM estoque_lotes WHERE quantidade_atual < 0"
NEGATIVE_STOCK = "SELECT id FROM estoque_escolas WHERE quantidade_atual < 0"
EXPIRED_LOTS = "SELECT id FROM estoque_lotes WHERE data_validade < data_fabricacao"
BROKEN_MOVEMENTS = """
    SELECT id FROM (
        SELECT m.*,
               lag(quantidade_posterior, 1, quantidade_inicial)
                   OVER (PARTITION BY lote_id ORDER BY m.id) AS due
        FROM estoque_movimentacoes m JOIN estoque_lotes l ON l.id = m.lote_id
    ) chained
    WHERE quantidade_anterior <> due
       OR quantidade_posterior
          <> quantidade_anterior + quantidade * CASE WHEN tipo IN ('saida', 'perda') THEN -1 ELSE 1 END
"""

SYMPTOMS = {
    "orphans": {
        "usuarios": ORPHAN_USERS,
        "estoque_lotes": ORPHAN_LOTS,
        "estoque_movimentacoes": ORPHAN_MOVEMENTS,
    },
    "conflicts": {
        "estoque_lotes": CONFLICTING_LOTS,
        "estoque_movimentacoes": CONFLICTING_MOVEMENTS,
        "estoque_escolas_historico": CONFLICTING_HISTORY,
    },
    "negative-stock": {"estoque_lotes": NEGATIVE_LOTS, "estoque_escolas": NEGATIVE_STOCK},
    "expired-before-made": {"estoque_lotes": EXPIRED_LOTS},
    "broken-chain": {"estoque_movimentacoes": BROKEN_MOVEMENTS},
}


def fill(database: Database, **options: Any) -> LoadedSample:
    with database.connect() as connection:
        return load(connection, **{"preset": "estoque", "rows": ROWS, **options})


def contents(database: Database) -> dict[str, list[Any]]:
    return {table: database.rows(f"SELECT * FROM {table} ORDER BY id") for table in TABLES}


def findings_of(database: Database) -> dict[tuple[str, str], set[int]]:
    """The rows that show each symptom, where there are any."""
    rows = {
        (kind, table): {key for (key,) in database.rows(query)}
        for kind, queries in SYMPTOMS.items()
        for table, query in queries.items()
    }
    return {place: keys for place, keys in rows.items() if keys}


def named(faults: tuple[Fault, ...]) -> dict[tuple[str, str], set[int]]:
    rows: dict[tuple[str, str], set[int]] = {}
    for fault in faults:
        rows.setdefault((fault.kind, fault.table), set()).add(fault.key)
    return rows


@pytest.fixture
def estoque(template: Callable[..., Database]) -> Database:
    return template("sample_estoque", lambda database: fill(database))


def test_same_seed_gives_the_same_rows(new_database: Callable[..., Database], estoque: Database) -> None:
    again, other = new_database(), new_database()
    fill(again)
    fill(other, seed=2)
    assert contents(again) == contents(estoque)
    assert contents(other)["estoque_movimentacoes"] != contents(estoque)["estoque_movimentacoes"]


def test_rows_do_not_depend_on_the_session(database: Database, estoque: Database) -> None:
    with database.connect(options="-c TimeZone=Asia/Tokyo -c DateStyle=SQL,DMY") as connection:
        load(connection, preset="estoque", rows=ROWS)
    assert contents(database) == contents(estoque)


@pytest.mark.parametrize("rows", [1, 2, 99, 1000])
def test_rows_are_movements(database: Database, rows: int) -> None:
    loaded = fill(database, rows=rows)
    assert loaded.rows["estoque_movimentacoes"] == rows
    assert dict(loaded.rows) == {table: database.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
    assert all(loaded.rows[table] for table in TABLES)
    assert findings_of(database) == {}


def test_nothing_is_faulty_unless_asked_for(estoque: Database) -> None:
    """No orphan, conflict, negative quantity, early expiry or broken chain of movements."""
    assert findings_of(estoque) == {}


def test_lots_hold_what_their_movements_leave(estoque: Database) -> None:
    wrong = estoque.rows("""
        SELECT l.id FROM estoque_lotes l JOIN estoque_movimentacoes m ON m.lote_id = l.id
        GROUP BY l.id
        HAVING l.quantidade_atual
               <> l.quantidade_inicial + sum(m.quantidade_posterior - m.quantidade_anterior)
            OR l.quantidade_atual <> (array_agg(m.quantidade_posterior ORDER BY m.id DESC))[1]
            OR bool_or(m.produto_id <> l.produto_id)
            OR l.data_fabricacao >= min(m.data_movimentacao)::date
    """)
    assert wrong == []


def test_stock_is_where_its_history_ends(estoque: Database) -> None:
    wrong = estoque.rows("""
        SELECT id FROM (
            SELECT h.*, s.quantidade_atual, s.data_ultima_atualizacao,
                   s.escola_id <> h.escola_id OR s.produto_id <> h.produto_id AS astray,
                   lag(quantidade_posterior, 1, 0) OVER (PARTITION BY s.id ORDER BY h.id) AS due,
                   lead(h.id) OVER (PARTITION BY s.id ORDER BY h.id) IS NULL AS last
            FROM estoque_escolas s LEFT JOIN estoque_escolas_historico h ON h.estoque_escola_id = s.id
        ) chained
        WHERE id IS NULL OR astray OR quantidade_anterior <> due
           OR last AND quantidade_posterior <> quantidade_atual
           OR last AND data_movimentacao <> data_ultima_atualizacao
    """)
    assert wrong == []


def test_time_follows_the_ids(estoque: Database) -> None:
    for table in ("estoque_movimentacoes", "estoque_escolas_historico"):
        late = f"SELECT id, data_movimentacao < lag(data_movimentacao) OVER (ORDER BY id) AS back FROM {table}"
        assert estoque.rows(f"SELECT id FROM ({late}) ordered WHERE back") == []


def test_users_act_in_their_own_tenant(estoque: Database) -> None:
    """A third path, over the user, agrees with the others."""
    wrong = estoque.rows("""
        SELECT m.id FROM estoque_movimentacoes m
        JOIN (
            SELECT DISTINCT m.lote_id, e.tenant_id
            FROM estoque_movimentacoes m JOIN escolas e ON e.id = m.escola_id
        ) l ON l.lote_id = m.lote_id
        JOIN usuarios u ON u.id = m.usuario_id
        JOIN escolas e ON e.id = u.escola_id
        WHERE e.tenant_id <> l.tenant_id
        UNION ALL
        SELECT h.id FROM estoque_escolas_historico h
        JOIN usuarios u ON u.id = h.usuario_id
        WHERE u.escola_id <> h.escola_id
        UNION ALL
        SELECT s.id FROM estoque_escolas s
        JOIN usuarios u ON u.id = s.usuario_ultima_atualizacao
        WHERE u.escola_id <> s.escola_id
    """)
    assert wrong == []


def test_owners_are_told_in_all_ways(estoque: Database) -> None:
    """Some movements have no school, some alerts no lot, and lots of many tenants lie side by side."""
    ((centrally, notices, about_lots),) = estoque.rows("""
        SELECT (SELECT avg((escola_id IS NULL)::int) FROM estoque_movimentacoes),
               (SELECT count(*) FROM estoque_alertas WHERE lote_id IS NULL),
               (SELECT count(*) FROM estoque_alertas WHERE lote_id IS NOT NULL)
    """)
    assert 0.10 < centrally < 0.20
    assert notices > 0
    assert about_lots > 0


def test_a_few_tenants_are_large_and_many_are_small(estoque: Database) -> None:
    shares = [
        share
        for (share,) in estoque.rows("""
            SELECT count(m.id) / sum(count(m.id)) OVER ()
            FROM tenants t
            LEFT JOIN escolas e ON e.tenant_id = t.id
            LEFT JOIN estoque_movimentacoes m ON m.escola_id = e.id
            GROUP BY t.id ORDER BY 1 DESC
        """)
    ]
    assert len(shares) == 30
    assert 0.12 < shares[0] < 0.5
    assert sum(shares[:5]) > 0.35
    assert shares[15] < 0.04


@pytest.mark.parametrize("kind", [*SYMPTOMS, "all"])
def test_faults_are_planted_and_nothing_else(database: Database, estoque: Database, kind: str) -> None:
    loaded = fill(database, faults=[kind])
    assert findings_of(database) == named(loaded.faults)
    assert {fault.kind for fault in loaded.faults} == (set(SYMPTOMS) if kind == "all" else {kind})
    before, after = contents(estoque), contents(database)
    assert all(after[table][: len(rows)] == rows for table, rows in before.items())


def test_faults_are_three_rows_of_each_kind(database: Database) -> None:
    counts = {place: len(keys) for place, keys in named(fill(database, rows=1, faults="all").faults).items()}
    assert counts == {
        ("orphans", "usuarios"): 3,
        ("orphans", "estoque_lotes"): 3,
        ("orphans", "estoque_movimentacoes"): 6,
        ("conflicts", "estoque_lotes"): 3,
        ("conflicts", "estoque_movimentacoes"): 6,
        ("conflicts", "estoque_escolas_historico"): 3,
        ("negative-stock", "estoque_lotes"): 3,
        ("negative-stock", "estoque_escolas"): 3,
        ("expired-before-made", "estoque_lotes"): 3,
        ("broken-chain", "estoque_movimentacoes"): 6,
    }
    assert set(fault_kinds("estoque")) == set(SYMPTOMS)


def test_the_application_can_go_on(database: Database) -> None:
    """Sequences stand behind the last row, planted ones included."""
    fill(database, rows=50, faults="all")
    database.execute("""
        INSERT INTO escolas (nome, municipio, tenant_id)
            SELECT 'Escola nova', 'Nova Esperança do Vale', id FROM tenants LIMIT 1;
        INSERT INTO usuarios (nome, email, tipo) VALUES ('Ana', 'ana@example', 'diretora');
        INSERT INTO produtos (nome, categoria) VALUES ('Pão', 'padaria');
        INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
            VALUES (1, 'novo', 1, 1, '2026-01-01');
        INSERT INTO estoque_escolas (escola_id, produto_id)
            SELECT max(e.id), 1 FROM escolas e;
        INSERT INTO estoque_movimentacoes
                (lote_id, produto_id, tipo, quantidade, quantidade_anterior, quantidade_posterior)
            VALUES (1, 1, 'entrada', 1, 0, 1);
        INSERT INTO estoque_alertas (produto_id, tipo, titulo) VALUES (1, 'catalogo', 'Aviso');
        INSERT INTO estoque_escolas_historico (estoque_escola_id, escola_id, produto_id, tipo_movimentacao,
                quantidade_anterior, quantidade_movimentada, quantidade_posterior)
            VALUES (1, 1, 1, 'entrada', 0, 1, 1);
    """)
