"""tenantry plan: text, JSON, and a script that psql runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cli.conftest import load_estoque
from conftest import Command
from servers import Database


def test_text(shop: Command, estoque: Database) -> None:
    """Phase by phase; locks, parameters, conditions and expected rows are named."""
    before = estoque.dump()
    outcome = shop("plan", "--detailed")
    assert outcome.status == 0
    for words in (
        "expand  ", "contract  ", 'ALTER TABLE "public"."usuarios" ADD COLUMN "tenant_id" uuid',
        "-- locks ACCESS EXCLUSIVE on public.usuarios", "parameters $1 first, $2 past", "rows expected",
        "-- only if: ",
        "by itself, outside a transaction",
    ):  # fmt: skip
        assert words in outcome.stdout
    assert estoque.dump() == before


def test_json(shop: Command) -> None:
    """--format json is the outline alone, --json puts it into the command's document."""
    plan = json.loads(shop("plan", "--format", "json").stdout)
    document = shop("plan", "--json").json
    assert document["steps"] == plan["steps"]
    assert {step["phase"] for step in plan["steps"]} == {"expand", "backfill", "enforce", "isolate", "contract"}
    # escolas has its tenant column, NOT NULL, from its user.
    early = {step["table"] for step in plan["steps"] if step["in_force"] and step["phase"] != "isolate"}
    assert early == {"public.escolas"}


def test_script_does_what_migrate_does(
    shop: Command, estoque: Database, template: Callable[..., Database], tmp_path: Path
) -> None:
    """psql runs the script as it stands, and the schema is then the one that migrate makes."""
    twin = template("cli estoque", load_estoque)
    assert shop("migrate", "--until", "contract", "--quiet", dsn=twin.dsn).status == 0
    script = shop("plan", "--format", "sql").stdout
    estoque.load(script)
    assert estoque.dump() == twin.dump()
    rows = "SELECT tenant_id, count(*) FROM estoque_movimentacoes GROUP BY 1 ORDER BY 1"
    assert estoque.rows(rows) == twin.rows(rows)
