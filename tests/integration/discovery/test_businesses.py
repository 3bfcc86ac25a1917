"""Of business schemas that are drawn, nearly all tables are decided rightly, and none is wrong in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acceptance.distributed import refused_by_citus
from acceptance.true_refusals import untrue
from discovery import businesses
from discovery.drawn_businesses import tried
from tenantry import MigrateOptions, RollbackOptions, discover, migrate, plan, rollback, validate
from tenantry.errors import Refused
from tenantry.model.finding import Finding, Severity
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec, TablePart
from tenantry.postgres.connect import Target


def test_drawn_businesses(new_database: Callable[..., Any]) -> None:
    tried(range(8), new_database)


SEEDS = 200
CHUNKS = 8


@pytest.mark.nightly
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_many_drawn_businesses(new_database: Callable[..., Any], chunk: int) -> None:
    tried(range(chunk, SEEDS, CHUNKS), new_database)


def cycled(database: Any, role: str, seed: int) -> None:
    """From what discover proposes to contract and back, with the answers of a person who knows."""
    spec = proposed(database, role, seed)
    target = Target(database.dsn)
    before = database.dump(), rows_of(database)
    migrate(target, spec, MigrateOptions(until=Phase.CONTRACT))
    assert errors_of(target, spec) == [], f"seed {seed}"
    rollback(target, RollbackOptions())
    assert database.dump() == before[0], f"seed {seed}"
    assert rows_of(database) == before[1], f"seed {seed}"


def proposed(database: Any, role: str, seed: int) -> Spec:
    database.execute(businesses.business(seed).sql)
    text = discover(Target(database.dsn)).text
    spec = Spec.parse(f'{text}\n[application]\nrole = "{role}"\n')
    return spec.model_copy(update={"table": tuple(map(answered, spec.table))})


def errors_of(target: Target, spec: Spec) -> list[Finding]:
    return [one for one in validate(target, spec).findings if one.severity is Severity.ERROR]


DISTRIBUTE = MigrateOptions(until=Phase.DISTRIBUTE, prepare=True, force=True)


def refusals(database: Any, spec: Spec) -> list[Finding]:
    """What the phase distribute refuses: each of it is true, and nothing is changed."""
    target, dump = Target(database.dsn), database.dump()
    found = plan(target, spec, until=Phase.DISTRIBUTE).findings
    assert untrue(database, spec, found) == []
    firm = [one for one in found if one.refuses and not one.forcible]
    if firm:
        with pytest.raises(Refused):
            migrate(target, spec, DISTRIBUTE)
        assert database.dump() == dump
    return firm


def with_remedies(database: Any, spec: Spec) -> Spec:
    """What is refused is mended as the message says: link tables' rows are shared, keys of shared tables dropped."""
    for _ in range(4):
        firm = refusals(database, spec)
        if not firm:
            break
        for one in firm:
            if one.name == "distribute-refuses-shared-reference":
                database.execute(one.remedy.partition(";")[0])
        members = {one.table.name for one in firm if one.name == "distribute-refuses-membership" and one.table}
        spec = with_shared(database, spec, members)
    return spec


def with_shared(database: Any, spec: Spec, names: set[str]) -> Spec:
    """The spec once these tables are shared; keys that are no more, or that lead to or from these, cross nothing."""
    keys = database.rows(
        "SELECT c.conrelid::regclass::text || '.' || a.attname, c.conrelid::regclass::text, c.confrelid::regclass::text"
        " FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " WHERE c.contype = 'f'"
    )
    left = {child for child, *tables in keys if not names & set(tables)}
    tables = (TablePart(name=part.name, shared=True) if part.name in names else part for part in spec.table)
    references = (part for part in spec.reference if part.child in left)
    return spec.model_copy(update={"table": tuple(tables), "reference": tuple(references)})


def distributed(database: Any, role: str, seed: int) -> None:
    """The same until distribute, with the remedies of what is refused."""
    spec = with_remedies(database, proposed(database, role, seed))
    target = Target(database.dsn)
    before = database.dump(), rows_of(database)
    migrate(target, spec, MigrateOptions(until=Phase.CONTRACT))
    # Rows of mixed tables may refer to those of tenants, which is known only now.
    if refused := refusals(database, spec):
        assert {one.name for one in refused} == {"distribute-refuses-mixed-reference"}
        print(f"seed {seed}:", *(one.message for one in refused))
    else:
        migrate(target, spec, DISTRIBUTE)
        assert migrate(target, spec, DISTRIBUTE).applied == 0, f"seed {seed}"
        assert refused_by_citus(target, spec) == set(), f"seed {seed}"
        assert errors_of(target, spec) == [], f"seed {seed}"
    rollback(target, RollbackOptions())
    assert database.dump() == before[0], f"seed {seed}"
    assert rows_of(database) == before[1], f"seed {seed}"


def answered(part: TablePart) -> TablePart:
    """A link table means what it says; what nobody knows is shared, and so are rows that find no tenant."""
    if part.undecided is None:
        return part
    if part.membership is not None:
        return part.model_copy(update={"undecided": None})
    return TablePart(name=part.name, shared=True)


def rows_of(database: Any) -> list[list[tuple[Any, ...]]]:
    tables = database.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"
    )
    return [database.rows(f"SELECT t::text FROM {name} AS t ORDER BY 1") for (name,) in tables]


def test_a_whole_cycle(new_database: Callable[..., Any], role: Callable[..., str]) -> None:
    cycled(new_database(), role(create=False), 3)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(SEEDS))
def test_many_whole_cycles(new_database: Callable[..., Any], role: Callable[..., str], seed: int) -> None:
    cycled(new_database(), role(create=False), seed)


def test_a_whole_cycle_of_distribute(new_database: Callable[..., Any], role: Callable[..., str]) -> None:
    distributed(new_database(), role(create=False), 3)


@pytest.mark.nightly
@pytest.mark.server
@pytest.mark.parametrize("seed", range(SEEDS))
def test_many_whole_cycles_of_distribute(new_database: Callable[..., Any], role: Callable[..., str], seed: int) -> None:
    distributed(new_database(), role(create=False), seed)
