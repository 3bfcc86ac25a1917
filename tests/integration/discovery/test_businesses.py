"""Of business schemas that are drawn, nearly all tables are decided rightly, and none is wrong in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from discovery import businesses
from discovery.drawn_businesses import tried
from tenantry import MigrateOptions, RollbackOptions, discover, migrate, rollback, validate
from tenantry.model.finding import Severity
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
    database.execute(businesses.business(seed).sql)
    target = Target(database.dsn)
    before = database.dump(), rows_of(database)
    text = discover(target).text
    spec = Spec.parse(f'{text}\n[application]\nrole = "{role}"\n')
    spec = spec.model_copy(update={"table": tuple(map(answered, spec.table))})
    migrate(target, spec, MigrateOptions(until=Phase.CONTRACT))
    serious = [one for one in validate(target, spec).findings if one.severity is Severity.ERROR]
    assert serious == [], f"seed {seed}"
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
