"""kill -9 at statements of a removal and of an import: the same command goes on, and nothing is lost or half there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daily import daily
from killed import KILLED, Order, served
from tenantry.errors import ExitStatus
from tenantry.tenants.folder import read_manifest
from tenants.conftest import APPLICATION, HERE, Isolated, content

OF_OTHERS_TOO = 4
"""Products of tenant two that other tenants have, too."""
MOST = 5000
"""Statements after which no run goes on."""


@dataclass(frozen=True)
class Driver:
    """Gives orders to tests/integration/tenants/killed_process.py."""

    perform: Order

    def __call__(self, one: Isolated, command: str, number: int, folder: Path) -> tuple[int, str]:
        spec = (HERE / "warehouse.toml").read_text().replace("ROLE", APPLICATION)
        return self.perform(
            {"dsn": one.database.dsn, "command": command, "number": number, "folder": str(folder), "slug": "two",
             "spec": spec}
        )  # fmt: skip


@pytest.fixture
def driver() -> Iterator[Driver]:
    with served(HERE / "killed_process.py") as perform:
        yield Driver(perform)


@pytest.mark.parametrize("stride", daily([41, 7]))
def test_killed(stride: int, warehouse: Isolated, driver: Driver, tmp_path: Path) -> None:
    """A removal that dies has deleted whole batches and nothing else, and goes on with the export that was made before the
    first of them; an import that dies has done nothing at all."""
    one, before = warehouse, content(warehouse.database)
    killed, shrunk, folders = 0, 0, 0
    left = sum(map(len, before.values()))
    for number in range(1, MOST, stride):
        # Where the export itself was cut off, its folder is in the way, and the next one gets another.
        ended, said = driver(one, "remove", number, tmp_path / f"kept {folders}")
        now = content(one.database)
        assert [table for table, rows in now.items() if not set(rows) <= set(before[table])] == []
        # It may have died behind its last statement.
        over = ended == 0 or (ended == ExitStatus.USAGE and said.startswith("there is no tenant 'two'"))
        assert over or ended == KILLED, said
        begun = (tmp_path / f"kept {folders}" / "manifest.json").exists()
        assert begun or now == before, "nothing is deleted that is not exported"
        folders += not begun and (tmp_path / f"kept {folders}").exists()
        shrunk += sum(map(len, now.values())) < left
        left = sum(map(len, now.values()))
        if over:
            break
        killed += 1
    assert killed > 200 // stride
    assert shrunk > 1, "several runs had a part in it"
    assert one.database.rows("SELECT FROM tenantry.removals") == [], "the next removal makes an export of its own"
    without, folder = content(one.database), tmp_path / f"kept {folders}"
    assert read_manifest(folder).rows - OF_OTHERS_TOO == sum(map(len, before.values())) - left
    killed = 0
    for number in range(1, MOST, stride):
        ended, said = driver(one, "import", number, folder)
        assert ended in (KILLED, 0), said
        now = content(one.database)
        if ended == 0 or now != without:
            break
        killed += 1
    assert now == before
    assert killed > 200 // stride
