"""What the journal has of steps."""

from __future__ import annotations

from typing import Any

from tenantry.postgres.journal import Entry
from tenantry.steps import Step, to_json


def entry(step: Step, **facts: Any) -> Entry:
    """The step as it was applied; with other `facts` where they matter."""
    given: dict[str, Any] = {
        "key": step.key, "position": 1, "run": "1", "phase": str(step.phase), "value": to_json(step),
        "wanted": step.wanted, "before": {}, "definition": "as it was", "state": "done",
    }  # fmt: skip
    return Entry(**{**given, **facts})


def journal(*entries: Entry) -> dict[str, Entry]:
    return {one.key: one for one in entries}
