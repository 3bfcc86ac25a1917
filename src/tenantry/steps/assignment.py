"""The assignment trigger: rows that an application writes without knowing of tenants get theirs.

What hazards 1 to 3 ask for: it derives on UPDATE only where a path column changed or the tenant is NULL, never
overrides a changed tenant, never replaces a tenant by NULL; BEFORE without a column list, ENABLE ALWAYS, a name that
sorts last, SECURITY DEFINER as the table's owner with a pinned search_path; it locks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, shortened
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.catalog import WORKSHOP, body, exists, found_along, raw, trigger_definition, unchanged
from tenantry.steps.derivation import ByPath, Source, TenantReference, derived, equal
from tenantry.steps.step import Before, Step

ASSIGN = "~tenantry_assign"
ADOPT = "~tenantry_adopt"
ADOPTING = "tenantry.adopting"
"""The setting by which an adoption tells the parent's triggers that its own children are to follow."""
PINNED = "pg_catalog, pg_temp"
"""The search_path of our functions, but for what they set off in the user's."""
PINNED_AGAIN = sql.SQL("pg_catalog.set_config('search_path', {}, true)").format(sql.Literal(PINNED))
FILLING = "tenantry.filling"
"""The setting by which a fill tells the trigger to restore every column but the tenant (hazard 5)."""


def function_name(table: Name, purpose: str) -> Name:
    """The table as SQL names it, so that no two tables share a function: a.b_c is not a_b.c."""
    return Name(WORKSHOP, shortened(f"{purpose} {table}"))


def create_function(function: Name, owner: str, code: sql.Composable) -> tuple[Statement, ...]:
    """A trigger function that runs as `owner` and that nobody can call.

    Row security is on in it, whatever the session says: a session that may bypass it turns it off, and then the owner,
    who may not, would get an error in place of the rows that its policy shows it (hazard 13).
    """
    create = sql.SQL(
        "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        " SET search_path = {} SET row_security = on AS {}"
    ).format(function.identifier, raw(PINNED), body(code))
    foreign = sql.SQL("SELECT current_user <> {}").format(sql.Literal(owner))
    grant = sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(sql.Identifier(WORKSHOP), sql.Identifier(owner))
    give = sql.SQL("ALTER FUNCTION {}() OWNER TO {}").format(function.identifier, sql.Identifier(owner))
    revoke = sql.SQL("REVOKE ALL ON FUNCTION {}() FROM PUBLIC").format(function.identifier)
    return (
        Statement(sql=create),
        Statement(sql=revoke),
        Statement(sql=grant, when=foreign),
        Statement(sql=give, when=foreign),
    )


def drop_trigger(table: Name, trigger: str, function: Name, tree: tuple[Name, ...]) -> tuple[Statement, ...]:
    """Drop a trigger and its function; it may be gone already."""
    there = exists(
        sql.SQL("SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = {} AND t.tgname = {}").format(
            table.oid, sql.Literal(trigger)
        )
    )
    locks = tuple(Lock(name, LockMode.ACCESS_EXCLUSIVE) for name in (table, *tree))
    drop = sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(trigger), table.identifier)
    gone = sql.SQL("DROP FUNCTION IF EXISTS {}()").format(function.identifier)
    return Statement(sql=drop, locks=locks, when=there), Statement(sql=gone)


def always(table: Name, trigger: str, tree: tuple[Name, ...]) -> tuple[Statement, ...]:
    """ENABLE ALWAYS on the table and on each partition, whose copies of a trigger are enabled one by one."""
    return tuple(
        Statement(
            sql=sql.SQL("ALTER TABLE ONLY {} ENABLE ALWAYS TRIGGER {}").format(
                name.identifier, sql.Identifier(trigger)
            ),
            locks=(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE),),
        )
        for name in (table, *tree)
    )


_RESTORE = sql.SQL("""
DECLARE
  derived {type};
BEGIN
  IF TG_OP = 'UPDATE' AND pg_catalog.current_setting({filling}, true) = 'on' THEN
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
class AssignmentTrigger(Step):
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
    owner: str
    tree: tuple[Name, ...] = ()

    @property
    def key(self) -> str:
        return f"assignment:{self.table}"

    @property
    def title(self) -> str:
        return (
            "keep a fill from changing more than the tenant" if self.guard else "give new and changed rows their tenant"
        )

    @property
    def function(self) -> Name:
        return function_name(self.table, "assign")

    def definition(self) -> sql.Composable:
        return trigger_definition(self.table, ASSIGN)

    def revises(self, earlier: Step) -> bool:
        return isinstance(earlier, AssignmentTrigger) and (earlier.owner != self.owner or earlier.code() != self.code())

    def code(self) -> sql.Composed:
        """The trigger function's body. An UPDATE in a fill restores the row; one that changes neither a path column
        nor finds the tenant NULL returns at once."""
        column = sql.Identifier(self.column)
        return _RESTORE.format(
            type=sql.SQL("{}.{}%TYPE").format(self.table.identifier, column), filling=sql.Literal(FILLING),
            column=column, assign=sql.SQL("") if self.guard else self._assigning(column),
        )  # fmt: skip

    def _assigning(self, column: sql.Identifier) -> sql.Composed:
        same: sql.Composable = sql.SQL("")
        if self.watched:
            same = sql.SQL(" AND {}").format(unchanged(self.watched))
        value = derived(self.sources, sql.SQL("NEW")) if self.sources else sql.SQL("NULL")
        default = self.tenant.key_of(self.fallback) if self.fallback is not None else sql.SQL("NULL")
        return _ASSIGN.format(column=column, same=same, value=value, default=default)

    def apply(self) -> tuple[Statement, ...]:
        locks = tuple(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE) for name in (self.table, *self.tree))
        create = sql.SQL("CREATE TRIGGER {} BEFORE {} ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
            sql.Identifier(ASSIGN),
            sql.SQL("UPDATE" if self.guard else "INSERT OR UPDATE"),
            self.table.identifier,
            self.function.identifier,
        )
        return (
            *create_function(self.function, self.owner, self.code()),
            *drop_trigger(self.table, ASSIGN, self.function, self.tree)[:1],
            Statement(sql=create, locks=locks),
            *always(self.table, ASSIGN, self.tree),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return drop_trigger(self.table, ASSIGN, self.function, self.tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A parent whose tenant shows only in this child: where to find it, and what to set.

    `told` are the child's paths that do not lead over this parent, `ways` the parent's own, which come first.
    """

    parent: Name
    parent_column: str
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    child: Name
    told: tuple[ByPath, ...] = ()
    ways: tuple[ByPath, ...] = ()

    def update(self, child_column: str, search_path: tuple[str, ...]) -> sql.Composed:
        """A parent without a tenant takes the child's. SKIP LOCKED, so that it waits for nobody: a parent that somebody
        holds gets its tenant from the next child, or from the sweep.

        A parent of another tenant follows once all children that know theirs by themselves have moved; it waits, as a
        foreign key's cascade does.
        """
        parent, new, child = sql.SQL("parent"), sql.SQL("NEW"), sql.SQL("child")
        column = sql.Identifier(child_column)
        siblings = sql.SQL("{}.{}").format(child, column)
        own = sql.SQL("{}.{}").format(new, column)
        ways = sql.SQL(" AND {} IS NULL").format(derived(self.ways, parent)) if self.ways else sql.SQL("")
        return sql.SQL("""
  IF NEW.{child_column} IS NOT NULL THEN
    IF EXISTS (SELECT FROM {table} AS parent WHERE {match} AND parent.{column} IS NULL) THEN
      PERFORM pg_catalog.set_config({filling}, 'on', true);
      UPDATE {table} AS target SET {column} = NEW.{child_column} WHERE target.ctid = ANY (ARRAY(
        SELECT parent.ctid FROM {table} AS parent WHERE {match} AND parent.{column} IS NULL
        FOR NO KEY UPDATE SKIP LOCKED)) AND {along};
      PERFORM pg_catalog.set_config({filling}, '', true), {pinned};
    ELSIF pg_catalog.current_setting({filling}, true) IS DISTINCT FROM 'on'
      AND EXISTS (SELECT FROM {table} AS parent WHERE {match} AND parent.{column} <> NEW.{child_column}{ways})
      AND {told} = NEW.{child_column}
      AND NOT EXISTS (SELECT FROM {child_table} AS child WHERE {siblings} AND {siblings_told} <> NEW.{child_column})
    THEN
      PERFORM pg_catalog.set_config({filling}, 'on', true), pg_catalog.set_config({adopting}, 'on', true);
      UPDATE {table} AS parent SET {column} = NEW.{child_column}
      WHERE {match} AND parent.{column} <> NEW.{child_column} AND {along};
      PERFORM pg_catalog.set_config({filling}, '', true), pg_catalog.set_config({adopting}, '', true), {pinned};
    END IF;
  END IF;""").format(
            child_column=column, table=self.parent.identifier, column=sql.Identifier(self.parent_column),
            match=equal(parent, self.parent_columns, new, self.columns, self.operators), ways=ways,
            filling=sql.Literal(FILLING), adopting=sql.Literal(ADOPTING), child_table=self.child.identifier,
            siblings=sql.SQL(" AND ").join(
                sql.SQL("child.{0} = NEW.{0}").format(sql.Identifier(name)) for name in self.columns
            ),
            told=derived(self.told, new) if self.told else own,
            siblings_told=derived(self.told, child) if self.told else siblings,
            along=found_along(search_path), pinned=PINNED_AGAIN,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionTrigger(Step):
    """AFTER INSERT OR UPDATE on a child: a parent without a tenant takes its first child's, and moves with its last.

    AFTER, so that a row that ON CONFLICT DO NOTHING drops tells nothing.
    """

    kind: Literal["adoption"] = "adoption"
    column: str
    adoptions: tuple[Adoption, ...]
    owner: str
    search_path: tuple[str, ...] = ()
    tree: tuple[Name, ...] = ()

    @property
    def key(self) -> str:
        return f"adoption:{self.table}"

    @property
    def title(self) -> str:
        return "give parents the tenant of their first child: " + ", ".join(str(a.parent) for a in self.adoptions)

    @property
    def function(self) -> Name:
        return function_name(self.table, "adopt")

    def definition(self) -> sql.Composable:
        return trigger_definition(self.table, ADOPT)

    def revises(self, earlier: Step) -> bool:
        own = (self.owner, self.adoptions)
        return isinstance(earlier, AdoptionTrigger) and (earlier.owner, earlier.adoptions) != own

    def apply(self) -> tuple[Statement, ...]:
        code = sql.SQL("\nBEGIN{}\n  RETURN NULL;\nEND\n").format(
            sql.SQL("").join(adoption.update(self.column, self.search_path) for adoption in self.adoptions)
        )
        locks = tuple(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE) for name in (self.table, *self.tree))
        create = sql.SQL("CREATE TRIGGER {} AFTER INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
            sql.Identifier(ADOPT), self.table.identifier, self.function.identifier
        )
        return (
            *create_function(self.function, self.owner, code),
            *drop_trigger(self.table, ADOPT, self.function, self.tree)[:1],
            Statement(sql=create, locks=locks),
            *always(self.table, ADOPT, self.tree),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return drop_trigger(self.table, ADOPT, self.function, self.tree)
