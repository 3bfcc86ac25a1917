"""A run in numbers, also of what no list has room for."""

from __future__ import annotations

from tenantry.reports.measures import Measures
from tenantry.reports.report import Action, Entry


def entry(action: Action = Action.APPLIED, **facts: object) -> Entry:
    return Entry(**{"at": 0.0, "milliseconds": 100.0, "action": action, "title": "x", "key": "k", **facts})  # type: ignore[arg-type]


def test_sums() -> None:
    """Steps that were done, rows that were filled and the time that this took, the longest waits."""
    measures = Measures()
    measures.add(entry(phase="expand", waited=5.0, held=1.0, tries=3))
    measures.add(entry(phase="backfill", rows=50, milliseconds=1000.0))
    measures.add(entry(phase="backfill", rows=150, milliseconds=1000.0, waited=2.0, held=9.0))
    found = measures.metrics(3.00049)
    assert (found.seconds, found.steps, found.rows, found.rows_per_second) == (3.0, 3, 200, 100.0)
    assert (found.longest_lock_wait, found.longest_lock_held, found.retries) == (5.0, 9.0, 2)
    assert [(phase.phase, phase.steps, phase.rows) for phase in found.phases] == [
        ("expand", 1, 0),
        ("backfill", 2, 200),
    ]


def test_what_is_no_step() -> None:
    """Rows that were only read are not rows that were filled; a step that failed was not done."""
    measures = Measures()
    measures.add(entry(Action.LOOKED, key=None, rows=9))
    measures.add(entry(Action.FAILED))
    measures.add(entry(Action.STOPPED))
    measures.add(entry(Action.LEFT))
    found = measures.metrics(1)
    assert (found.steps, found.rows, found.rows_per_second, found.phases) == (0, 0, None, [])
    for action in (Action.REVERTED, Action.KEPT):
        measures.add(entry(action))
    assert measures.metrics(1).steps == 2
