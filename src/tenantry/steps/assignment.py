"""The assignment trigger: it sets the tenant of rows that an application writes without naming one.

As hazards 1 to 3 require, it derives a tenant on UPDATE only if a path column changed or the tenant is NULL, never
overrides a tenant that the statement changes, and never replaces a tenant by NULL. It is a BEFORE trigger without a
column list, ENABLE ALWAYS, with a name that sorts last, SECURITY DEFINER as the table's owner with a pinned
search_path, and takes no lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.ownership import Hop
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.derivation import ByPath, Source, TenantReference, derived, equal
from tenantry.steps.introspection import raw, unchanged, with_search_path
from tenantry.steps.naming import StaticNames, Work, hops_of, paths_of, source_of, tenant_of
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
    alone,
    each,
    function_name,
    knows_no_tenants,
    named,
    privileges_to_read,
)

ASSIGN = "~tenantry_assign"
ADOPT = "~tenantry_adopt"
_DECLARE = sql.SQL("""
  derived {type};
  changed boolean;
  {declare}""")
# A fill fires this for each row, so the fill is checked first.
_RESTORE = sql.SQL("""
  IF TG_OP = 'UPDATE' THEN
    ours := {filling};
    IF ours IS NOT TRUE THEN{ask}
    END IF;
    IF ours THEN
      derived := NEW.{column};
      NEW := OLD;
      NEW.{column} := derived;
      RETURN NEW;
    END IF;
  END IF;""")
_WANTED = sql.SQL("""
  IF TG_OP = 'UPDATE' THEN
    IF NEW.{column} IS NULL AND OLD.{column} IS NOT NULL THEN
      NEW.{column} := OLD.{column};
    END IF;
    IF NEW.{column} IS NOT NULL THEN
      IF NEW.{column} IS DISTINCT FROM OLD.{column} THEN
        RETURN NEW;
      END IF;{changed}
      IF changed IS NOT TRUE THEN
        RETURN NEW;
      END IF;
    END IF;
  ELSIF NEW.{column} IS NOT NULL THEN
    RETURN NEW;
  END IF;""")
_ASSIGN = sql.SQL("""{value}
  IF derived IS NOT NULL THEN
    NEW.{column} := derived;
  ELSIF NEW.{column} IS NULL THEN{default}
    NEW.{column} := derived;
  END IF;""")
# Every row needs a tenant, and if there is only one tenant, it is that one.
_ONLY = sql.SQL("""
    IF NEW.{column} IS NULL THEN{ask}
      NEW.{column} := derived;
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
    """The column is the user's own: the trigger derives nothing, and only restores the other columns during a fill."""
    tenant: TenantReference
    of_owned = True

    @property
    def key(self) -> str:
        return f"assignment:{self.table}"

    @property
    def title(self) -> str:
        return (
            "keep a backfill from changing more than the tenant"
            if self.guard
            else "give new and changed rows their tenant"
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

    def renamed(self, names: StaticNames) -> AssignmentTrigger:
        sources = tuple(source_of(names, self.table, source) for source in self.sources)
        return replace(self, sources=sources, watched=names.columns(self.table, self.watched))

    def reaches(self) -> Iterator[Reach]:
        yield self.owner, self.table, ""
        yield from privileges_to_read(self.owner, self.sources)
        if self.fallback is not None or any(not isinstance(source, ByPath) for source in self.sources):
            yield from each(self.owner, self.tenant.table, READ)

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("BEFORE UPDATE" if self.guard else "BEFORE INSERT OR UPDATE")

    def apply(self) -> tuple[Statement, ...]:
        """A detached partition keeps the constraint that refuses a row without a tenant but loses the trigger that sets
        the tenant. So each partition has a second trigger, which does nothing while the one of the partitioned table
        exists."""
        return *RowTrigger.apply(self), *(statement for part in self.tree for statement in self._alone(part))

    @property
    def subject(self) -> str:
        parts = f" ({quoted(alone(self.trigger))} on each partition)" if self.tree and not self.guard else ""
        return f"The trigger {quoted(self.trigger)} on {self.table}{parts} with its function {self.function}"

    def definition(self) -> sql.Composable:
        """Includes the partitions that have lost their own trigger; a detached partition no longer counts."""
        whole = RowTrigger.definition(self)
        if self.guard or not self.tree:
            return whole
        return sql.SQL(
            "SELECT whole.text || COALESCE((SELECT pg_catalog.string_agg(E'\\nmissing on ' || c.oid::text, '')"
            " FROM pg_catalog.pg_class c WHERE c.oid IN ({parts}) AND c.relkind = 'r' AND c.relispartition"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = {name}"
            " AND NOT t.tgisinternal AND t.tgenabled = 'A')), '') FROM ({whole}) AS whole(text)"
        ).format(
            parts=sql.SQL(", ").join(part.oid for part in self.tree), name=sql.Literal(alone(self.trigger)), whole=whole
        )  # fmt: skip

    def _alone(self, part: Name) -> Iterator[Statement]:
        name, locks = sql.Identifier(alone(self.trigger)), (Lock(part, LockMode.SHARE_ROW_EXCLUSIVE),)
        leaf = sql.SQL("SELECT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = {} AND c.relkind = 'r')").format(
            part.oid
        )
        create = sql.SQL(
            "CREATE TRIGGER {} {} ON {} FOR EACH ROW WHEN (NEW.{} IS NULL) EXECUTE FUNCTION {}()"
        ).format(name, self.event, part.identifier, sql.Identifier(self.column), self.function.identifier)  # fmt: skip
        always = sql.SQL("ALTER TABLE ONLY {} ENABLE ALWAYS TRIGGER {}").format(part.identifier, name)
        if not self.guard:
            yield from (Statement(sql=one, locks=locks, when=leaf) for one in (create, always))

    def work(self) -> Work:
        """An UPDATE in a fill restores the row; one that changes no path column and finds the tenant set returns at
        once."""
        column = sql.Identifier(self.column)
        return Work(
            table=self.table, trigger=self.trigger, always=(self.column,), returns="NEW",
            declare=_DECLARE.format(type=raw(self.type), declare=DECLARE_OURS),
            first=_RESTORE.format(ask=ASK_OURS, filling=IN_FILL, column=column),
            statements=None if self.guard else lambda names: self._assigning(column, names),
            early=lambda names: self._derived_tenant(column, names),
            missed=None if self.guard else lambda names: _ONLY.format(column=column, ask=self._only(names)),
        )  # fmt: skip

    def _derived_tenant(self, column: sql.Identifier, names: StaticNames) -> sql.Composable:
        watched = [
            sql.SQL("NULLIF(NOT {}, false)").format(unchanged((name,), names.new, names.old))
            for name in names.columns(self.table, self.watched)
        ]
        changed = names.ask("changed", *watched) if watched else sql.SQL("")
        return _WANTED.format(column=column, changed=changed)

    def _assigning(self, column: sql.Identifier, names: StaticNames) -> sql.Composable:
        sources = [source_of(names, self.table, source).expression(names.new) for source in self.sources]
        value = names.ask("derived", *sources) if sources else sql.SQL("")
        default: sql.Composable = sql.SQL("")
        if self.fallback is not None:
            default = names.ask("derived", tenant_of(names, self.tenant).key_of(self.fallback))
        return _ASSIGN.format(column=column, value=value, default=default)

    def _only(self, names: StaticNames) -> sql.Composable:
        tenant = tenant_of(names, self.tenant)
        return names.ask(
            "derived",
            sql.SQL("(SELECT tenant.{key} FROM {table} AS tenant WHERE (SELECT pg_catalog.count(*) FROM {table}) = 1)")
            .format(key=sql.Identifier(tenant.key), table=tenant.table.identifier),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A parent row whose tenant is known only from this child: how to find it and what to set.

    `told` are the paths of the child that do not lead through this parent, `ways` are the parent's own paths, which
    take precedence. `shared`: a parent without a tenant belongs to all tenants and does not wait for one.
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

    def named(self, names: StaticNames) -> Adoption:
        """The same with the names that `names` uses."""
        back = Hop(columns=self.columns, parent=self.parent, parent_columns=self.parent_columns,
                   operators=self.operators)  # fmt: skip
        (hop,) = hops_of(names, self.child, (back,))
        return replace(
            self, parent=names.table(self.parent), parent_column=names.column(self.parent, self.parent_column),
            columns=hop.columns, parent_columns=hop.parent_columns, child=names.table(self.child),
            told=paths_of(names, self.child, self.told), ways=paths_of(names, self.parent, self.ways),
        )  # fmt: skip

    def update(self, names: StaticNames, child_column: str, setting: str, search_path: tuple[str, ...]) -> sql.Composed:
        """The parent without a tenant gets the child's tenant. SKIP LOCKED, so that it never waits: a parent that
        another session has locked gets its tenant from the next child or from the sweep.

        A parent of another tenant follows once all children with a tenant of their own have moved. This update waits
        for locks, as a foreign key's cascade does.

        Whether the session may change this parent is checked here, before the update, since the constraint that would
        refuse the child may be deferred: a session that names a tenant changes no parent that has a tenant, and gives
        one that has none only to that tenant.
        """
        here, parent, new, child = self.named(names), sql.SQL("parent"), names.new, sql.SQL("child")
        column, table = sql.Identifier(here.parent_column), here.parent.identifier
        # The tenant of the child's row: a column of tenantry's, which keeps its name.
        siblings = sql.SQL("{}.{}").format(child, sql.Identifier(names.column(self.child, child_column)))
        own = sql.SQL("{}.{}").format(new, sql.Identifier(names.column(self.child, child_column)))
        ways = sql.SQL(" AND {} IS NULL").format(derived(here.ways, parent)) if here.ways else sql.SQL("")
        old = knows_no_tenants(here.parent.oid, setting)
        unclaimed = old if self.shared else sql.SQL("({}::text = {} OR {})").format(own, named(setting), old)
        match = equal(parent, here.parent_columns, new, here.columns, here.operators)
        along = with_search_path(search_path)
        empty = sql.SQL("EXISTS (SELECT FROM {} AS parent WHERE {} AND parent.{} IS NULL)").format(table, match, column)
        other = sql.SQL("EXISTS (SELECT FROM {} AS parent WHERE {} AND parent.{} <> {}{})").format(
            table, match, column, own, ways
        )
        same = sql.SQL(" AND ").join(
            sql.SQL("child.{0} = {1}.{0}").format(sql.Identifier(name), new) for name in here.columns
        )
        moved = sql.SQL("{} AND {} = {} AND NOT EXISTS (SELECT FROM {} AS child WHERE {} AND {} <> {})").format(
            old, derived(here.told, new) if here.told else own, own, here.child.identifier, same,
            derived(here.told, child) if here.told else siblings, own,
        )  # fmt: skip
        take = sql.SQL(
            "UPDATE {table} AS target SET {column} = {own} WHERE target.ctid = ANY (ARRAY("
            "SELECT parent.ctid FROM {table} AS parent WHERE {match} AND parent.{column} IS NULL"
            " FOR NO KEY UPDATE SKIP LOCKED)) AND {along}"
        ).format(table=table, column=column, own=own, match=match, along=along)
        follow = sql.SQL(
            "UPDATE {table} AS parent SET {column} = {own} WHERE {match} AND parent.{column} <> {own} AND {along}"
        ).format(table=table, column=column, own=own, match=match, along=along)
        return sql.SQL("""
  IF NEW.{child_column} IS NOT NULL THEN{empty}
    IF yes THEN{unclaimed}
      IF yes THEN
        {begin}{take}
        {end}
      END IF;
    ELSIF ours IS NOT TRUE AND ({filling}) IS NOT TRUE THEN{other}
      IF yes THEN{moved}
        IF yes THEN
          {begin}{follow}
          {end}
        END IF;
      END IF;
    END IF;
  END IF;""").format(
            child_column=sql.Identifier(child_column), empty=names.ask("yes", empty),
            unclaimed=names.ask("yes", unclaimed), begin=BEGIN_UPDATE, end=END_UPDATE, filling=IN_FILL,
            other=names.ask("yes", other), moved=names.ask("yes", moved), take=names.do(take, self.parent),
            follow=names.do(follow, self.parent),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentTenantTrigger(RowTrigger):
    """AFTER INSERT OR UPDATE on a child: a parent without a tenant takes that of its first child, and changes tenant
    with its last child.

    AFTER, so that a row that ON CONFLICT DO NOTHING drops has no effect.
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

    def renamed(self, names: StaticNames) -> ParentTenantTrigger:
        return replace(self, adoptions=tuple(one.named(names) for one in self.adoptions))

    def reaches(self) -> Iterator[Reach]:
        for adoption in self.adoptions:
            yield from each(self.owner, adoption.parent, CHANGE)
            yield from each(self.owner, adoption.child, READ)
            yield from privileges_to_read(self.owner, (*adoption.told, *adoption.ways))

    def work(self) -> Work:
        return Work(
            table=self.table, trigger=self.trigger, always=(self.column,), first=ASK_OURS,
            declare=sql.SQL("\n  yes boolean;\n  {}").format(DECLARE_OURS),
            statements=lambda names: sql.Composed(
                [one.update(names, self.column, self.setting, self.search_path) for one in self.adoptions]
            ),
        )  # fmt: skip
