"""status shows the last runs, what they took, and whether that was more than the time before."""

from __future__ import annotations

import re

from conftest import Command
from servers import Database

RUNS = """
INSERT INTO tenantry.runs (id, command, options, started_at, finished_at, exit_status, outcome)
SELECT id, command, options, now() + began, now() + began + took, status, 'what it came to'
FROM (VALUES
  ('one', 'validate', '', interval '1 min', interval '4 s', 1),
  ('failed', 'validate', '', interval '2 min', interval '1 s', 5),
  ('another', 'verify', '', interval '3 min', interval '2 s', 0),
  ('two', 'validate', '', interval '4 min', interval '10 s', 0),
  ('again', 'migrate', '--until expand', interval '5 min', interval '1 s', 0)
) AS made (id, command, options, began, took, status)
"""


def test_runs_beside_the_ones_before(shop: Command, estoque: Database) -> None:
    """A run is compared with the last one of its command that came to its end, where it did as many steps: a second
    migrate, which finds all steps in force, is not called faster."""
    assert shop("migrate", "--until", "expand", "--quiet").status == 0
    estoque.execute(RUNS)
    runs = {run["id"]: run for run in shop("status", "--json").json["runs"]}
    assert (runs["two"]["seconds"], runs["two"]["before"]) == (10.0, {"id": "one", "seconds": 4.0, "steps": 0})
    assert runs["another"]["before"] is runs["failed"]["before"] is None
    first = runs["again"]["before"]
    assert first["steps"] > 0
    shown = shop("status").stdout
    assert "10.0 s; 150% slower than one (4.0 s)" in shown
    assert re.search(rf"1\.0 s; {first['id']} took [\d.]+ m?s for {first['steps']} steps", shown)
    assert "faster" not in shown
