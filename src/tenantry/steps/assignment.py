"""The assignment trigger: rows that an application writes without knowing of tenants get theirs.

What hazards 1 to 3 ask for: it derives on UPDATE only where a path column changed or the tenant is NULL, never
overrides a changed tenant, never replaces a tenant by NULL; BEFORE without a column list, ENABLE ALWAYS, a name that
sorts last, SECURITY DEFINER as the table's owner with a pinned search_path; it locks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.steps.catalog import found_along, unchanged
from tenantry.steps.derivation import ByPath, Source, TenantReference, derived, equal
from tenantry.steps.step import Reach
from tenantry.steps.trigger import (
    ASK_OURS,
    BEGIN_UPDATE,
    CHANGE,
    DECLARE_OURS,
    END_UPDATE,
    IN_FILL,
    READ,
    RowTrigger,
    asked,
    each,
    function_name,
    knows_no_tenants,
    named,
)

ASSIGN = "~tenantry_assign"
ADOPT = "~tenantry_adopt"
# A user's expression over the row may name a column as a variable here is named.
_RESTORE = sql.SQL("""
#variable_conflict use_column
DECLARE
  derived {type};
  {declare}
BEGIN{ask}
  IF TG_OP = 'UPDATE' AND (ours OR {filling}) THEN
    derived := NEW.{column};
    NEW := OLD;
    NEW.{column} := derived;
    RETURN NEW;
  END IF;{assign}
  RETURN NEW;
END
""")
_ASSIGN = sql.SQL("""
  IF TG_OP = 'UPDATE' THEN
    IF NEW.{column} IS NULL AND OLD.{column} IS NOT NULL THEN
      NEW.{column} := OLD.{column};
    END IF;
    IF NEW.{column} IS NOT NULL
       AND (NEW.{column} IS DISTINCT FROM OLD.{column} OR (true{same})) THEN
      RETURN NEW;
    END IF;
  ELSIF NEW.{column} IS NOT NULL THEN
    RETURN NEW;
  END IF;
  derived := {value};
  IF derived IS NOT NULL THEN
    NEW.{column} := derived;
  ELSIF NEW.{column} IS NULL THEN
    NEW.{column} := {default};
  END IF;""")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentTrigger(RowTrigger):
    """BEFORE INSERT OR UPDATE: the tenant of a row from its paths, a constant, or the default for rows that no path
    reaches. `watched` are the columns of the row that its paths start from."""

    kind: Literal["assignment"] = "assignment"
    column: str
    type: str
    sources: tuple[Source, ...]
    watched: tuple[str, ...] = ()
    fallback: str | None = None
    """Slug of the tenant for rows that no source reaches."""
    guard: bool = False
    """The column is the user's own: the trigger derives nothing, and only restores rows in a fill."""
    tenant: TenantReference
    of_owned = True

    @property
    def key(self) -> str:
        return f"assignment:{self.table}"

    @property
    def title(self) -> str:
        return (
            "keep a fill from changing more than the tenant" if self.guard else "give new and changed rows their tenant"
        )

    @property
    def trigger(self) -> str:
        return ASSIGN

    @property
    def function(self) -> Name:
        return function_name(self.table, "assign")

    @property
    def shields(self) -> tuple[Name, ...]:
        return (self.table, *self.tree)

    @property
    def derives(self) -> tuple[tuple[Name, tuple[Source, ...]], ...]:
        return ((self.table, self.sources),)

    def reaches(self) -> Iterator[Reach]:
        yield self.owner, self.table, ""
        yield from asked(self.owner, self.sources)
        if self.fallback is not None or any(not isinstance(source, ByPath) for source in self.sources):
            yield from each(self.owner, self.tenant.table, READ)

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("BEFORE UPDATE" if self.guard else "BEFORE INSERT OR UPDATE")

    def code(self) -> sql.Composed:
        """The trigger function's body. An UPDATE in a fill restores the row; one that changes neither a path column
        nor finds the tenant NULL returns at once."""
        column = sql.Identifier(self.column)
        return _RESTORE.format(
            type=sql.SQL("{}.{}%TYPE").format(self.table.identifier, column), declare=DECLARE_OURS, ask=ASK_OURS,
            filling=IN_FILL, column=column, assign=sql.SQL("") if self.guard else self._assigning(column),
        )  # fmt: skip

    def _assigning(self, column: sql.Identifier) -> sql.Composed:
        same: sql.Composable = sql.SQL("")
        if self.watched:
            same = sql.SQL(" AND {}").format(unchanged(self.watched))
        value = derived(self.sources, sql.SQL("NEW")) if self.sources else sql.SQL("NULL")
        default = self.tenant.key_of(self.fallback) if self.fallback is not None else sql.SQL("NULL")
        return _ASSIGN.format(column=column, same=same, value=value, default=default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A parent whose tenant shows only in this child: where to find it, and what to set.

    `told` are the child's paths that do not lead over this parent, `ways` the parent's own, which come first.
    `shared`: a parent without a tenant is everybody's, and not waiting for its own.
    """

    parent: Name
    parent_column: str
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    child: Name
    told: tuple[ByPath, ...] = ()
    ways: tuple[ByPath, ...] = ()
    shared: bool = False

    def update(self, child_column: str, setting: str, search_path: tuple[str, ...]) -> sql.Composed:
        """A parent without a tenant takes the child's. SKIP LOCKED, so that it waits for nobody: a parent that somebody
        holds gets its tenant from the next child, or from the sweep.

        A parent of another tenant follows once all children that know theirs by themselves have moved; it waits, as a
        foreign key's cascade does.

        Whose parent it is, is asked here, before the update, since what would refuse the child may be deferred: a
        session that names a tenant takes nothing that has one, and what has none for that tenant alone.
        """
        parent, new, child = sql.SQL("parent"), sql.SQL("NEW"), sql.SQL("child")
        column = sql.Identifier(child_column)
        siblings = sql.SQL("{}.{}").format(child, column)
        own = sql.SQL("{}.{}").format(new, column)
        ways = sql.SQL(" AND {} IS NULL").format(derived(self.ways, parent)) if self.ways else sql.SQL("")
        old = knows_no_tenants(self.parent, setting)
        unclaimed = old if self.shared else sql.SQL("({}::text = {} OR {})").format(own, named(setting), old)
        return sql.SQL("""
  IF NEW.{child_column} IS NOT NULL THEN
    IF EXISTS (SELECT FROM {table} AS parent WHERE {match} AND parent.{column} IS NULL) THEN
      IF {unclaimed} THEN
        {begin}
        UPDATE {table} AS target SET {column} = NEW.{child_column} WHERE target.ctid = ANY (ARRAY(
          SELECT parent.ctid FROM {table} AS parent WHERE {match} AND parent.{column} IS NULL
          FOR NO KEY UPDATE SKIP LOCKED)) AND {along};
        {end}
      END IF;
    ELSIF NOT ours AND ({filling}) IS NOT TRUE
      AND EXISTS (SELECT FROM {table} AS parent WHERE {match} AND parent.{column} <> NEW.{child_column}{ways})
    THEN
      IF {old} AND {told} = NEW.{child_column}
        AND NOT EXISTS (SELECT FROM {child_table} AS child WHERE {siblings} AND {siblings_told} <> NEW.{child_column})
      THEN
        {begin}
        UPDATE {table} AS parent SET {column} = NEW.{child_column}
        WHERE {match} AND parent.{column} <> NEW.{child_column} AND {along};
        {end}
      END IF;
    END IF;
  END IF;""").format(
            child_column=column, table=self.parent.identifier, column=sql.Identifier(self.parent_column),
            match=equal(parent, self.parent_columns, new, self.columns, self.operators), ways=ways,
            begin=BEGIN_UPDATE, end=END_UPDATE, unclaimed=unclaimed, old=old, filling=IN_FILL,
            child_table=self.child.identifier,
            siblings=sql.SQL(" AND ").join(
                sql.SQL("child.{0} = NEW.{0}").format(sql.Identifier(name)) for name in self.columns
            ),
            told=derived(self.told, new) if self.told else own,
            siblings_told=derived(self.told, child) if self.told else siblings,
            along=found_along(search_path),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionTrigger(RowTrigger):
    """AFTER INSERT OR UPDATE on a child: a parent without a tenant takes its first child's, and moves with its last.

    AFTER, so that a row that ON CONFLICT DO NOTHING drops tells nothing.
    """

    kind: Literal["adoption"] = "adoption"
    column: str
    adoptions: tuple[Adoption, ...]
    setting: str = ""
    search_path: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"adoption:{self.table}"

    @property
    def title(self) -> str:
        return "give parents the tenant of their first child: " + ", ".join(str(a.parent) for a in self.adoptions)

    @property
    def trigger(self) -> str:
        return ADOPT

    @property
    def function(self) -> Name:
        return function_name(self.table, "adopt")

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("AFTER INSERT OR UPDATE")

    @property
    def adopts(self) -> tuple[Adoption, ...]:
        return self.adoptions

    def reaches(self) -> Iterator[Reach]:
        for adoption in self.adoptions:
            yield from each(self.owner, adoption.parent, CHANGE)
            yield from each(self.owner, adoption.child, READ)
            yield from asked(self.owner, (*adoption.told, *adoption.ways))

    def code(self) -> sql.Composed:
        updates = (adoption.update(self.column, self.setting, self.search_path) for adoption in self.adoptions)
        return sql.SQL("\nDECLARE\n  {}\nBEGIN{}{}\n  RETURN NULL;\nEND\n").format(
            DECLARE_OURS, ASK_OURS, sql.SQL("").join(updates)
        )
