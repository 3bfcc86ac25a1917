"""A plan in the form that is asked for."""

from __future__ import annotations

import json

import pytest

from tenantry import Outline, PlannedStep
from tenantry.planning import make_plan
from unit.cli.calling import CommandLine
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES, shop_spec
from unit.schemas import TENANTS, schema


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = make_plan(shop_spec(), schema(TENANTS, STORES, SALES, LINES, PRODUCTS)).steps
    outline = Outline(
        command="plan", database="shop", server="PostgreSQL 18.0", tables=(), undecided={},
        steps=tuple(PlannedStep(step=step, in_force=False, statements=step.apply(), rows=1000) for step in steps),
    )  # fmt: skip
    monkeypatch.setattr("tenantry.cli.plan.run_plan", lambda *_, **__: outline)


@pytest.mark.usefixtures("planned")
def test_forms(line: CommandLine) -> None:
    """For people, as a document, and as a script; --json puts each of them into its own document."""
    assert line.run("plan") == 0
    assert line.capsys.readouterr().out.startswith("Next: ")
    assert line.run("plan --format json") == 0
    plain = json.loads(line.capsys.readouterr().out)
    assert line.run("plan --format sql") == 0
    script = line.capsys.readouterr().out
    assert script.startswith("-- The plan for shop")
    assert line.run("plan --format sql --json") == 0
    document = json.loads(line.capsys.readouterr().out)
    assert document["script"] == script
    assert document["steps"] == plain["steps"]
    assert "is not one of" in line.refused("plan --format yaml")
