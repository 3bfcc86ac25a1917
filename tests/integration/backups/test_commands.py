"""The commands as people and cron run them, and what the monitor finds."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from backups.conftest import target
from conftest import Command
from servers import Database
from tenantry import list_backups

SPEC = '[tenant]\ntable = "shops"\n[[table]]\nname = "keyless"\nassign = { tenant = "one" }\n'


@pytest.fixture
def shop(odd: Database, command: Callable[[str], Command]) -> Command:
    made = command(odd.dsn)
    (made.folder / "tenantry.toml").write_text(SPEC)
    return made


def test_a_day(shop: Command, odd: Database) -> None:
    """create, list, verify, restore, prune: what each says, and its exit status."""
    assert shop("backups", "list").stdout == "There are no backups.\n"
    there = odd.dump()
    dry = shop("backups", "create", "--dry-run", "--json")
    assert (dry.status, dry.json["backup"]["tables"]) == (0, ["public.keyless", "public.shops"])
    refused = shop("backups", "create", "--dry-run", "--free-space", "1kB")
    assert (refused.status, "it would refuse" in refused.stdout, "1 kB is free" in refused.stderr) == (0, True, True)
    assert (odd.dump(), list_backups(target(odd))) == (there, ())
    created = shop("backups", "create", "--json").json["backup"]
    assert created["tables"] == {"public.keyless": 60, "public.shops": 2}
    dumped = shop("backups", "create", "--backup", "dump")
    assert dumped.status == 0
    assert str(shop.folder / "backups") in dumped.stdout
    listed = shop("backups", "list", environment={"COLUMNS": "60"})
    assert created["id"] in listed.stdout, "an id is never broken"
    assert shop("backups", "verify", created["id"]).stdout.endswith("unchanged since it was made.\n")
    odd.execute("INSERT INTO keyless VALUES (77, 'since')")
    refused = shop("backups", "restore", created["id"])
    assert refused.status == 4
    assert "would be lost: 1 in public.keyless" in refused.stderr
    assert shop("backups", "restore", created["id"], "--dry-run", "--json").json["tables"][0]["deleted"] == 1
    assert shop("backups", "restore", created["id"], "--force", "--backup", "none").status == 0
    assert odd.rows("SELECT count(*) FROM keyless") == [(60,)]
    assert shop("backups", "prune", "--keep", "0", "--older-than", "0s").stdout.endswith("2 backups were removed.\n")
    assert list_backups(target(odd)) == ()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["create", "--backup", "none"], 2, "makes no backup"),
        (["create", "--table", "keyles"], 2, 'did you mean "public.keyless"'),
        (["restore", "nothing"], 2, "the backup 'nothing' does not exist"),
        (["restore", "nothing", "--backup", "dump"], 2, "needs a backup of tables"),
        (["prune", "--older-than", "30 weeks ago"], 2, "not a duration"),
        (["monitor", "--last-snapshot", "2999-01-01"], 2, "in the future"),
        (["create", "--backup", "dump", "--dump-dir", "tenantry.toml/below"], 2, "cannot be written"),
    ],
)
def test_bad_input(arguments: list[str], status: int, said: str, shop: Command, odd: Database) -> None:
    """One sentence, the exit status, and nothing made."""
    outcome = shop("backups", *arguments)
    assert (outcome.status, said in outcome.stderr) == (status, True), outcome.stderr
    assert list_backups(target(odd)) == ()


def test_for_cron(shop: Command, odd: Database) -> None:
    """In order: exit 0 and a line. Not in order: exit 1, a line for each finding, and the document; dumps made elsewhere
    and the provider's snapshots too."""
    none = shop("backups", "monitor")
    assert (none.status, none.json["monitor"]["findings"][0]["name"]) == (1, "backup-none")
    assert shop("backups", "create").status == 0
    dumps = shop.folder / "nightly"
    dumps.mkdir()
    (dumps / "monday.dump").write_bytes(b"x" * 1000)
    old = datetime.now(UTC) - timedelta(days=3)
    os.utime(dumps / "monday.dump", (old.timestamp(), old.timestamp()))
    found = shop("backups", "monitor", "--dump-dir", "nightly", "--last-snapshot", "2026-01-01T04:00:00Z", "--json")
    names = [finding["message"] for finding in found.json["monitor"]["findings"]]
    assert found.status == 1
    assert ["monday.dump, is 3 days old" in names[0], "provider's snapshots" in names[1]] == [True, True]
    assert found.stderr.count("tenantry: ") == 2
    (dumps / "tuesday.dump").write_bytes(b"x" * 900)
    good = shop("backups", "monitor", "--dump-dir", "nightly")
    assert good.stdout.startswith("Backups are in order")
    assert "is free on the server, for" in good.stdout
    assert "is free on nightly, for" in good.stdout
    full = shop("backups", "monitor", "--free-space", "1kB", "--json")
    assert (full.status, full.json["monitor"]["rooms"][0]["backups"]) == (1, 0)
    assert "1 kB is free on the server, for 0 more" in full.stderr
