"""tenantry plan: text, JSON, and a script that psql runs."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Command
from servers import Database


def test_text(shop: Command, estoque: Database) -> None:
    """Phase by phase; locks, parameters, conditions and expected rows are named."""
    before = estoque.dump()
    outcome = shop("plan")
    assert outcome.status == 0
    for words in (
        "expand  ", "contract  ", 'ALTER TABLE "public"."usuarios" ADD COLUMN "tenant_id" uuid',
        "-- locks ACCESS EXCLUSIVE on public.usuarios", "parameters $1 first, $2 past", "rows expected", "-- only where: ",
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
    assert not any(step["in_force"] for step in plan["steps"] if step["phase"] != "isolate")


def test_script_runs(shop: Command, estoque: Database, tmp_path: Path) -> None:
    """psql runs the script as it stands, and all that the catalog shows is then in force."""
    script = shop("plan", "--format", "sql").stdout
    assert script.count("CREATE INDEX CONCURRENTLY") > 5
    estoque.load(script)
    steps = json.loads(shop("plan", "--format", "json").stdout)["steps"]
    pending = {step["key"] for step in steps if not step["in_force"]}
    # Without a journal a fill is not known to be done, nor that what contract ended was ever there.
    left = {key for key in pending if not key.startswith(("backfill_", "enforce_", "trigger_ended:"))}
    ended = {step["key"] for step in steps if step["phase"] in ("expand", "enforce") and not step["in_force"]}
    assert left <= ended
    assert estoque.rows("SELECT count(*) FROM estoque_movimentacoes WHERE tenant_id IS NULL") == [(0,)]
    assert estoque.rows("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'usuarios'") == [(True,)]
