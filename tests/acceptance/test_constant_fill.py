"""A table whose rows are all one tenant's is filled in no time, however large it is: no row is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import pytest

from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.execution.events import Event, StepEvent
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.pg("!= 15, != 16, != 17")]

SMALL, LARGE = 10_000, 300_000
ROUNDS = 3
NOISE = 500.0
"""Milliseconds that a busy machine may add; to touch the rows takes several times as long."""
SPEC = """
[tenant]
table = "tenants"
create = true
default = "everybody"
[application]
role = "{role}"
[[table]]
name = "reading"
assign = {{ tenant = "everybody" }}
"""
STORAGE = "SELECT pg_relation_filenode('reading'), pg_relation_size('reading'), pg_total_relation_size('reading')"

FILLED = "SELECT count(DISTINCT tenant_id), count(*) FILTER (WHERE tenant_id IS NULL) FROM reading"


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds that the steps of the phase expand took on the table."""

    milliseconds: float = 0.0
    steps: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent():
                if event.action == "applied" and event.step.table.name == "reading":
                    assert event.step.phase is Phase.EXPAND
                    self.milliseconds += event.milliseconds
                    self.steps.append(event.step.key)


def fill(database: Database, rows: int) -> None:
    database.execute(f"CREATE TABLE reading AS SELECT n AS id, n % 97 AS value FROM generate_series(1, {rows}) AS n")
    with database.connect(autocommit=True) as connection:
        connection.execute("VACUUM (FREEZE, ANALYZE) reading")


def expand(database: Database, spec: Spec) -> float:
    """There and back: what the way there took. The storage of the table stays what it was."""
    before = database.rows(STORAGE)
    watch = Stopwatch()
    migrate(Target(database.dsn), spec, MigrateOptions(until=Phase.EXPAND), watch)
    assert "column:public.reading:tenant_id" in watch.steps
    assert database.rows(
        "SELECT count(DISTINCT tenant_id), count(*) FILTER (WHERE tenant_id IS NULL) FROM reading"
    ) == [(1, 0)]
    assert database.rows(STORAGE) == before
    rollback(Target(database.dsn), RollbackOptions())
    assert database.rows(STORAGE) == before
    return watch.milliseconds


def test_size_does_not_matter(new_database: Callable[[], Database], role: Callable[..., str]) -> None:
    """The median of several at both sizes, in turns, is the same."""
    spec = Spec.parse(SPEC.format(role=role(create=False, name="app")))
    small, large = new_database(), new_database()
    fill(small, SMALL)
    fill(large, LARGE)
    times = [(expand(small, spec), expand(large, spec)) for _ in range(ROUNDS)]
    for_small, for_large = (median(column) for column in zip(*times, strict=True))
    assert for_large < max(2 * for_small, for_small + NOISE)
    print(f"expand: {for_small:.1f} ms for {SMALL} rows, {for_large:.1f} ms for {LARGE}")
