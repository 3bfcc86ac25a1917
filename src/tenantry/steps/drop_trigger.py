"""The end of triggers: those that served an application that names no tenant are dropped in contract, all others before
tables are distributed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.model.schema import Table
from tenantry.model.schema import Trigger as UserTrigger
from tenantry.steps.assignment import AssignmentTrigger
from tenantry.steps.introspection import raw
from tenantry.steps.naming import StaticNames, tenant_of
from tenantry.steps.reference import ReferenceTrigger, TenantChange
from tenantry.steps.step import Before, Step
from tenantry.steps.trigger import drop_trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class DropTrigger(Step):
    """Drops a trigger of tenantry's. Reverting it does nothing, since a rollback drops the trigger as well, unless
    there is a `guard`: the trigger that a rollback needs until then. That is the one of the user's own column, under
    which the column's NULLs are restored, and those that keep references to mixed tables within a tenant once the
    composite keys are gone."""

    kind: Literal["trigger_ended"] = "trigger_ended"
    trigger: str
    function: Name
    made_by: str
    """How the key of the step that created it begins and, with `detail`, ends: the table stands in between."""
    detail: str = ""
    guard: AssignmentTrigger | ReferenceTrigger | TenantChange | None = None
    tree: tuple[Name, ...] = ()
    proof: str = ""
    """The key of the step that has validated what the trigger keeps true, if there is one."""

    @property
    def key(self) -> str:
        return f"trigger_ended:{self.table}:{self.trigger}"

    @property
    def title(self) -> str:
        return f"drop the trigger {self.trigger}"

    @property
    def ends(self) -> tuple[str, ...]:
        return (f"{self.made_by}:{self.table}{self.detail}", *((self.proof,) if self.proof else ()))

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

    def moved_to(self, table: Name) -> DropTrigger:
        """On a partition that was detached, to which no trigger comes back."""
        return replace(self, table=table, tree=(), guard=None)

    def renamed(self, names: StaticNames) -> DropTrigger:
        guard = self.guard
        if isinstance(guard, TenantChange):
            guard = replace(guard, tenant=tenant_of(names, guard.tenant))
        if isinstance(guard, TenantChange | ReferenceTrigger):
            guard = replace(guard, column=names.column(self.table, guard.column)).renamed(names)
        return replace(self, guard=guard)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        if self.guard is None:
            return ()
        names: tuple[Name, ...] = ()
        if isinstance(self.guard, ReferenceTrigger):
            names = (self.table, self.guard.hop.parent)
        elif isinstance(self.guard, TenantChange):
            names = (self.table, self.guard.tenant.table, *(one.table for one in self.guard.references))
        return tuple(_if_there(names, one) for one in self.guard.apply())


def _if_there(names: tuple[Name, ...], statement: Statement) -> Statement:
    """The statement, unless one of the tables was dropped."""
    if not names:
        return statement
    there = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(name.oid) for name in names)
    also = sql.SQL("true") if statement.when is None else sql.SQL("({})").format(statement.when)
    return replace(statement, when=sql.SQL("SELECT CASE WHEN {} THEN {} ELSE false END").format(there, also))


@dataclass(frozen=True, slots=True, kw_only=True)
class DropUserTrigger(Step):
    """Drops a trigger of the user's, since a distributed table can have none; its revert creates the trigger as it
    was, with the copies on partitions, which may fire in other modes."""

    kind: Literal["user_trigger_dropped"] = "user_trigger_dropped"
    trigger: UserTrigger
    partitions: tuple[Name, ...] = ()
    """All partitions below its table. One that is detached has lost its copy before or meanwhile."""

    @property
    def key(self) -> str:
        return f"user_trigger_dropped:{self.table}:{self.trigger.name}"

    @property
    def title(self) -> str:
        return f"drop the trigger {self.trigger.name}, which calls {self.trigger.function}"

    @property
    def gives_up(self) -> tuple[str, str]:
        return (
            f"The trigger {quoted(self.trigger.name)} of {self.table} is dropped: no table that is distributed or"
            " copied to each node can have one",
            f"Do the work of {self.trigger.function} in the application.",
        )

    @property
    def subject(self) -> str:
        return f"The end of the trigger {quoted(self.trigger.name)} on {self.table}"

    def _existing(self, table: Name) -> sql.Composed:
        return sql.SQL("SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = {} AND t.tgname = {}").format(
            table.oid, sql.Literal(self.trigger.name)
        )

    def original_table(self, table: Table, before: Before) -> Table:
        kept = [one for one in table.triggers if one.name != self.trigger.name]
        return replace(table, triggers=tuple(sorted((*kept, self.trigger), key=lambda one: one.name)))

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT 'gone' WHERE {} IS NOT NULL AND NOT EXISTS ({})").format(
            self.table.oid, self._existing(self.table)
        )

    def record(self) -> sql.Composable:
        described = "'enabled', t.tgenabled, 'comment', pg_catalog.obj_description(t.oid, 'pg_trigger'))"
        copies = sql.SQL(
            " || pg_catalog.jsonb_build_object('copies', (WITH RECURSIVE down(oid) AS (SELECT o.oid UNION ALL"
            " SELECT d.oid FROM down JOIN pg_catalog.pg_trigger d ON d.tgparentid = down.oid)"
            " SELECT pg_catalog.jsonb_object_agg(t.tgrelid::regclass::text, pg_catalog.jsonb_build_object({})"
            " FROM down JOIN pg_catalog.pg_trigger t USING (oid) WHERE t.oid <> o.oid))"
        ).format(raw(described))
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('trigger', pg_catalog.pg_get_triggerdef(t.oid), {}{}"
            " FROM pg_catalog.pg_trigger t, LATERAL (SELECT t.oid) AS o"
            " WHERE t.tgrelid = {} AND t.tgname = {} AND NOT t.tgisinternal"
        ).format(
            raw(described), copies if self.partitions else sql.SQL(""), self.table.oid, sql.Literal(self.trigger.name)
        )  # fmt: skip

    def apply(self) -> tuple[Statement, ...]:
        drop = sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(self.trigger.name), self.table.identifier)
        return (Statement(sql=drop, locks=self._locks(LockMode.ACCESS_EXCLUSIVE)),)

    def _locks(self, mode: LockMode) -> tuple[Lock, ...]:
        return tuple(Lock(table, mode) for table in (self.table, *self.partitions))

    def revert(self, before: Before) -> tuple[Statement, ...]:
        if not before.get("trigger"):
            return ()
        missing = sql.SQL("SELECT {} IS NOT NULL AND NOT EXISTS ({})").format(
            self.table.oid, self._existing(self.table)
        )
        found: list[tuple[sql.Composable, sql.Composable]] = [(raw(before["trigger"]), missing)]
        plain = before.get("enabled", "O") == "O"
        found += self._again(self.table, before, only=False, plain=True)
        copies = before.get("copies") or {}
        for partition in self.partitions:
            found += self._again(partition, copies.get(str(partition), {}), only=True, plain=plain)
        locks = self._locks(LockMode.SHARE_ROW_EXCLUSIVE)
        return tuple(Statement(sql=statement, locks=locks, when=when) for statement, when in found)

    def _again(
        self, table: Name, before: Before, *, only: bool, plain: bool
    ) -> Iterator[tuple[sql.Composable, sql.Composable]]:
        """The mode and the comment of the trigger, or of its copy; not the ordinary mode if it has that by now,
        `plain`. The trigger's mode is that of all its copies first, also of those on partitions that came since."""
        name, there = sql.Identifier(self.trigger.name), sql.SQL("SELECT EXISTS ({})").format(self._existing(table))
        mode = before.get("enabled")
        if mode is not None and not (plain and mode == "O"):
            enable = sql.SQL("ALTER TABLE {}{} {} TRIGGER {}").format(
                sql.SQL("ONLY " if only else ""), table.identifier, raw(_FIRING[mode]), name
            )
            yield enable, there
        if before.get("comment") is not None:
            text = sql.Literal(before["comment"])
            yield sql.SQL("COMMENT ON TRIGGER {} ON {} IS {}").format(name, table.identifier, text), there


_FIRING = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"}
"""pg_trigger.tgenabled, in the words of ALTER TABLE."""
