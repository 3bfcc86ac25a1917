"""The log: each event with its facts, and no secret, whatever its form."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Command


def lines(folder: Path) -> list[dict[str, object]]:
    (path,) = folder.rglob("*.log")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_secrets_of_the_environment_and_of_the_server(shop: Command) -> None:
    """PGPASSWORD, and a password that the server quotes in an error, reach no file and no screen."""
    spec = shop.folder / "tenantry.toml"
    spec.write_text(spec.read_text().replace("[tenant]", '[tenant]\nsetting = "app.s3cr3t-one"', 1).replace(
        'setting = "app.tenant_id"', "", 1))  # fmt: skip
    outcome = shop("migrate", "-v", "--detailed", environment={"PGPASSWORD": "s3cr3t-one"})
    everything = outcome.stderr + "".join(path.read_text() for path in shop.folder.glob("*s/*"))
    assert "s3cr3t-one" not in everything
    assert "app.****" in everything


def test_each_event_has_its_facts(shop: Command) -> None:
    """Run, level, time; a step has phase, table, milliseconds, waits, tries and rows; a fill says how far it is."""
    assert shop("migrate", "--until", "backfill", "--quiet").status == 0
    found = lines(shop.folder)
    assert all({"run", "level", "time", "event", "command"} <= line.keys() for line in found)
    applied = [line for line in found if line["event"] == "step applied"]
    assert all({"phase", "table", "key", "milliseconds", "waited", "tries", "rows"} <= line.keys() for line in applied)
    assert {line["level"] for line in found} == {"debug", "info"}
    finished = [line for line in found if line["event"] == "fill finished"]
    assert {"table", "rows"} <= finished[0].keys()
