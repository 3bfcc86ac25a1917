"""Where a row moves to another tenant, the rows that derive from it follow, before a composite key can see to that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.steps.catalog import found_along, raw
from tenantry.steps.derivation import ByPath, derived, equal
from tenantry.steps.step import Reach
from tenantry.steps.trigger import (
    BEGIN_UPDATE,
    CHANGE,
    END_UPDATE,
    IN_FILL,
    RowTrigger,
    asked,
    each,
    function_name,
)

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
        fill it changes nothing but the tenant; the rows' own followers are told to go along. A row of a third tenant,
        which refers to the parent by mistake, is not the parent's to take."""
        row, new, column = sql.Identifier("target"), sql.SQL("NEW"), sql.Identifier(self.column)
        parent, was = (sql.SQL("{}.{}").format(raw(record), sql.Identifier(parent_column)) for record in ("NEW", "OLD"))
        first = sql.SQL(" AND {} = {}").format(derived(self.paths, row), parent) if self.paths else sql.SQL("")
        return sql.SQL(
            "\n  {begin}"
            "\n  UPDATE {table} AS target SET {column} = {parent}"
            " WHERE {match} AND (target.{column} = {was} OR target.{column} IS NULL){first} AND {along};"
            "\n  {end}"
        ).format(
            begin=BEGIN_UPDATE, end=END_UPDATE, table=self.table.identifier, column=column, parent=parent, was=was,
            match=equal(new, self.parent_columns, row, self.columns, self.operators), first=first,
            along=found_along(search_path),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowTrigger(RowTrigger):
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
    search_path: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"follow:{self.table}:{self.name}"

    @property
    def title(self) -> str:
        return "take along what derives from a row that changes its tenant: " + ", ".join(
            dict.fromkeys(str(follower.table) for follower in self.followers)
        )

    @property
    def trigger(self) -> str:
        return self.name

    @property
    def function(self) -> Name:
        return follow_function(self.table, self.name)

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("AFTER UPDATE")

    def moves(self, changed: frozenset[str]) -> tuple[Follower, ...]:
        return self.followers if self.column in changed else ()

    def reaches(self) -> Iterator[Reach]:
        for follower in self.followers:
            yield from each(self.owner, follower.table, CHANGE)
            yield from asked(self.owner, follower.paths)

    @property
    def manner(self) -> sql.Composable:
        return sql.SQL("FOR EACH ROW WHEN (NEW.{0} <> OLD.{0})").format(sql.Identifier(self.column))

    def code(self) -> sql.Composed:
        # A fill looks after the rows that derive from those that it fills; an update of our triggers does not.
        updates = (follower.update(self.column, self.search_path) for follower in self.followers)
        return sql.SQL("""
BEGIN
  IF {filling} THEN
    RETURN NULL;
  END IF;{updates}
  RETURN NULL;
END
""").format(filling=IN_FILL, updates=sql.SQL("").join(updates))
