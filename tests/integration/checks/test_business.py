"""Business rules: the presets keep to theirs; each fault is found, counted and shown, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from checks.presets import ROWS, loaded, migrated, spec_of
from servers import Database
from tenantry import InspectionOptions
from tenantry.commands.verify import verify
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.connect import Target
from tenantry.presets import load


def serious(verdict: Verdict) -> dict[str, int | None]:
    """What was found, by check, with the number of rows."""
    return {finding.name: finding.count for finding in verdict.findings if finding.severity is not Severity.INFO}


def rule(verdict: Verdict, name: str) -> Finding:
    (found,) = (finding for finding in verdict.findings if finding.name == name)
    return found


@pytest.mark.parametrize("preset", ["estoque", "enterprise"])
def test_presets_keep_to_their_rules(template: Callable[..., Database], preset: str) -> None:
    """Before the migration nothing is found; a rule that needs tenants says that it was not asked. After it all are."""
    before = verify(Target(template(f"rules {preset}", loaded(preset)).dsn), spec_of(preset))
    assert serious(before) == {}
    assert rule(before, "lot-twice").message.startswith("The rule lot-twice was not checked")
    (family,) = (one for one in before.families if one.family is Family.BUSINESS)
    assert family.checks == len(spec_of(preset).rule) - 1
    after = verify(Target(template(f"rules {preset} migrated", migrated(preset)).dsn), spec_of(preset))
    assert serious(after) == {}
    assert not [finding for finding in after.findings if finding.name == "lot-twice"]


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
