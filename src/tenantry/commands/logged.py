"""A watcher that writes all that it is told into the log of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenantry.execution.runner import Event
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import Statement
from tenantry.model.run import Activity
from tenantry.postgres.connect import Server
from tenantry.reports.log import Log


class Logged:
    """Writes into `log`, which `began` gives the run its name."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._filled: dict[Name, list[int]] = {}

    def began(self, command: str, run: str) -> None:
        if self.log.written:
            self.log.write("part began", part=command, part_run=run)
            return
        self.log.name(run)
        self.log.write("began")

    def connected(self, server: Server) -> None:
        self.log.write("connected", server=server.version_name, database=server.database, user=server.user)

    def looking(self, at: str) -> None:
        self.log.write("looking", level="debug", at=at)

    def step(self, event: Event) -> None:
        level = "debug" if event.action in ("found", "started") else "info"
        facts: dict[str, Any] = {"number": event.number, "total": event.total}
        facts |= {
            "table": event.step.table,
            "key": event.step.key,
            "title": event.step.title,
            "phase": event.step.phase,
        }
        if event.action not in ("found", "started"):
            facts |= {"milliseconds": round(event.milliseconds, 1), "waited": round(event.waited, 1),
                      "tries": event.tries, "rows": event.rows}  # fmt: skip
        if event.action == "failed":
            level, facts["message"] = "error", event.message
        self.log.write(f"step {event.action}", level=level, **facts)

    def found(self, finding: Finding) -> None:
        self.log.write("finding", level="warning" if finding.refuses else "info", finding=finding)

    def distributed(self, distribution: Distribution) -> None:
        self.log.write("distributed", level="debug", distribution=distribution)

    def statement(self, statement: Statement, milliseconds: float) -> None:
        self.log.write("statement", level="debug", sql=statement.text, milliseconds=round(milliseconds, 1))

    def activity(self, activity: Activity | None) -> None:
        if activity is not None:
            self.log.write("activity", activity=activity)

    def blocked(self, reason: str, blockers: Sequence[str], pause: float) -> None:
        self.log.write("blocked", level="warning", message=reason, blocked_by=list(blockers), pause=round(pause, 3))

    def said(self, message: str, **facts: object) -> None:
        self.log.write("said", message=message, **dict[str, Any](facts))

    def concluded(self, outcome: str, next_step: str) -> None:
        self.log.write("concluded", outcome=outcome, next_step=next_step)

    def started(self, relation: Name, total_pages: int) -> None:
        self._filled[relation] = [0, 0]
        self.log.write("fill started", table=relation, pages=total_pages)

    def advanced(self, relation: Name, pages: int, rows: int) -> None:
        done = self._filled.setdefault(relation, [0, 0])
        done[0] += pages
        done[1] += rows
        self.log.write("fill advanced", level="debug", table=relation, pages=done[0], rows=done[1])

    def paused(self, reason: str) -> None:
        self.log.write("fill paused", reason=reason)

    def finished(self, relation: Name, rows: int) -> None:
        self.log.write("fill finished", table=relation, rows=rows)
