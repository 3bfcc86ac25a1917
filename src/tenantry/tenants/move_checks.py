"""What prevents the move of a tenant between two servers, found out before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from psycopg import sql

from tenantry.backups.content import checksum, row_text, rows_of
from tenantry.errors import Refused
from tenantry.execution.events import Reading
from tenantry.execution.existing import survey
from tenantry.execution.tenant_table import Tenant
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.model.schema import Table
from tenantry.model.wording import counted
from tenantry.planning.diff import differing
from tenantry.planning.tenant_selection import SelectedTable
from tenantry.postgres.backups import set_stable_text_format
from tenantry.postgres.moves import Moves
from tenantry.postgres.replication import (
    Capacity,
    ReplicatedTable,
    is_session_of,
    read_capacity,
    read_columns,
    read_referring_keys,
    read_table,
)
from tenantry.tenants.removal import TenantRemoval
from tenantry.tenants.scope import TenantScope, key_text

OLDEST = 150000
"""The first version whose publications have row filters."""
WORKERS = 2
"""Workers that the target needs: one that applies changes, and one that copies tables."""


@dataclass(frozen=True, kw_only=True)
class MoveChecks:
    """Both sides of a move, and what is to be checked of them. `removal` is that of the tenant at the source."""

    source: TenantScope
    target: TenantScope
    tenant: Tenant
    removal: TenantRemoval

    # --- what is always required

    def refuse_unprepared(self) -> None:
        """Raises Refused if a side cannot be part of a move at all, whatever its rows: before anything else is read."""
        if is_session_of(self.target.connection, self.source.connection):
            raise Refused("The source and the target are the same database", remedy="Name another database by --to.")
        for name, scope in self._sides:
            refuse_unprepared(name, scope)

    @cached_property
    def _sides(self) -> tuple[tuple[str, TenantScope], ...]:
        return ("source", self.source), ("target", self.target)

    @cached_property
    def tables(self) -> tuple[SelectedTable, ...]:
        """The tables with rows of tenants, parents first."""
        return tuple(self.source.selection.tables.values())

    # --- before the beginning

    def problems(self) -> Iterator[str]:
        """A sentence for each obstacle."""
        yield from self._capacity()
        fits = list(self._structure())
        yield from fits
        yield from self._tables()
        if not fits:
            yield from self.tenant_there()
            yield from self.shared()
        yield from self.referring()

    def _capacity(self) -> Iterator[str]:
        source, target = (read_capacity(scope.connection) for _, scope in self._sides)
        if source.wal_level != "logical":
            yield f"wal_level is {source.wal_level} at the source: set it to logical, and restart the server"
        if source.free_slots < WORKERS:
            yield f"the source has {source.free_slots} free replication slots, and a move needs {WORKERS}: raise" \
                " max_replication_slots"  # fmt: skip
        if source.free_senders < WORKERS:
            yield f"the source has {source.free_senders} free WAL senders, and a move needs {WORKERS}: raise" \
                " max_wal_senders"  # fmt: skip
        if target.free_origins < WORKERS:
            yield f"the target has {target.free_origins} free replication origins, and a move needs {WORKERS}: raise" \
                " max_replication_slots (since 18 max_active_replication_origins)"  # fmt: skip
        if target.free_workers < WORKERS:
            yield f"the target has {target.free_workers} free workers for logical replication, and a move needs" \
                f" {WORKERS}: raise max_logical_replication_workers"  # fmt: skip
        yield from self._roles(source, target)

    def _roles(self, source: Capacity, target: Capacity) -> Iterator[str]:
        user, other = (quoted(scope.connection.info.user) for _, scope in self._sides)
        if not source.replicates:
            yield f"{user} may not replicate from the source: ALTER ROLE {user} REPLICATION"
        if not source.creates:
            yield f"{user} may not create a publication at the source: GRANT CREATE ON DATABASE … TO {user}"
        if not target.subscribes and target.version >= 160000:
            yield f"{other} may not create a subscription at the target: GRANT pg_create_subscription TO {other}"
        if not target.superuser and target.version < 160000:
            yield f"{other} may not create a subscription at the target: before PostgreSQL 16 only a superuser" \
                " can"  # fmt: skip
        if not target.creates:
            yield f"{other} may not create a subscription at the target: GRANT CREATE ON DATABASE … TO {other}"
        for (name, scope), capacity in zip(self._sides, (source, target), strict=True):
            if not capacity.bypasses:
                role = quoted(scope.connection.info.user)
                yield f"policies apply to the role {role} at the {name}, so that rows cannot be copied: ALTER ROLE" \
                    f" {role} BYPASSRLS"  # fmt: skip

    def _structure(self) -> Iterator[str]:
        """How the target's tables differ from the source's."""
        found = differing(self.source.session.entries, self.target.session.entries)
        if found:
            yield f"the two databases were migrated by different specs: {counted(len(found), 'step')}, such as" \
                f" {found[0]}"  # fmt: skip
        schema, other = self.source.selection.schema, self.target.selection.schema
        for name in (*(table.name for table in self.tables), *self._shared):
            if name not in other.tables:
                yield f"the target has no table {name}"
            elif name in schema.tables:
                yield from _differences(schema.tables[name], other.tables[name])
        for name in sorted(self.target.selection.tables.keys() - self.source.selection.tables.keys()):
            yield f"{name} has rows of tenants at the target, and not at the source"

    @property
    def _shared(self) -> tuple[Name, ...]:
        return self.source.selection.ownership.shared

    def _tables(self) -> Iterator[str]:
        for name, scope in self._sides:
            for table in scope.selection.tables.values():
                found = read_table(scope.connection, table.name, table.column)
                if found is None:
                    yield f"{table.name} has no column {quoted(table.column)} at the {name}"
                    continue
                yield from self._table(name, scope, table, found)

    def _table(self, side: str, scope: TenantScope, table: SelectedTable, found: ReplicatedTable) -> Iterator[str]:
        of_tenants = table.name == scope.selection.ownership.tenant.name
        if not found.plain:
            yield f"{table.name} at the {side} is not a plain, logged table"
        if found.stranger:
            yield (
                f"{table.name} at the {side} belongs to {quoted(found.owner)}, whose code replication would run as"
                f" {quoted(scope.connection.info.user)}: connect as {quoted(found.owner)}"
            )
        elif not found.may_alter:
            yield f"{table.name} at the {side} belongs to {quoted(found.owner)}: connect as that role"
        if not found.tenant_keys and found.incomparable is not None:
            yield (
                f"{table.name} at the {side} has no unique key by which rows are found, and values of"
                f" {quoted(found.incomparable)} cannot be compared: add a primary key that begins with the tenant"
            )
        if found.global_keys and not of_tenants:
            yield f"{table.name} at the {side} has a unique key without the tenant: {', '.join(found.global_keys)}"

    def changed_columns(self) -> Iterator[str]:
        """Columns that one side has now and the other does not: since the beginning somebody has changed a table."""
        missing: set[Name] = set()
        found = []
        for side, scope in self._sides:
            columns = self._columns(scope)
            gone = [table.name for table in self.tables if table.name not in columns]
            yield from (f"the {side} has no table {name} any more" for name in gone)
            missing.update(gone)
            found.append({text for name, texts in columns.items() for text in texts.values()})
        here, there = found
        for text in sorted((here - there) | (there - here)):
            if not any(text.startswith(f"{name}.") for name in missing):
                yield f"the {'target' if text in here else 'source'} does not have the column {text}"

    def _columns(self, scope: TenantScope) -> dict[Name, dict[str, str]]:
        return read_columns(scope.connection, [table.name for table in self.tables])

    def _new_since(self) -> Iterator[str]:
        """What this run does not know of, because it came after the schema was read."""
        for side, scope in self._sides:
            for name, columns in self._columns(scope).items():
                known = {column.name for column in scope.selection.schema.tables[name].columns}
                yield from (f"the {side} has the column {columns[one]}" for one in sorted(columns.keys() - known))
        schema = self.source.selection.schema
        keys = {(name, key.name) for name, table in schema.tables.items() for key in table.foreign_keys}
        for name, key, parent in read_referring_keys(self.source.connection, [table.name for table in self.tables]):
            # Between tables with rows of tenants, keys contain the tenant.
            if (name, key) not in keys and name not in self.source.selection.tables:
                yield f"the foreign key {quoted(key)} of {name} leads to {parent}"

    def refuse_changed(self) -> None:
        """Raises Refused if the tables of both sides have other columns by now, or if there are columns or references
        of which this run does not know."""
        found = list(self._new_since())
        if not (unlike := list(self.changed_columns())) and found:
            raise Refused(
                f"The tables were changed while this run went on: {found[0]}",
                remedy="Run the same command again: it reads the schema anew.",
                details=found[1:],
            )
        found = unlike
        if found:
            raise Refused(
                f"The tables are not the same on both sides any more: {found[0]}",
                remedy="Change the tables at the target so that they are like those at the source, then run the same"
                " command again. Or undo the change where it was made; or end the move by --abort.",
                details=found[1:],
            )

    # --- rows

    def tenant_there(self) -> Iterator[str]:
        for move in Moves(self.target.connection).unfinished():
            if move.side == "target" and move.tenant == self.tenant.key:
                yield (
                    f"the target has a copy of this tenant, of an earlier move from {move.location}; there, `tenantry"
                    f" tenants move {self.tenant.slug} --abort --to …` deletes it"
                )
                return
        for table in self.target.selection.tables.values():
            rows = self.target.count(table, table.belongs(self.tenant.key))
            if rows:
                yield f"{table.name} at the target has {counted(rows, 'row')} of this tenant already"
        tenants = self.source.selection.ownership.tenant
        for unique in self.source.selection.schema.tables[tenants.name].uniques:
            if not unique.columns or unique.partial or unique.exclusion or tenants.key in unique.columns:
                continue
            names = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in unique.columns)
            query = sql.SQL("SELECT {} FROM {} AS t WHERE {}")
            own = self.source.selection.tables[tenants.name]
            here = self.source.connection.execute(
                query.format(names, own.rows, own.belongs(self.tenant.key))
            ).fetchone()
            if here is None or None in here:
                continue
            same = sql.SQL(" AND ").join(
                sql.SQL("t.{}::text OPERATOR(pg_catalog.=) {}").format(sql.Identifier(name), sql.Literal(value))
                for name, value in zip(unique.columns, here, strict=True)
            )
            if self.target.connection.execute(query.format(names, own.rows, same)).fetchone() is not None:
                columns = ", ".join(map(quoted, unique.columns))
                yield f"another tenant at the target has the same {columns} in {tenants.name}: {', '.join(here)}"

    def shared(self) -> Iterator[str]:
        """Shared tables, and mixed ones, with other rows of all tenants at the target. Shared tables to which tenants
        write may differ."""
        for name in self._shared:
            if name in self.source.selection.ownership.written:
                continue
            self.source.observer(Reading(f"comparing {name}, which all tenants share"))
            relation = rows_of(self.source.copy(name))
            yield from self._unlike(name, relation, f"{name}, shared by all tenants, has other rows at the target")
        for table in self.source.selection.mixed:
            self.source.observer(Reading(f"comparing the rows of {table.name} that belong to all tenants"))
            relation = table.everybodys(self.source.selection.ownership)
            yield from self._unlike(table.name, relation, f"{table.name} has other rows of all tenants at the target")

    def _unlike(self, name: Name, relation: sql.Composable, what: str) -> Iterator[str]:
        here, there = (self._sum(scope, name, relation) for _, scope in self._sides)
        if here != there:
            numbers = f"{counted(there[0], 'row')}, and {here[0]:,} at the source"
            yield f"{what}: {numbers}{self._first_difference(name, relation)}"

    @staticmethod
    def _sum(scope: TenantScope, name: Name, relation: sql.Composable) -> tuple[int, str]:
        with scope.connection.transaction():
            set_stable_text_format(scope.connection)
            row = scope.connection.execute(checksum(relation, scope.copied(name))).fetchone()
        assert row is not None
        return row[0], row[1]

    def _first_difference(self, name: Name, relation: sql.Composable) -> str:
        """The key of a row that only one side has in this form, in words; empty if the table has no primary key."""
        key = self.source.selection.schema.tables[name].primary_key
        if not key:
            return ""
        query = sql.SQL("SELECT pg_catalog.md5({}), {} FROM {} AS t ORDER BY 1, 2").format(
            row_text("t", self.source.copied(name)), key_text(key, "t"), relation
        )
        with ExitStack() as stack:
            found = []
            for _, scope in self._sides:
                stack.enter_context(scope.connection.transaction())
                set_stable_text_format(scope.connection)
                # On the server, since a table may be large.
                cursor = stack.enter_context(scope.connection.cursor("tenantry_differences"))
                found.append(iter(cursor.execute(query)))
            for here, there in zip_longest(*found):
                if here != there:
                    return f"; the first that differs has the key {min(one for one in (here, there) if one)[1]}"
        return ""

    def referring(self) -> Iterator[str]:
        """Rows at the source that are not the tenant's and refer to rows of the tenant's: they would be left behind."""
        yield from (f"rows that are not the tenant's refer to its rows: {one}" for one in self.removal.blockers())

    def broken_references(self) -> Iterator[str]:
        """Rows of the tenant at the target that refer to rows that are not there: a subscriber checks no foreign
        key."""
        for reference in self.target.selection.references:
            child = reference.of_child
            if child is None:
                continue
            self.target.observer(Reading(f"references of {reference.columns} at the target"))
            set_ = sql.SQL(" AND ").join(
                sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(column)) for column in reference.key.columns
            )
            condition = sql.SQL("{} AND {} AND NOT EXISTS (SELECT FROM {} AS p WHERE {})").format(
                child.belongs(self.tenant.key), set_, reference.parent.identifier, reference.joined("t", "p")
            )
            rows = self.target.count(child, condition)
            if rows:
                yield f"{counted(rows, 'row')} of {reference.columns} refer to rows of {reference.parent} that the" \
                    " target does not have"  # fmt: skip


def _differences(here: Table, there: Table) -> Iterator[str]:
    columns: Mapping[str, tuple[object, ...]] = {
        one.name: (one.type, one.not_null, one.generated) for one in here.columns
    }
    other = {one.name: (one.type, one.not_null, one.generated) for one in there.columns}
    for name in sorted(columns.keys() | other.keys()):
        if columns.get(name) != other.get(name):
            what = "is missing" if name not in other else "is new" if name not in columns else "differs"
            yield f"the column {here.name}.{quoted(name)} {what} at the target"
    keys = {one.name: one.columns for one in here.uniques}
    if keys != {one.name: one.columns for one in there.uniques}:
        yield f"{here.name} has other unique keys at the target"
    if {(one.columns, one.parent) for one in here.foreign_keys} != {
        (one.columns, one.parent) for one in there.foreign_keys
    }:
        yield f"{here.name} has other foreign keys at the target"


def refuse_unprepared(name: str, scope: TenantScope) -> None:
    """Raises Refused if a side, the source or the target by `name`, is too old, or not migrated through distribute."""
    version = scope.connection.info.server_version
    if version < OLDEST:
        raise Refused(
            f"The {name} is PostgreSQL {version // 10000}: a move needs PostgreSQL 15 or newer on both sides",
            remedy="Upgrade that server; or use `tenantry tenants export` and `import`.",
        )
    comparison = survey(scope.connection, scope.session.plan, scope.session.entries, exact=False)
    missing = [step for step in scope.session.plan.steps if step.key not in comparison.in_force]
    if missing or not any(step.phase is Phase.DISTRIBUTE for step in scope.session.plan.steps):
        first = f", such as: table {missing[0].table}, {missing[0].title}" if missing else ""
        raise Refused(
            f"The {name} is not prepared for a move: {counted(len(missing), 'step')} of the spec's plan must still be"
            f" applied{first}",
            remedy="Run `tenantry migrate --until distribute --prepare` there: only then unique keys contain"
            " the tenant.",
        )
