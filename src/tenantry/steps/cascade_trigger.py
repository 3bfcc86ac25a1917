"""If a row moves to another tenant, the rows that derive their tenant from it follow, before composite keys can do
that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.ownership import Hop
from tenantry.steps.assignment import ASSIGN
from tenantry.steps.derivation import ByPath, derived, equal
from tenantry.steps.introspection import with_search_path
from tenantry.steps.naming import StaticNames, Work, hops_of, paths_of
from tenantry.steps.step import Reach
from tenantry.steps.trigger import (
    BEGIN_UPDATE,
    CHANGE,
    END_UPDATE,
    IN_FILL,
    SWEEPING,
    RowTrigger,
    each,
    function_name,
    privileges_to_read,
)

FOLLOW = "~tenantry_follow"


def follow_function(table: Name, trigger: str) -> Name:
    return function_name(table, trigger.removeprefix("~tenantry_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A table whose rows get their tenant from the parent through `columns`; `paths` are all its paths, if it has
    others."""

    table: Name
    column: str
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    paths: tuple[ByPath, ...] = ()
    assigned: bool = False
    """Its rows get their tenant from the assignment trigger: before that exists, no row has a tenant to change."""

    def named(self, names: StaticNames, parent: Name) -> Follower:
        """The same with the names that `names` uses; `parent` is the table that its rows follow."""
        (hop,) = hops_of(
            names, self.table,
            (Hop(columns=self.columns, parent=parent, parent_columns=self.parent_columns, operators=self.operators),),
        )  # fmt: skip
        return replace(
            self, table=names.table(self.table), column=names.column(self.table, self.column), columns=hop.columns,
            parent_columns=hop.parent_columns, paths=paths_of(names, self.table, self.paths),
        )  # fmt: skip

    def update(
        self, names: StaticNames, parent: Name, parent_column: str, search_path: tuple[str, ...]
    ) -> sql.Composed:
        """It waits for rows that other sessions have locked, as a foreign key's cascade does; rows that were skipped
        would keep the old tenant. Like a fill it changes only the tenant, and the rows' own followers are told to
        follow. A row of a third tenant, which refers to the parent by mistake, is not changed."""
        row, own = sql.Identifier("target"), names.column(parent, parent_column)
        to, was = (sql.SQL("{}.{}").format(record, sql.Identifier(own)) for record in (names.new, names.old))
        here = self.named(names, parent)
        first = sql.SQL(" AND {} = {}").format(derived(here.paths, row), to) if here.paths else sql.SQL("")
        begun = sql.SQL(
            " AND EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = {} AND t.tgname = {})"
        ).format(here.table.oid, sql.Literal(ASSIGN))
        update = sql.SQL(
            "UPDATE {table} AS target SET {column} = {to}"
            " WHERE {match} AND (target.{column} = {was} OR target.{column} IS NULL){first}{begun} AND {along}"
        ).format(
            begun=begun if self.assigned else sql.SQL(""),
            table=here.table.identifier, column=sql.Identifier(here.column), to=to, was=was, first=first,
            match=equal(names.new, here.parent_columns, row, here.columns, here.operators),
            along=with_search_path(search_path),
        )  # fmt: skip
        return sql.SQL("\n  {}{}\n  {}").format(BEGIN_UPDATE, names.do(update, self.table), END_UPDATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantCascadeTrigger(RowTrigger):
    """AFTER UPDATE: does what the ON UPDATE CASCADE of the composite keys will do. Those come in enforce, and in
    contract if rows of the table may wait for their tenant.

    Without it, a session that writes to a child of a row that has moved would fail between the NOT VALID key and the
    sweep: the new row has the new tenant, and its other parent still the old one. There is one trigger for each owner
    of followers, and it runs as that owner.
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
        return "when a row changes its tenant, change that of the rows below it: " + ", ".join(
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

    def renamed(self, names: StaticNames) -> TenantCascadeTrigger:
        return replace(self, followers=tuple(one.named(names, self.table) for one in self.followers))

    def moves(self, changed: frozenset[str]) -> tuple[Follower, ...]:
        return self.followers if self.column in changed else ()

    def reaches(self) -> Iterator[Reach]:
        for follower in self.followers:
            yield from each(self.owner, follower.table, CHANGE)
            yield from privileges_to_read(self.owner, follower.paths)

    @property
    def manner(self) -> sql.Composable:
        return sql.SQL("FOR EACH ROW WHEN (NEW.{0} <> OLD.{0})").format(sql.Identifier(self.column))

    def work(self) -> Work:
        # A fix corrects each row separately. A sweep takes rows along: if they were left to the next sweep, they would
        # keep the old tenant if the application moves their parent meanwhile, since that statement looks for the tenant
        # before and does not see what the sweep is writing.
        fix = sql.SQL("{} AND pg_catalog.current_setting({}, true) IS DISTINCT FROM 'on'")
        return Work(
            table=self.table, trigger=self.trigger,
            first=sql.SQL("\n  IF {} THEN\n    RETURN NULL;\n  END IF;").format(
                fix.format(IN_FILL, sql.Literal(SWEEPING))
            ),
            statements=lambda names: sql.Composed(
                [one.update(names, self.table, self.column, self.search_path) for one in self.followers]
            ),
        )  # fmt: skip
