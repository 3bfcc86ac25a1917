"""What `make bench` measures on a large schema runs, and comes back, on a small one of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bench.large import ErpSchema, measured

from tenantry import discover
from tenantry.postgres.connect import Target


def test_few_tables_of_which_many_have_one_parent(new_database: Callable[..., Any]) -> None:
    """Where the tables are few, references to shared tables may be taken for audit references: they do not tell whose
    the rows of their parent are."""
    database, schema = new_database(), ErpSchema(tables=24, keys=80)
    database.execute(schema.script)
    found = discover(Target(database.dsn)).proposal
    kinds = {decision.part.name: decision.kind for decision in found.decisions.values()}
    assert {kinds[name] for name in schema.names["direct"]} == {"owned"}
    assert {kinds[name] for name in schema.names["shared"]} <= {"shared", "undecided"}


@pytest.mark.nightly
def test_each_command_is_measured(new_database: Callable[..., Any], role: Callable[..., str]) -> None:
    database = new_database()
    database.execute(ErpSchema(tables=24, keys=80).script)
    before = database.dump()
    application = f'\n[application]\nrole = "{role(create=False)}"\n'
    assert [command for command, _ in measured(Target(database.dsn), application)] == [
        "discover", "plan", "migrate --until enforce", "status", "migrate", "validate", "rollback", "rollback --confirm",
    ]  # fmt: skip
    assert database.dump() == before
