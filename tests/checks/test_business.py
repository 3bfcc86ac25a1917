"""Business rules: the presets keep to theirs; each fault is found, counted and shown, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from servers import Database
from tenantry.model.backup import BackupKind
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path
from tenantry.workflow import InspectionOptions, MigrateOptions, migrate
from tenantry.workflow.verify import verify

ROWS = 600


def spec_of(preset: str, rules: str | None = None) -> Spec:
    """A preset's spec under a role of its own; `rules` in place of its rules."""
    text = spec_path(preset).read_text().replace("tenantry_app", f"rules_{preset}_app")
    if rules is not None:
        text = text[: text.index("[[rule]]")] + rules
    return Spec.parse(text)


def loaded(preset: str) -> Callable[[Database], None]:
    def build(database: Database) -> None:
        with database.connect() as connection:
            load(connection, preset=preset, rows=ROWS, seed=1)

    return build


def migrated(preset: str) -> Callable[[Database], None]:
    def build(database: Database) -> None:
        loaded(preset)(database)
        migrate(Target(database.dsn), spec_of(preset), MigrateOptions(force=True, workers=1, backup=BackupKind.NONE))

    return build


def serious(verdict: Verdict) -> dict[str, int | None]:
    """What was found, by check, with the number of rows."""
    return {finding.name: finding.count for finding in verdict.findings if finding.severity is not Severity.INFO}


def rule(verdict: Verdict, name: str) -> Finding:
    (found,) = (finding for finding in verdict.findings if finding.name == name)
    return found


# A lot that no movement has ever moved has no owner, either: an orphan.
FAULTS: dict[str, tuple[str, dict[str, int]]] = {
    "lot-negative": (
        """ALTER TABLE estoque_lotes DROP CONSTRAINT estoque_lotes_quantidade_inicial_check;
        INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
        VALUES (1, 'N1', -1, -1, '2099-01-01'), (1, 'N2', -2, -2, '2099-01-01')""",
        {"lot-negative": 2, "orphans": 2},
    ),
    # What is above all that came in cannot add up either.
    "lot-above-initial": (
        """INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
        VALUES (1, 'A1', 10, 10.5, '2099-01-01')""",
        {"lot-above-initial": 1, "lot-sum": 1, "orphans": 1},
    ),
    "lot-sum": (
        """INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
        VALUES (1, 'S1', 10, 7, '2099-01-01')""",
        {"lot-sum": 1, "orphans": 1},
    ),
    "lot-expired-before-made": (
        """INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual, status, data_fabricacao,
        data_validade) VALUES (1, 'E1', 0, 0, 'vencido', '2025-06-02', '2025-06-01')""",
        {"lot-expired-before-made": 1, "orphans": 1},
    ),
    "lot-expired-but-active": (
        "UPDATE estoque_lotes SET status = 'ativo' WHERE id IN (SELECT id FROM estoque_lotes"
        " WHERE status = 'vencido' ORDER BY id LIMIT 4)",
        {"lot-expired-but-active": 4},
    ),
    "stock-negative": (
        """INSERT INTO estoque_escolas (escola_id, produto_id, quantidade_atual)
        SELECT 1, max(id), -1 FROM produtos""",
        {"stock-negative": 1},
    ),
    "stock-minimum-above-maximum": (
        """ALTER TABLE estoque_escolas DROP CONSTRAINT estoque_escolas_check;
        UPDATE estoque_escolas SET quantidade_minima = 900 WHERE id <= 2""",
        {"stock-minimum-above-maximum": 2},
    ),
    "stock-not-its-last-history": (
        "UPDATE estoque_escolas SET quantidade_atual = quantidade_atual + 1 WHERE id <= 3",
        {"stock-not-its-last-history": 3},
    ),
    "history-arithmetic": (
        "UPDATE estoque_escolas_historico SET quantidade_movimentada = quantidade_movimentada + 1 WHERE id = 1",
        {"history-arithmetic": 1},
    ),
    "history-in-the-future": (
        """UPDATE estoque_escolas_historico SET data_movimentacao = now() + interval '2 days'
        WHERE id = (SELECT max(id) FROM estoque_escolas_historico)""",
        {"history-in-the-future": 1},
    ),
    "movement-kind": (
        """ALTER TABLE estoque_movimentacoes DROP CONSTRAINT estoque_movimentacoes_tipo_check,
          DROP CONSTRAINT estoque_movimentacoes_check;
        UPDATE estoque_movimentacoes SET tipo = 'troca' WHERE id = (SELECT min(m.id) FROM estoque_movimentacoes m
          JOIN estoque_lotes l ON l.id = m.lote_id WHERE m.tipo = 'entrada' AND l.quantidade_atual < l.quantidade_inicial)""",
        {"movement-kind": 1},
    ),
    "movement-arithmetic": (
        """WITH one AS (SELECT min(m.id) AS id, min(l.id) AS lot FROM estoque_movimentacoes m JOIN estoque_lotes l
            ON l.id = m.lote_id WHERE m.tipo = 'saida' AND l.quantidade_atual >= 1 GROUP BY l.id LIMIT 1),
          more AS (UPDATE estoque_movimentacoes m SET quantidade = quantidade + 1 FROM one WHERE m.id = one.id)
        UPDATE estoque_lotes l SET quantidade_atual = quantidade_atual - 1 FROM one WHERE l.id = one.lot""",
        {"movement-arithmetic": 1},
    ),
    "movement-chain": (
        """UPDATE estoque_movimentacoes SET quantidade_anterior = quantidade_anterior + 1,
          quantidade_posterior = quantidade_posterior + 1 WHERE id = (SELECT max(id) FROM estoque_movimentacoes)""",
        {"movement-chain": 1},
    ),
    "movement-in-the-future": (
        """UPDATE estoque_movimentacoes SET data_movimentacao = now() + interval '2 days'
        WHERE id = (SELECT max(id) FROM estoque_movimentacoes)""",
        {"movement-in-the-future": 1},
    ),
    "movement-before-its-lot": (
        """WITH lot AS (INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial, quantidade_atual,
          data_fabricacao, data_validade) VALUES (1, 'B1', 10, 6, '2025-06-20', '2099-01-01') RETURNING id)
        INSERT INTO estoque_movimentacoes (lote_id, produto_id, tipo, quantidade, quantidade_anterior,
          quantidade_posterior, escola_id, data_movimentacao) SELECT id, 1, 'saida', 4, 10, 6, 1, '2025-06-10' FROM lot""",
        {"movement-before-its-lot": 1},
    ),
    "movement-of-two-tenants": (
        """UPDATE estoque_movimentacoes m SET usuario_id = (SELECT u.id FROM usuarios u JOIN escolas e ON e.id = u.escola_id
          WHERE e.tenant_id <> (SELECT e.tenant_id FROM escolas e WHERE e.id = m.escola_id) ORDER BY u.id LIMIT 1)
        WHERE m.id IN (SELECT id FROM estoque_movimentacoes WHERE escola_id IS NOT NULL ORDER BY id LIMIT 2)""",
        {"movement-of-two-tenants": 2, "conflicts": 2},
    ),
    # The foreign key that was got around is a matter of the references.
    "alert-without-lot": (
        """SET session_replication_role = replica; UPDATE estoque_alertas SET lote_id = 999999
        WHERE id = (SELECT max(id) FROM estoque_alertas)""",
        {"alert-without-lot": 1, "dangling-reference": 1},
    ),
    "alert-of-exhausted-lot": (
        """UPDATE estoque_alertas SET resolvido = false WHERE id = (SELECT max(id) FROM estoque_alertas);
        UPDATE estoque_lotes SET status = 'esgotado'
        WHERE id = (SELECT lote_id FROM estoque_alertas ORDER BY id DESC LIMIT 1)""",
        {"alert-of-exhausted-lot": 1},
    ),
}

ENTERPRISE_FAULTS: dict[str, tuple[str, dict[str, int]]] = {
    "stock-negative": (
        """WITH lot AS (INSERT INTO lots (item_id, lot_code) VALUES (1, 'N1') RETURNING id)
        INSERT INTO inventory_ledger (item_id, location_id, lot_id, movement_type, quantity, created_at)
        SELECT 1, 1, id, 'issue', -4, '2025-06-01' FROM lot""",
        {"stock-negative": 1},
    ),
    "movement-sign": (
        """WITH lot AS (INSERT INTO lots (item_id, lot_code) VALUES (1, 'N1') RETURNING id)
        INSERT INTO inventory_ledger (item_id, location_id, lot_id, movement_type, quantity, created_at)
        SELECT 1, 1, id, kind, 4, '2025-06-01' FROM lot, (VALUES ('waste'), ('issue'), ('receipt')) AS k (kind)""",
        {"movement-sign": 2},
    ),
    "movement-in-the-future": (
        "UPDATE inventory_ledger SET created_at = now() + interval '1 day' WHERE id IN (1, 2)",
        {"movement-in-the-future": 2},
    ),
    "movement-not-of-its-lot": (
        """WITH lot AS (INSERT INTO lots (item_id, lot_code) VALUES (1, 'N1') RETURNING id)
        INSERT INTO inventory_ledger (item_id, location_id, lot_id, movement_type, quantity, created_at)
        SELECT 2, 1, id, 'receipt', 4, '2025-06-01' FROM lot""",
        {"movement-not-of-its-lot": 1},
    ),
    "lot-expired-before-made": (
        """INSERT INTO lots (item_id, lot_code, manufactured_on, expires_on)
        VALUES (1, 'E1', '2025-06-02', '2025-06-01')""",
        {"lot-expired-before-made": 1},
    ),
    "count-in-the-future": (
        "UPDATE count_sheets SET counted_on = current_date + 3 WHERE id = 1",
        {"count-in-the-future": 1},
    ),
    "circle": ("UPDATE locations SET parent_id = 2 WHERE id = 2", {"reference-cycle": 1}),
}


def test_every_rule_has_its_fault() -> None:
    """A rule of a preset that nobody has seen fail does not come in."""
    for preset, faults in (("estoque", FAULTS), ("enterprise", ENTERPRISE_FAULTS)):
        assert {rule.name for rule in spec_of(preset).rule} <= {*faults, "lot-twice"}


@pytest.mark.parametrize("preset", ["estoque", "enterprise"])
def test_presets_keep_to_their_rules(template: Callable[..., Database], preset: str) -> None:
    """Before the migration nothing is found; a rule that needs tenants says that it was not asked. After it all are."""
    before = verify(Target(template(f"rules {preset}", loaded(preset)).dsn), spec_of(preset))
    assert serious(before) == {}
    assert rule(before, "lot-twice").message.startswith("The rule lot-twice was not asked")
    (family,) = (one for one in before.families if one.family is Family.BUSINESS)
    assert family.checks == len(spec_of(preset).rule) - 1
    after = verify(Target(template(f"rules {preset} migrated", migrated(preset)).dsn), spec_of(preset))
    assert serious(after) == {}
    assert not [finding for finding in after.findings if finding.name == "lot-twice"]


@pytest.mark.parametrize("name", FAULTS)
def test_estoque_fault(template: Callable[..., Database], name: str) -> None:
    """Each fault is found with its count and its rows, and no other rule reports."""
    statements, expected = FAULTS[name]
    database = template("rules estoque", loaded("estoque"))
    database.load(statements)
    verdict = verify(Target(database.dsn), spec_of("estoque"))
    assert serious(verdict) == expected
    samples = rule(verdict, name).samples
    assert len(samples) == expected[name]
    assert all(sample["id"] is not None for sample in samples)


@pytest.mark.parametrize("name", ENTERPRISE_FAULTS)
def test_enterprise_fault(template: Callable[..., Database], name: str) -> None:
    """The same for the other preset; circles in a self-reference are found without a rule."""
    statements, expected = ENTERPRISE_FAULTS[name]
    database = template("rules enterprise", loaded("enterprise"))
    database.load(statements)
    verdict = verify(Target(database.dsn), spec_of("enterprise"))
    assert serious(verdict) == expected
    assert all(len(rule(verdict, found).samples) == count for found, count in expected.items())


def test_planted_faults_are_found(database: Database) -> None:
    """What `sample --faults` plants is found, row by row."""
    with database.connect() as connection:
        planted = load(connection, preset="estoque", rows=ROWS, seed=1, faults=["negative-stock", "broken-chain"])
    verdict = verify(Target(database.dsn), spec_of("estoque"))
    negative = {sample["id"] for sample in rule(verdict, "lot-negative").samples}
    assert negative == {str(one.key) for one in planted.faults if one.table == "estoque_lotes"}
    gaps = [one for one in planted.faults if one.detail.startswith("starts at")]
    assert {sample["id"] for sample in rule(verdict, "movement-chain").samples} >= {str(one.key) for one in gaps}
    sums = [one for one in planted.faults if one.detail.endswith("is not 25")]
    assert {sample["id"] for sample in rule(verdict, "movement-arithmetic").samples} == {str(one.key) for one in sums}


def test_a_chain_is_one_scan(template: Callable[..., Database]) -> None:
    """The chain of movements is one sorted pass over them, and no join of them with themselves."""
    database = template("rules estoque", loaded("estoque"))
    (chain,) = (rule for rule in spec_of("estoque").rule if rule.name == "movement-chain")
    plan = "\n".join(line for (line,) in database.rows(f"EXPLAIN {chain.query}"))
    assert plan.count("estoque_movimentacoes  (") == 1, plan
    assert "WindowAgg" in plan


def test_lots_are_told_apart_by_tenant(template: Callable[..., Database]) -> None:
    """Two tenants may use one lot number, in whatever writing; one tenant may not use it twice."""
    database = template("rules estoque migrated", migrated("estoque"))
    database.execute(
        """INSERT INTO estoque_lotes (tenant_id, produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
        SELECT t.id, 1, 'Same', 1, 1, date '2099-01-01' FROM (SELECT id FROM tenants ORDER BY slug LIMIT 1) t
        UNION ALL SELECT t.id, 1, ' same', 1, 1, date '2099-01-01'
        FROM (SELECT id FROM tenants ORDER BY slug DESC LIMIT 1) t"""
    )
    assert serious(verify(Target(database.dsn), spec_of("estoque"))) == {}
    database.execute(
        """INSERT INTO estoque_lotes (tenant_id, produto_id, lote, quantidade_inicial, quantidade_atual, data_validade)
        SELECT t.id, 1, 'SAME ', 1, 1, date '2099-01-01' FROM (SELECT id FROM tenants ORDER BY slug LIMIT 1) t"""
    )
    assert serious(verify(Target(database.dsn), spec_of("estoque"))) == {"lot-twice": 2}


def _rules(*rules: str) -> Spec:
    return spec_of("estoque", "\n".join(f"[[rule]]\n{rule}" for rule in rules))


def test_the_users_own_sql(template: Callable[..., Database]) -> None:
    """Remarks, percent signs and names as in the application work; what only one row can say is said."""
    database = template("rules estoque", loaded("estoque"))
    spec = _rules(
        'name = "remark"\ntable = "produtos"\nviolates = "nome LIKE \'%\' AND t.id = 1 -- ) or so"',
        'name = "queried"\ntable = "public.produtos"\nquery = "SELECT p.id, p.nome AS id2 FROM produtos p LIMIT 3 -- "',
        'name = "noted"\ntable = "escolas"\nviolates = "true"\nseverity = "info"',
    )
    verdict = verify(Target(database.dsn), spec, InspectionOptions(samples=2))
    assert serious(verdict) == {"remark": 1, "queried": 3}
    # A sample shows the key, and the columns that the condition names.
    assert rule(verdict, "remark").samples == (
        {"id": "1", "nome": database.rows("SELECT nome FROM produtos WHERE id = 1")[0][0]},
    )
    assert len(rule(verdict, "queried").samples) == 2
    assert rule(verdict, "noted").severity is Severity.INFO


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('table = "produto"\nviolates = "true"', 'did you mean "public.produtos"'),
        ('table = "produtos"\nviolates = "nam = 1"', '"nam" does not exist'),
        ('table = "produtos"\nviolates = "nome"', "must be type boolean"),
        ('table = "produtos"\nviolates = "true); DROP TABLE produtos; SELECT (true"', "multiple commands"),
        ('table = "produtos"\nquery = "DELETE FROM produtos RETURNING id"', "syntax error"),
        ('table = "produtos"\nquery = "WITH d AS (DELETE FROM produtos RETURNING 1) SELECT * FROM d"', "top level"),
        ('table = "produtos"\nviolates = "1 / (id - id) = 1"', "division by zero"),
        ('table = "produtos"\nviolates = "true"\nfix = "nom = 1"', 'did you mean "nome"'),
        ('table = "produtos"\nviolates = "true"\nfix = "id = 1"', "primary key"),
        ('table = "produtos"\nviolates = "true"\nfix = "peso = \'much\'"', "invalid input syntax"),
    ],
)
def test_rule_that_cannot_be_asked(template: Callable[..., Database], text: str, said: str) -> None:
    """It is a finding that names the rule and says why; the other rules are asked, and nothing is changed."""
    database = template("rules estoque", loaded("estoque"))
    good = 'name = "good"\ntable = "produtos"\nviolates = "id = 1"'
    verdict = verify(Target(database.dsn), _rules(f'name = "bad"\n{text}', good))
    assert rule(verdict, "good").count == 1
    (bad,) = (finding for finding in verdict.findings if finding.name != "good" and finding.severity is Severity.ERROR)
    assert "bad" in bad.message
    assert said in bad.message
    assert database.rows("SELECT count(*) > 0 FROM produtos") == [(True,)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a b"\ntable = "t"\nviolates = "true"', "name"),
        ('name = "a"\ntable = "t"', "give violates"),
        ('name = "a"\ntable = "t"\nquery = "SELECT 1"\nfix = "x = 1"', "looked at again"),
        ('name = "a"\ntable = "t"\nviolates = "true"\nfix = "x = 1; DROP TABLE t"', "semicolon"),
        ('name = "a"\ntable = "t"\nviolates = "true"\nfix = "x = (1"', "brackets"),
        (
            'name = "a"\ntable = "t"\nviolates = "true"\n[[rule]]\nname = "a"\ntable = "t"\nviolates = "true"',
            "two rules",
        ),
    ],
)
def test_rule_that_cannot_be_read(text: str, said: str) -> None:
    """A rule that says too little or too much is an error of the spec, with the rule's name."""
    with pytest.raises(Exception, match=said):
        spec_of("estoque", f"[[rule]]\n{text}")
