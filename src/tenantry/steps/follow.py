"""Where a row moves to another tenant, the rows that derive from it follow, before a composite key can see to that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.assignment import (
    ADOPTING,
    FILLING,
    PINNED_AGAIN,
    always,
    create_function,
    drop_trigger,
    function_name,
)
from tenantry.steps.catalog import found_along, trigger_definition
from tenantry.steps.derivation import ByPath, derived, equal
from tenantry.steps.step import Before, Step

FOLLOW = "~tenantry_follow"


def follow_function(table: Name, trigger: str) -> Name:
    return function_name(table, trigger.removeprefix("~tenantry_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A table whose rows find their tenant in the parent, by `columns`; `paths` are all its paths, if it has others."""

    table: Name
    column: str
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    paths: tuple[ByPath, ...] = ()

    def update(self, parent_column: str, search_path: tuple[str, ...]) -> sql.Composed:
        """It waits for rows that others hold, as a foreign key's cascade does: skipped, they would stay behind. Like a
        fill it changes nothing but the tenant; the rows' own followers are told to go along."""
        row, new, column = sql.Identifier("target"), sql.SQL("NEW"), sql.Identifier(self.column)
        parent = sql.SQL("NEW.{}").format(sql.Identifier(parent_column))
        first = sql.SQL(" AND {} = {}").format(derived(self.paths, row), parent) if self.paths else sql.SQL("")
        return sql.SQL(
            "\n  PERFORM pg_catalog.set_config({filling}, 'on', true), pg_catalog.set_config({adopting}, 'on', true);"
            "\n  UPDATE {table} AS target SET {column} = {parent}"
            " WHERE {match} AND target.{column} IS DISTINCT FROM {parent}{first} AND {along};"
            "\n  PERFORM {pinned};"
        ).format(
            filling=sql.Literal(FILLING), adopting=sql.Literal(ADOPTING),
            table=self.table.identifier, column=column, parent=parent,
            match=equal(new, self.parent_columns, row, self.columns, self.operators), first=first,
            along=found_along(search_path), pinned=PINNED_AGAIN,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowTrigger(Step):
    """AFTER UPDATE: does what the ON UPDATE CASCADE of the composite keys will, which come in enforce, and in contract
    where the table's rows may wait for their tenant.

    Without it, whoever writes below a row that has moved fails between the NOT VALID key and the sweep: the new row
    has the new tenant, and its other parent still the old one. One trigger for each owner of followers, as whom it
    runs.
    """

    kind: Literal["follow"] = "follow"
    name: str
    column: str
    followers: tuple[Follower, ...]
    owner: str
    search_path: tuple[str, ...] = ()
    tree: tuple[Name, ...] = ()

    @property
    def key(self) -> str:
        return f"follow:{self.table}:{self.name}"

    @property
    def title(self) -> str:
        return "take along what derives from a row that changes its tenant: " + ", ".join(
            dict.fromkeys(str(follower.table) for follower in self.followers)
        )

    @property
    def function(self) -> Name:
        return follow_function(self.table, self.name)

    def definition(self) -> sql.Composable:
        return trigger_definition(self.table, self.name)

    def revises(self, earlier: Step) -> bool:
        own = (self.owner, self.followers)
        return isinstance(earlier, FollowTrigger) and (earlier.owner, earlier.followers) != own

    def apply(self) -> tuple[Statement, ...]:
        # A fill looks after the rows that derive from those that it fills; an adoption does not.
        code = sql.SQL("""
BEGIN
  IF pg_catalog.current_setting({filling}, true) = 'on'
     AND pg_catalog.current_setting({adopting}, true) IS DISTINCT FROM 'on' THEN
    RETURN NULL;
  END IF;{updates}
  PERFORM pg_catalog.set_config({filling}, '', true), pg_catalog.set_config({adopting}, '', true);
  RETURN NULL;
END
""").format(
            filling=sql.Literal(FILLING), adopting=sql.Literal(ADOPTING),
            updates=sql.SQL("").join(follower.update(self.column, self.search_path) for follower in self.followers),
        )  # fmt: skip
        locks = tuple(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE) for name in (self.table, *self.tree))
        create = sql.SQL(
            "CREATE TRIGGER {} AFTER UPDATE ON {} FOR EACH ROW"
            " WHEN (NEW.{column} <> OLD.{column}) EXECUTE FUNCTION {}()"
        ).format(
            sql.Identifier(self.name), self.table.identifier, self.function.identifier,
            column=sql.Identifier(self.column),
        )  # fmt: skip
        return (
            *create_function(self.function, self.owner, code),
            *drop_trigger(self.table, self.name, self.function, self.tree)[:1],
            Statement(sql=create, locks=locks),
            *always(self.table, self.name, self.tree),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return drop_trigger(self.table, self.name, self.function, self.tree)
