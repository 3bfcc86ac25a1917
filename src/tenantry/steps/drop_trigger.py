"""Once no application is left that knows no tenants, the triggers that served it go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import Statement
from tenantry.steps.assignment import AssignmentTrigger
from tenantry.steps.step import Before, Step
from tenantry.steps.trigger import drop_trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class DropTrigger(Step):
    """Drops a trigger of ours. Its undo is nothing, since going back takes the trigger away as well, but for the guard
    of the user's own column, whose NULLs are put back under it."""

    kind: Literal["trigger_ended"] = "trigger_ended"
    trigger: str
    function: Name
    made_by: str
    """How the key of the step that made it begins, and with `detail` ends: the table stands in between."""
    detail: str = ""
    guard: AssignmentTrigger | None = None
    tree: tuple[Name, ...] = ()

    @property
    def key(self) -> str:
        return f"trigger_ended:{self.table}:{self.trigger}"

    @property
    def title(self) -> str:
        return f"drop the trigger {self.trigger}"

    @property
    def ends(self) -> tuple[str, ...]:
        return (f"{self.made_by}:{self.table}{self.detail}",)

    @property
    def subject(self) -> str:
        return f"The removal of the trigger {quoted(self.trigger)} on {self.table}"

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT 'gone' WHERE NOT EXISTS ("
            "SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = {} AND t.tgname = {})"
        ).format(self.table.oid, sql.Literal(self.trigger))

    def apply(self) -> tuple[Statement, ...]:
        return drop_trigger(self.table, self.trigger, self.function, self.tree)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return self.guard.apply() if self.guard is not None else ()
