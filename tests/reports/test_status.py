"""status shows the last runs, what they took, and whether that was more than the time before."""

from __future__ import annotations

import re

from conftest import Command
from servers import Database


def test_runs_beside_the_ones_before(shop: Command, estoque: Database) -> None:
    """A run is compared with the last one of its command that came to its end, if it did as many steps."""
    assert shop("migrate", "--quiet").status == 0
    for _ in range(2):
        assert shop("validate", "--quiet").status in (0, 1)
    slow, quick = shop("status", "--json").json["runs"][0:2]
    estoque.execute(f"UPDATE tenantry.runs SET finished_at = started_at + interval '10 s' WHERE id = '{slow['id']}'")
    estoque.execute(f"UPDATE tenantry.runs SET finished_at = started_at + interval '4 s' WHERE id = '{quick['id']}'")
    runs = shop("status", "--json").json["runs"]
    assert [run["command"] for run in runs] == ["validate", "validate", "migrate --until isolate"]
    assert (runs[0]["seconds"], runs[0]["before"]) == (10.0, {"id": quick["id"], "seconds": 4.0, "steps": 0})
    assert runs[1]["before"] is None
    assert runs[2]["steps"] > 0
    assert runs[2]["rows"] > 0
    shown = shop("status").stdout
    assert f"150% slower than {quick['id']} (4.0 s)" in shown
    assert re.search(rf"{runs[2]['steps']} steps, [\d,]+ rows, longest wait for a lock", shown)


def test_a_second_migrate_is_not_called_faster(shop: Command) -> None:
    """It found all steps in force: other work takes other time."""
    assert shop("migrate", "--quiet").status == 0
    assert shop("migrate", "--quiet").status == 0
    shown = shop("status").stdout
    assert "faster" not in shown
    assert re.search(r"took [\d.]+ m?s for \d+ steps", shown)
