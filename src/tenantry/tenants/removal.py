"""Deleting a tenant's rows: in batches, children before their parents, each batch in its own transaction.

A batch locks the rows that it deletes, which are the tenant's alone: other tenants wait for none of them. Triggers and
rules of the user's on DELETE do not fire; if a table has any, a batch blocks the table's writers while it lasts, and so
aims at a twentieth of a second. Of tables that refer to each other in a circle, rows to which none refers are deleted
first; the remaining rows, which may refer to each other in a circle, are deleted by one statement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from tenantry.backups.triggers import disable_triggers, enable_triggers
from tenantry.errors import Failed, Interrupted, Refused
from tenantry.execution.events import LocksRefused, Reading
from tenantry.execution.tenant_table import Tenant
from tenantry.execution.transaction import LockPolicy, run_in_transaction
from tenantry.model.name import Name
from tenantry.model.tenant_export import Holding
from tenantry.model.wording import counted
from tenantry.planning.tenant_selection import Reference, SelectedTable
from tenantry.postgres.backups import firing
from tenantry.postgres.removals import Removal, Removals
from tenantry.steps.introspection import with_search_path
from tenantry.tenants.scope import TenantScope, key_text, write_lock

FIRST, LEAST, MOST = 250, 10, 10_000
"""Rows of the first batch, and the fewest and most of one."""
QUICK, SLOW = 0.025, 0.1
"""Seconds: after a batch that takes less, the next has twice as many rows, after one that takes more, half."""
SHOWN = 3
"""The number of rows that a refusal names for each foreign key."""
ACTS = ("c", "n", "d")
"""Actions ON DELETE, as the catalog stores them, that would change the rows that refer to a deleted one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """Rows that are not the tenant's and refer to rows of the tenant's: a few of them, and their number."""

    reference: Reference
    rows: int
    shown: tuple[str, ...]

    def __str__(self) -> str:
        more = " …" if self.rows > len(self.shown) else ""
        columns = ", ".join(self.reference.key.columns)
        return (
            f"{counted(self.rows, 'row')} of {self.reference.child} by {columns} to {self.reference.parent}:"
            f" {'; '.join(self.shown)}{more}"
        )


@dataclass(slots=True, kw_only=True)
class TenantRemoval:
    """Removes a tenant with the scope's connection, which must be in autocommit mode."""

    scope: TenantScope
    tenant: Tenant
    policy: LockPolicy
    stop: threading.Event = field(default_factory=threading.Event)
    _size: int = FIRST
    _total: int | None = None

    def rows(self) -> dict[Name, int]:
        """The number of rows of each table that will be deleted, children first."""
        return self._count(self.scope.selection.removed_together)

    def _count(self, components: Sequence[tuple[SelectedTable, ...]]) -> dict[Name, int]:
        found = {}
        for component in components:
            for table in component:
                self.scope.observer(Reading(f"the rows of {table.name}"))
                found[table.name] = self.scope.count(table, table.goes(self.tenant.key))
        return found

    def staying(self) -> int:
        """The number of the tenant's rows that stay, since they belong to other tenants, too."""
        key = self.tenant.key
        return sum(
            self.scope.count(table, sql.SQL("{} AND {}").format(table.belongs(key), table.belongs_to_others(key)))
            for table in self.scope.selection.tables.values()
            if table.member is not None
        )

    def blockers(self) -> tuple[Blocker, ...]:
        """The rows that prevent the removal."""
        return tuple(self._blockers(self.scope.selection.leading_in()))

    def silenced(self) -> list[str]:
        """The user's triggers and rules that will not fire, each with its table."""
        return [
            f"{fires.name} on {fires.relation}"
            for table in self.scope.selection.tables.values()
            for leaf in sorted({table.name, *table.leaves})
            for fires in firing(self.scope.connection, leaf, "DELETE")
        ]

    def remove(self, removal: Removal) -> int:
        """Delete the rows, the tenant's own last, and with it the record of the removal; returns how many rows were
        deleted, those of earlier runs included.

        Raises Interrupted between two batches after a stop, Refused if rows of others have come to refer to one that is
        to be deleted, and Failed if a lock could not be taken or new rows have been written since: rows that were
        deleted stay deleted.
        """
        *others, last = self.scope.selection.removed_together
        for component in others:
            self._component(component, removal)
        self._refuse_late(others)
        self._component(last, removal)
        assert self._total is not None, "the tenant's own row belongs to the last tables"
        return self._total

    def _refuse_late(self, components: Sequence[tuple[SelectedTable, ...]]) -> None:
        left = {name: rows for name, rows in self._count(components).items() if rows}
        if left:
            raise Failed(
                f"{counted(sum(left.values()), 'row')} of the tenant have come while the others were deleted",
                remedy="Stop the tenant's application, and run the same command again: it goes on where it stopped.",
                details=[f"{name}: {rows:,}" for name, rows in left.items()],
            )

    # --- one table after the other

    def _component(self, component: tuple[SelectedTable, ...], removal: Removal) -> None:
        circle = self.scope.selection.within(component)
        if len(component) > 1 or circle:
            self._circle(component, circle, removal)
        else:
            self._table(component[0], (), removal)

    def _circle(self, component: tuple[SelectedTable, ...], circle: Sequence[Reference], removal: Removal) -> None:
        # Rows that belong by membership are deleted together with their links, which name their tenants.
        few = all(table.member is None for table in component)
        while few:
            # The tenant's own row is deleted with the last of its rows.
            peeled = (table for table in component if table.holding is not Holding.TENANT)
            few = sum(self._table(table, circle, removal) for table in peeled) >= FIRST
        self._transaction(component, lambda: self._delete_all(component), removal)

    def _table(self, table: SelectedTable, circle: Sequence[Reference], removal: Removal) -> int:
        """Delete the rows of a table; with a `circle` those to which no row of it refers."""
        done = 0
        for condition in self._passes(table):
            free = sql.SQL(" AND ").join([condition, *self._free(table, circle)])
            for leaf in table.leaves:
                while True:
                    size, begun = self._size, time.monotonic()
                    batch = self._batch(table, leaf, free, size)
                    deleted = self._transaction((table,), batch, removal, leaf)
                    done += deleted
                    took = time.monotonic() - begun
                    if deleted == size and took < QUICK:
                        self._size = min(size * 2, MOST)
                    elif took > SLOW:
                        self._size = max(size // 2, LEAST)
                    if deleted:
                        self.scope.observer(Reading(f"{table.name}: {counted(done, 'row')} removed"))
                    if deleted < size:
                        break
        return done

    def _passes(self, table: SelectedTable) -> Iterator[sql.Composable]:
        """In a ledger whose balances may not go below zero, rows that take out are deleted before those that came
        in."""
        for step in self.scope.session.plan.steps:
            ledger = step.keeps
            if ledger is not None and ledger.non_negative and ledger.table == table.name:
                yield sql.SQL("t.{} < 0").format(sql.Identifier(ledger.quantity))
                break
        yield sql.SQL("true")

    def _free(self, table: SelectedTable, circle: Sequence[Reference]) -> Iterator[sql.Composable]:
        for number, reference in enumerate(one for one in circle if one.of_parent == table):
            child = f"~child{number}"
            assert reference.of_child is not None
            yield sql.SQL("NOT EXISTS (SELECT FROM {} AS {} WHERE {})").format(
                reference.of_child.rows, sql.Identifier(child), reference.joined(child, "t")
            )

    def _batch(self, table: SelectedTable, leaf: Name, free: sql.Composable, size: int) -> Callable[[], int]:
        """Deletes up to `size` rows of one relation; returns how many it has deleted."""
        connection = self.scope.connection
        rows = sql.SQL("ONLY {} AS t").format(leaf.identifier)
        look = sql.SQL("SELECT t.ctid::text FROM {} WHERE {} AND {} LIMIT {} FOR UPDATE OF t").format(
            rows, table.goes(self.tenant.key), free, sql.Literal(size)
        )
        acting = [one for one in self._acting() if one.of_parent == table]

        def delete() -> int:
            found = [address for (address,) in connection.execute(look).fetchall()]
            if not found:
                return 0
            these = sql.SQL("t.ctid = ANY ({}::pg_catalog.tid[])").format(sql.Literal(found))
            # The rows are locked: a session that refers to one from now on waits for this transaction, and is refused.
            self._refuse_acting(acting, leaf, these)
            deleted = connection.execute(sql.SQL("DELETE FROM {} WHERE {}").format(rows, these)).rowcount
            if deleted < len(found):
                raise Failed(
                    f"{leaf} keeps {len(found) - deleted:,} rows that were to be deleted",
                    remedy="Find out what keeps them, such as a trigger or rule that fires always, then run it again.",
                )
            return deleted

        return delete

    def _delete_all(self, component: tuple[SelectedTable, ...]) -> int:
        """Delete the remaining rows of tables that refer to each other by one statement: foreign keys are checked when
        all of them are deleted."""
        parts, counts = [], []
        for number, table in enumerate(component):
            name = sql.Identifier(f"deleted {number}")
            parts.append(
                sql.SQL("{} AS (DELETE FROM {} AS t WHERE {} RETURNING true)").format(
                    name, table.rows, table.goes(self.tenant.key)
                )
            )
            counts.append(sql.SQL("(SELECT pg_catalog.count(*) FROM {})").format(name))
            self._refuse_acting(
                [one for one in self._acting() if one.of_parent == table], table.name, table.goes(self.tenant.key)
            )
        query = sql.SQL("WITH {} SELECT {}").format(sql.SQL(", ").join(parts), sql.SQL(" + ").join(counts))
        row = self.scope.connection.execute(query).fetchone()
        return 0 if row is None else int(row[0])

    def _transaction(
        self, tables: Sequence[SelectedTable], delete: Callable[[], int], removal: Removal, leaf: Name | None = None
    ) -> int:
        """Delete in one transaction, with the journal's count, and with the user's triggers and rules disabled. The
        transaction in which the tenant's own row is deleted ends the removal."""
        if self.stop.is_set():
            raise Interrupted(
                f"Stopped between two batches; rows that were deleted stay deleted (run {removal.run})",
                remedy="Run the same command again: it goes on where it stopped.",
            )
        connection = self.scope.connection
        relations = [leaf] if leaf is not None else [name for one in tables for name in (one.name, *one.leaves)]
        silenced = [fires for name in dict.fromkeys(relations) for fires in firing(connection, name, "DELETE")]
        deleted: list[int] = []
        ends = any(one.holding is Holding.TENANT and leaf in (None, one.leaves[-1]) for one in tables)

        def work() -> None:
            deleted.clear()
            # The locks are held; the wait for a row is limited by --lock-timeout.
            connection.execute("SET LOCAL statement_timeout = 0")
            path = with_search_path(self.scope.selection.schema.search_path)
            connection.execute(sql.SQL("SELECT {}").format(path))
            deleted.append(delete())
            # Deferred constraints are checked now, and before the triggers are enabled again.
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for statement in enable_triggers(silenced):
                connection.execute(sql.Composed([statement.sql]))
            if deleted[0]:
                Removals(connection).count(removal, deleted[0])
            if ends:
                self._total = Removals(connection).finish(removal)

        statements = [*(write_lock(name) for name in dict.fromkeys(relations)), *disable_triggers(silenced)]
        try:
            run_in_transaction(
                connection, statements, patience=self.policy, finish=work,
                retrying=lambda reason, blockers, pause: self.scope.observer(LocksRefused(reason, blockers, pause)),
            )  # fmt: skip
        except psycopg.IntegrityError as error:
            raise Failed(
                f"The database does not let the rows go: {error.diag.message_primary}",
                remedy="Find out what refers to them, then run the same command again: it goes on where it stopped.",
                details=[error.diag.message_detail or ""],
            ) from error
        return deleted[0]

    # --- rows of others

    def _acting(self) -> list[Reference]:
        """Foreign keys along which deleting would change rows of others."""
        return [one for one in self.scope.selection.leading_in() if one.key.on_delete in ACTS]

    def _refuse_acting(self, references: Sequence[Reference], relation: Name, these: sql.Composable) -> None:
        for blocker in self._blockers(references, relation, these):
            raise Refused(
                f"Rows that are not the tenant's have come to refer to rows that go: {blocker}",
                remedy="Change these rows, then run the same command again: it goes on where it stopped.",
            )

    def _blockers(
        self, references: Sequence[Reference] | Iterator[Reference], relation: Name | None = None,
        these: sql.Composable | None = None,
    ) -> Iterator[Blocker]:  # fmt: skip
        key = self.tenant.key
        for reference in references:
            parent, child = reference.of_parent, reference.of_child
            assert parent is not None
            if relation is None:
                self.scope.observer(Reading(f"references to {parent.name}: {reference.columns}"))
            table = self.scope.selection.schema.tables[reference.child]
            others = sql.SQL("true") if child is None else sql.SQL("({}) IS NOT TRUE").format(child.goes(key, "c"))
            rows = (
                parent.rows
                if relation is None or relation == parent.name
                else sql.SQL("ONLY {}").format(relation.identifier)
            )
            names = table.primary_key or reference.key.columns
            query = sql.SQL(
                "SELECT {}, pg_catalog.count(*) OVER () FROM {} AS t JOIN {} AS c ON {} WHERE {} AND {} LIMIT {}"
            ).format(
                key_text(names, "c"), rows,
                sql.SQL("{}").format(reference.child.identifier) if child is None else child.rows,
                reference.joined("c", "t"), these if these is not None else parent.goes(key), others,
                sql.Literal(SHOWN),
            )  # fmt: skip
            found = self.scope.connection.execute(query).fetchall()
            if found:
                yield Blocker(reference=reference, rows=found[0][1], shown=tuple(text for text, _ in found))
