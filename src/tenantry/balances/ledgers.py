"""The ledgers of a spec, found in the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tenantry.errors import Refused, UsageError, nearest
from tenantry.model.ledger import READ, STORED, KeyColumn, Ledger, TenantColumn
from tenantry.model.name import Name, quoted, split
from tenantry.model.ownership import Ownership
from tenantry.model.plan import Phase
from tenantry.model.spec import LedgerPart, Spec
from tenantry.postgres.journal import Entry
from tenantry.postgres.queries import read_queries
from tenantry.steps import (
    BalanceFunctions,
    BalanceLeaf,
    BalanceReaders,
    BalanceTable,
    BalanceTriggers,
    BalanceView,
    from_json,
)  # fmt: skip
from tenantry.steps.balance import BalanceStep
from tenantry.steps.balance_leaf import rights_on

QUERIES = read_queries(Path(__file__).with_name("sql") / "ledgers.sql")
Row = dict[str, Any]


def balance_steps(
    ledger: Ledger, readers: Sequence[str], leaves: Sequence[BalanceLeaf] = ()
) -> tuple[BalanceStep, ...]:
    """What `install` puts in force for a ledger, in order; `remove` takes it away in the other."""
    common: dict[str, Any] = {"phase": Phase.EXPAND, "table": ledger.table, "ledger": ledger}
    steps: list[BalanceStep] = [
        BalanceTable(**common), BalanceFunctions(**common), BalanceTriggers(**common), BalanceView(**common)
    ]  # fmt: skip
    if readers:
        steps.append(BalanceReaders(**common, roles=tuple(readers)))
    return (*steps, *leaves)


def installed(entries: Mapping[str, Entry]) -> dict[Name, Ledger]:
    """The ledgers whose balances the journal knows, as they were installed."""
    steps = (from_json(entry.value) for entry in entries.values())
    return {step.table: ledger for step in steps if (ledger := step.installs) is not None}


class Ledgers:
    """Resolves the [[ledger]] parts of a spec against a database. Without `ownership`, whose tenants they are is what
    it was when they were installed: for what goes on with balances that are there, and need not read the schema."""

    def __init__(
        self, connection: psycopg.Connection[Any], spec: Spec, entries: Mapping[str, Entry],
        ownership: Ownership | None = None,
    ) -> None:  # fmt: skip
        self.connection, self.spec, self.ownership = connection, spec, ownership
        self.installed = installed(entries)

    def read(self, *, slots: int | None = None) -> tuple[Ledger, ...]:
        """All of them; `slots` in place of the spec's `hot_keys`. Raises UsageError where one does not fit the
        database, Refused where a person must decide."""
        if not self.spec.ledger:
            source = self.spec.path or "the spec"
            raise UsageError(
                f"{source} names no ledger", remedy="Add a [[ledger]] with table, balance, key and quantity."
            )
        found = [self.one(part, slots) for part in self.spec.ledger]
        for field in ("table", "balance"):
            names = [getattr(ledger, field) for ledger in found]
            if doubled := next((name for name in names if names.count(name) > 1), None):
                raise UsageError(f"[[ledger]]: {doubled} is the {field} of two ledgers")
        return tuple(found)

    def one(self, part: LedgerPart, slots: int | None) -> Ledger:
        table = self._existing(Name.parse(part.table, schema=self.spec.schemas[0]), part)
        relation, columns = self._row("relation", table), self._columns(table)
        self._refuse_kind(table, relation)
        before = self.installed.get(table)
        # Before the key: a tenant column that is still to come is not a mistake in the key.
        tenant = self._tenant(table, part, relation["row_security"], columns, before)
        ledger = Ledger(
            table=table, balance=Name.parse(part.balance, schema=self.spec.schemas[0]), owner=relation["owner"],
            key=tuple(_key(table, name, columns) for name in _names(part.key)),
            quantity=_quantity(table, part.quantity, columns), tree=self._tree(table),
            slots=self._slots(part, slots, before), non_negative=part.non_negative,
            tenant=tenant,
        )  # fmt: skip
        _refuse_names(ledger)
        if ledger.slots and ledger.non_negative:
            raise UsageError(
                f"[[ledger]] {table}: non_negative needs one row a key, and hot_keys spreads it over {ledger.slots}",
                remedy="Decide for one of them.",
            )
        ledger = _settled(ledger, before, columns)
        self._refuse_taken(ledger, before)
        return ledger

    def readers(self, ledger: Ledger) -> tuple[str, ...]:
        """Who may read the ledger, and the application, once it is there."""
        rows = self._rows("readers", ledger.table)
        roles = [row["role"] for row in rows]
        role = self.spec.application.role
        there = self.connection.execute(QUERIES["role"], {"role": role}).fetchone()
        if ledger.tenant is not None and there == (True,) and role not in roles:
            roles.append(role)
        return tuple(sorted(roles))

    def leaves(self, ledger: Ledger) -> tuple[BalanceLeaf, ...]:
        """The partitions that the application was given to write to."""
        role = self.spec.application.role
        rights: dict[Name, list[tuple[str, str]]] = {}
        for place, privilege, grantor in self.connection.execute(rights_on(ledger.tree, role)):
            rights.setdefault(ledger.tree[place], []).append((privilege, grantor))
        common: dict[str, Any] = {"phase": Phase.EXPAND, "table": ledger.table, "ledger": ledger, "role": role}
        return tuple(BalanceLeaf(**common, leaf=leaf, revokes=tuple(revokes)) for leaf, revokes in rights.items())

    # --- what is looked at

    def _slots(self, part: LedgerPart, slots: int | None, before: Ledger | None) -> int:
        if slots is not None:
            return slots
        if before is not None and "hot_keys" not in part.model_fields_set:
            return before.slots
        return part.hot_keys

    def _existing(self, table: Name, part: LedgerPart) -> Name:
        if self._rows("relation", table):
            return table
        rows = self.connection.execute(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
        )
        raise UsageError(
            f"[[ledger]] table {part.table!r}: there is no table {table}"
            + nearest(str(table), [str(Name(*row)) for row in rows])
        )

    def _refuse_kind(self, table: Name, relation: Row) -> None:
        if relation["kind"] not in ("r", "p"):
            raise UsageError(f"[[ledger]] {table} is not a table")
        if relation["persistence"] == "t":
            raise UsageError(f"[[ledger]] {table} is a temporary table")
        if relation["is_partition"]:
            raise UsageError(f"[[ledger]] {table} is a partition", remedy="Name the partitioned table.")
        if relation["inherits"]:
            raise Refused(
                f"{table} takes part in table inheritance, where rows come and go past the ledger's triggers",
                remedy="Make it a partitioned table, or take the inheritance away (ALTER TABLE … NO INHERIT).",
            )

    def _tree(self, table: Name) -> tuple[Name, ...]:
        rows = self._rows("tree", table)
        for row in rows:
            if row["kind"] == "f":
                raise Refused(
                    f"{table} has the foreign table {Name(row['schema'], row['name'])} as a partition, whose movements"
                    " no trigger sees",
                    remedy="Detach it, or keep its movements in a table of this database.",
                )
        return tuple(Name(row["schema"], row["name"]) for row in rows)

    def _columns(self, table: Name) -> dict[str, Row]:
        return {row["name"]: row for row in self._rows("columns", table)}

    def _tenant(
        self, table: Name, part: LedgerPart, row_security: bool, columns: dict[str, Row], before: Ledger | None
    ) -> TenantColumn | None:
        if self.ownership is None:
            return None if before is None else before.tenant
        owned = self.ownership.of(table)
        if owned is None:
            if row_security:
                raise Refused(
                    f"{table} is under row security, and the spec does not say which tenant owns its rows",
                    remedy="Give the table a [[table]] part, so that its balances can be kept apart as well.",
                )
            return None
        if owned.column not in columns:
            raise Refused(
                f"{table} has no column {owned.column} yet, by which its balances would be kept apart",
                remedy="Run `tenantry migrate --until backfill` first.",
            )
        if owned.column not in _names(part.key):
            raise UsageError(
                f"[[ledger]] {table}: the key has no {owned.column}, so a balance would be of several tenants",
                remedy=f'Put "{owned.column}" in front of the key.',
            )
        tenant = self.ownership.tenant
        aside = (tenant.name, tenant.key, tenant.slug, tenant.quarantine) if tenant.quarantine is not None else None
        return TenantColumn(
            name=owned.column, type=tenant.type, setting=self.ownership.setting, mixed=owned.mixed, quarantine=aside
        )

    def _refuse_taken(self, ledger: Ledger, before: Ledger | None) -> None:
        if before is None and self._rows("relation", ledger.balance):
            raise Refused(
                f"{ledger.balance} is there already, and is not ours",
                remedy="Name another `balance` in the spec, or rename or drop what is there.",
            )

    def _rows(self, query: str, table: Name) -> list[Row]:
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(QUERIES[query], {"table": table.identifier.as_string(None)}).fetchall()

    def _row(self, query: str, table: Name) -> Row:
        return self._rows(query, table)[0]


def _names(names: Sequence[str]) -> tuple[str, ...]:
    """Columns as SQL reads them."""
    return tuple(_column(name) for name in names)


def _column(name: str) -> str:
    parts = split(name)
    if len(parts) != 1:
        raise UsageError(f"[[ledger]]: {name!r} is not a column's name")
    return parts[0]


def _found(table: Name, given: str, columns: dict[str, Row]) -> Row:
    if given not in columns:
        raise UsageError(f"[[ledger]] {table} has no column {given!r}{nearest(given, columns)}")
    if columns[given]["virtual"]:
        raise UsageError(
            f"[[ledger]] {table}: {given} is a virtual generated column, of which triggers see no value",
            remedy="Make it one that is STORED, or name another column.",
        )
    return columns[given]


def _key(table: Name, given: str, columns: dict[str, Row]) -> KeyColumn:
    row = _found(table, given, columns)
    if row["operator"] is None:
        raise UsageError(
            f"[[ledger]] {table}: {given} is of type {row['type']}, whose values cannot be compared",
            remedy="Take another column into the key.",
        )
    collation = row["collation"]
    if row["array"] and row["nullable"]:
        raise UsageError(
            f"[[ledger]] {table}: {given} is an array that may be NULL, which no unique index tells from an empty one",
            remedy=f"ALTER TABLE {table} ALTER COLUMN {quoted(given)} SET NOT NULL; or take another column.",
        )
    return KeyColumn(
        name=given, type=row["stored"], nullable=row["nullable"], operator=tuple(row["operator"]),
        collation=tuple(collation) if collation is not None else None, loose=True,
    )  # fmt: skip


def _quantity(table: Name, given: str, columns: dict[str, Row]) -> str:
    row = _found(table, _column(given), columns)
    if not row["numeric"]:
        raise UsageError(f"[[ledger]] {table}: {given} is of type {row['type']}, and not a number")
    return str(row["name"])


def _refuse_names(ledger: Ledger) -> None:
    names = ledger.columns
    if not names:
        raise UsageError(f"[[ledger]] {ledger.table}: the key is empty")
    if len(set(names)) < len(names) or ledger.quantity in names:
        raise UsageError(f"[[ledger]] {ledger.table}: a column stands twice in the key, or is the quantity too")
    if taken := next((name for name in names if name in READ or name in STORED), None):
        raise UsageError(
            f"[[ledger]] {ledger.table}: the key's column {taken!r} is called as a column of all balances is",
            remedy="Rename it in the ledger, or leave it out of the key.",
        )


def _settled(ledger: Ledger, before: Ledger | None, columns: Mapping[str, Row]) -> Ledger:
    """The ledger with the key as it was installed, on which its unique index rests. Raises Refused where the table of
    the balances no longer fits."""
    if before is None:
        return ledger
    same = [(column.name, column.collation) for column in ledger.key] == [
        (column.name, column.collation) for column in before.key
    ] and all(
        # One that was installed earlier has the column's own type.
        then.type in (now.type, columns[now.name]["type"])
        for now, then in zip(ledger.key, before.key, strict=True)
    )
    looser = any(now.nullable and not then.nullable for now, then in zip(ledger.key, before.key, strict=False))
    if not same or looser or (ledger.balance, ledger.quantity) != (before.balance, before.quantity):
        raise Refused(
            f"The balances of {ledger.table} were installed with another key, quantity or name: {before.balance}, the"
            f" sums of {before.quantity} by " + ", ".join(f"{column.name} {column.type}" for column in before.key),
            remedy="Run `tenantry balances remove --confirm`, then install and backfill again.",
        )
    return replace(ledger, key=before.key)
