"""The ledgers of a spec, resolved in the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tenantry.errors import Refused, UsageError, nearest
from tenantry.execution.preflight.findings import refused
from tenantry.model.finding import Finding
from tenantry.model.ledger import READ, STORED, KeyColumn, Ledger, TenantColumn
from tenantry.model.name import Name, quoted, split
from tenantry.model.ownership import Ownership
from tenantry.model.plan import Phase
from tenantry.model.schema import Grant
from tenantry.model.spec import LedgerPart, Spec
from tenantry.postgres.journal import Entry
from tenantry.postgres.queries import read_queries
from tenantry.steps import (
    ApplicationGrants,
    BalanceFunctions,
    BalanceLeaf,
    BalanceReader,
    BalanceTable,
    BalanceTriggers,
    BalanceView,
    Before,
    Step,
    from_json,
)
from tenantry.steps.balance import BalanceStep
from tenantry.steps.balance_leaf import WRITES, rights_on

QUERIES = read_queries(Path(__file__).with_name("sql") / "ledgers.sql")
Row = dict[str, Any]


class RenamedColumn(UsageError):
    """The spec has a column of a ledger under its earlier name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancePlan:
    """The steps of installed balances as a spec wants them; and, if they cannot be changed to that, the reason: then
    the steps are those that are installed."""

    steps: tuple[Step, ...] = ()
    refusals: tuple[Finding, ...] = ()


def balance_steps(ledger: Ledger) -> tuple[BalanceStep, ...]:
    """The steps that maintain the balances of a ledger, in the order in which they are applied."""
    common: dict[str, Any] = {"phase": Phase.EXPAND, "table": ledger.table, "ledger": ledger}
    return BalanceTable(**common), BalanceFunctions(**common), BalanceTriggers(**common), BalanceView(**common)


def installed(entries: Mapping[str, Entry]) -> dict[Name, Ledger]:
    """The ledgers whose balances the journal has, as they were installed."""
    steps = (from_json(entry.value) for entry in entries.values())
    return {step.table: ledger for step in steps if (ledger := step.installs) is not None}


def without_tenant(entries: Mapping[str, Entry], going: Iterable[Entry]) -> Iterator[Finding]:
    """Balances that were installed with a tenant in each key, if the spec no longer gives each row one after the
    changes in `going`: such rows could not be counted."""
    tables = {step.table for entry in going if (step := from_json(entry.value)).refuses_null}
    for table, ledger in installed(entries).items():
        if table in tables and ledger.tenant is not None and not ledger.key_column(ledger.tenant.name).nullable:
            yield _refusal(
                table,
                Refused(f"The spec allows rows of {table} without a tenant, which its balances cannot count"),
            )


class Ledgers:
    """Resolves the [[ledger]] parts of a spec against a database. Without `ownership`, the tenants of their rows are as
    they were when the balances were installed: for commands on installed balances, which need not read the entire
    schema."""

    def __init__(
        self, connection: psycopg.Connection[Any], spec: Spec, entries: Mapping[str, Entry],
        ownership: Ownership | None = None,
    ) -> None:  # fmt: skip
        self.connection, self.spec, self.ownership, self.entries = connection, spec, ownership, entries
        self.installed = installed(entries)

    @cached_property
    def _on(self) -> Mapping[Name, list[tuple[Step, Before]]]:
        """By table, the journal's steps on it, and what they recorded."""
        found: dict[Name, list[tuple[Step, Before]]] = {}
        for entry in self.entries.values():
            step = from_json(entry.value)
            found.setdefault(step.table, []).append((step, entry.before))
        return found

    def read(self, *, slots: int | None = None) -> tuple[Ledger, ...]:
        """All of them; `slots` in place of the spec's `hot_keys`. Raises UsageError if one does not fit the database,
        Refused if a person must decide."""
        if not self.spec.ledger:
            source = self.spec.path or "the spec"
            raise UsageError(
                f"{source} has no [[ledger]]", remedy="Add a [[ledger]] with table, balance, key and quantity."
            )
        return tuple(self.one(part, slots) for part in self._parts().values())

    def planned(self) -> BalancePlan:
        """The installed balances. Those of a table that was dropped are no longer part of a plan. Raises UsageError if
        two parts of the spec are for one ledger."""
        assert self.ownership is not None
        steps: list[Step] = []
        refusals: list[Finding] = []
        parts = self._parts()
        for table in self.installed:
            if not self._rows("relation", table):
                continue
            try:
                if table in self.ownership.undecided:
                    steps += self._made(table)
                elif table in parts:
                    steps += self.steps(self.one(parts[table]))
                else:
                    raise Refused(f"{table} has balances, and the spec no longer has a [[ledger]] for it")
            except (Refused, UsageError) as error:
                steps += self._made(table)
                refusals.append(_refusal(table, error))
        return BalancePlan(steps=tuple(steps), refusals=tuple(refusals))

    def steps(self, ledger: Ledger) -> tuple[BalanceStep, ...]:
        """All steps of a ledger, in the order in which they are applied."""
        return (*balance_steps(ledger), *self._readers(ledger), *self._leaves(ledger))

    def isolated(self, table: Name) -> bool:
        """Whether the application role has been granted a table: from then on it may also read the balances."""
        grants = ApplicationGrants(phase=Phase.ISOLATE, table=table, role=self.spec.application.role, grants=())
        return grants.key in self.entries

    def _parts(self) -> dict[Name, LedgerPart]:
        schema = self.spec.schemas[0]
        for field in ("table", "balance"):
            names = [Name.parse(getattr(part, field), schema=schema) for part in self.spec.ledger]
            if doubled := next((name for name in names if names.count(name) > 1), None):
                raise UsageError(f"[[ledger]]: {doubled} is the {field} of two ledgers")
        return {Name.parse(part.table, schema=schema): part for part in self.spec.ledger}

    def _made(self, table: Name) -> list[Step]:
        """The steps of a ledger in the journal."""
        steps = (from_json(entry.value) for entry in self.entries.values())
        return [step for step in steps if step.keeps is not None and step.keeps.table == table]

    def one(self, part: LedgerPart, slots: int | None = None) -> Ledger:
        """The ledger of a part of the spec. Raises as `read`."""
        table = self._existing(Name.parse(part.table, schema=self.spec.schemas[0]), part)
        relation, columns = self._row("relation", table), self._columns(table)
        self._refuse_renamed(table, part, columns)
        self._refuse_kind(table, relation)
        before = self.installed.get(table)
        # Before the key: a tenant column that is yet to be added is not a mistake in the key.
        tenant = self._tenant(table, part, relation["row_security"], columns, before)
        ledger = Ledger(
            table=table, called=str(table) if before is None else before.called, owner=relation["owner"],
            balance=Name.parse(part.balance, schema=self.spec.schemas[0]),
            key=tuple(_as_installed(_key(table, name, columns), before) for name in _names(part.key)),
            quantity=_quantity(table, part.quantity, columns), tree=self._tree(table),
            non_negative=part.non_negative, tenant=tenant, **self._slots(part, slots, before),
        )  # fmt: skip
        _refuse_names(ledger)
        if ledger.slots and ledger.non_negative:
            raise UsageError(
                f"[[ledger]] {table}: non_negative needs one row for each key, and hot_keys spreads it over"
                f" {ledger.slots}",
                remedy="Set only one of the two.",
            )
        self._refuse_spread(ledger, before)
        ledger = _settled(ledger, before, columns)
        self._refuse_taken(ledger, before)
        return ledger

    def _readers(self, ledger: Ledger) -> list[BalanceReader]:
        """The roles that may read the ledger apart from tenantry's grants, and the application role once it may."""
        rows = self._rows("readers", ledger.table)
        grants = tuple(Grant(grantor=row["grantor"], grantee=row["role"], privilege="SELECT") for row in rows)
        found = [grant for grant in self._original_grants(ledger.table, grants) if grant.column is None]
        roles = {grant.grantee: Phase.EXPAND for grant in found if grant.privilege == "SELECT"}
        if self.ownership is not None and (self.ownership.of(ledger.table) or ledger.table in self.ownership.shared):
            roles.setdefault(self.spec.application.role, Phase.ISOLATE)
        return [
            BalanceReader(phase=phase, table=ledger.table, ledger=ledger, role=role)
            for role, phase in sorted(roles.items())
        ]

    def _leaves(self, ledger: Ledger) -> list[BalanceLeaf]:
        """The partitions that the application may write to directly by grants that are not tenantry's."""
        role, live = self.spec.application.role, dict[Name, list[Grant]]()
        for place, privilege, grantor in self.connection.execute(rights_on(ledger.tree, role)):
            grant = Grant(grantor=grantor, grantee=role, privilege=privilege)
            live.setdefault(ledger.tree[place], []).append(grant)
        found = []
        for leaf in ledger.tree:
            grants = self._original_grants(leaf, tuple(live.get(leaf, ())))
            revokes = {(one.privilege, one.grantor): None for one in grants
                       if one.grantee == role and one.privilege in WRITES}  # fmt: skip
            if revokes:
                common: dict[str, Any] = {"phase": Phase.EXPAND, "table": leaf, "ledger": ledger, "role": role}
                found.append(BalanceLeaf(**common, revokes=tuple(revokes)))
        return found

    def _original_grants(self, relation: Name, grants: tuple[Grant, ...]) -> tuple[Grant, ...]:
        for step, before in self._on.get(relation, ()):
            grants = step.original_grants(grants, before)
        return grants

    # --- checks of a ledger

    @staticmethod
    def _slots(part: LedgerPart, slots: int | None, before: Ledger | None) -> dict[str, Any]:
        if slots is None and before is not None and before.chosen and "hot_keys" not in part.model_fields_set:
            slots = before.slots
        return {"slots": part.hot_keys if slots is None else slots, "chosen": slots is not None}

    def _existing(self, table: Name, part: LedgerPart) -> Name:
        if self._rows("relation", table):
            return table
        rows = self.connection.execute(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
        )
        raise UsageError(
            f"[[ledger]] table {part.table!r}: the table {table} does not exist"
            + nearest(str(table), [str(Name(*row)) for row in rows])
        )

    def _refuse_kind(self, table: Name, relation: Row) -> None:
        if relation["kind"] not in ("r", "p"):
            raise UsageError(f"[[ledger]] {table} is not a table")
        if relation["persistence"] == "t":
            raise UsageError(f"[[ledger]] {table} is a temporary table")
        if relation["is_partition"]:
            raise UsageError(f"[[ledger]] {table} is a partition", remedy="Use the partitioned table.")
        if relation["inherits"]:
            raise Refused(
                f"{table} takes part in table inheritance, where rows can change without the ledger's triggers",
                remedy="Make it a partitioned table, or end the inheritance (ALTER TABLE … NO INHERIT).",
            )

    def _tree(self, table: Name) -> tuple[Name, ...]:
        rows = self._rows("tree", table)
        for row in rows:
            if row["kind"] == "f":
                raise Refused(
                    f"{table} has the foreign table {Name(row['schema'], row['name'])} as a partition, for whose"
                    " movements no trigger fires",
                    remedy="Detach it, or store its movements in a table of this database.",
                )
        return tuple(Name(row["schema"], row["name"]) for row in rows)

    def _columns(self, table: Name) -> dict[str, Row]:
        return {row["name"]: row for row in self._rows("columns", table)}

    def _refuse_renamed(self, table: Name, part: LedgerPart, columns: Mapping[str, Row]) -> None:
        """Movements are counted whatever the columns are called; the spec must have the present names."""
        now = {
            was: one for entry in self.entries.values() if entry.named == table for was, one in entry.columns.items()
        }
        for name in (*_names(part.key), _column(part.quantity)):
            if name in now and name not in columns:
                if now[name] is not None:
                    raise RenamedColumn(
                        f"The column {name!r} of {table} was renamed to {now[name]!r}: change the name in its"
                        " [[ledger]]",
                        remedy="The balances are kept, and keep their column names.",
                    )
                raise Refused(
                    f"The column {name!r} of {table}, by which its balances were installed, was dropped",
                    remedy="Run `tenantry balances remove --confirm`, change the spec, then install and backfill them.",
                )

    def _tenant(
        self, table: Name, part: LedgerPart, row_security: bool, columns: dict[str, Row], before: Ledger | None
    ) -> TenantColumn | None:
        if self.ownership is None:
            return None if before is None else before.tenant
        owned, made = self.ownership.of(table), [step for step, _ in self._on.get(table, ())]
        if owned is None:
            # tenantry's column is dropped if the spec no longer gives the rows a tenant.
            ours = {step.tenant_column for step in made} - {None}
            if going := ours.intersection(_names(part.key)):
                raise Refused(
                    f"The balances of {table} are by tenant, and the spec no longer gives its rows one: the column"
                    f" {going.pop()} would be dropped",
                    remedy="Remove it from the key, or make the table owned again.",
                )
            if row_security and not any(step.secures for step in made):
                raise Refused(
                    f"{table} has row-level security, and the spec does not make it an owned table",
                    remedy="Add a [[table]] for it, so that its balances get policies, too.",
                )
            return None
        if owned.column not in columns:
            raise Refused(
                f"{table} has no column {owned.column} yet, by which its balances are to be isolated",
                remedy="Run `tenantry migrate --until backfill` first.",
            )
        if owned.column not in _names(part.key):
            raise UsageError(
                f"[[ledger]] {table}: the key has no {owned.column}, so one balance would sum several tenants",
                remedy=f'Put "{owned.column}" first in the key.',
            )
        tenant = self.ownership.tenant
        aside = (tenant.name, tenant.key, tenant.slug, tenant.quarantine) if tenant.quarantine is not None else None
        called = {one.in_ledger: one.name for one in before.key} if before is not None else {}
        return TenantColumn(
            name=called.get(owned.column, owned.column),
            type=tenant.type,
            setting=self.ownership.setting,
            mixed=owned.mixed,
            quarantine=aside,
        )

    def _refuse_spread(self, ledger: Ledger, before: Ledger | None) -> None:
        """Whether a balance would fall below zero can be checked in one row a key only, and there may be several from
        the time with slots."""
        if not ledger.non_negative or before is None or before.non_negative:
            return
        spread = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE slot > 0)").format(before.storage.identifier)
        there = sql.SQL("SELECT {} IS NOT NULL").format(before.storage.oid)
        if self.connection.execute(there).fetchone() != (True,):
            return
        if before.slots or self.connection.execute(spread).fetchone() == (True,):
            raise Refused(
                f"The balances of {ledger.table} are spread over slots, and non_negative needs one row for each key."
                " First apply hot_keys = 0, and a minute later run `tenantry balances compact`",
                remedy="Set non_negative after that.",
            )

    def _refuse_taken(self, ledger: Ledger, before: Ledger | None) -> None:
        for other in self.installed.values():
            if before is None and other.called == ledger.called:
                raise Refused(
                    f"The balances of {other.table} were installed when that table had the name {ledger.table}, and"
                    " their objects are named after it",
                    remedy=f"Run `tenantry balances remove --confirm --ledger {other.table}` first, and install both"
                    " again.",
                )
        if before is None and self._rows("relation", ledger.balance):
            raise Refused(
                f"{ledger.balance} exists already, and was not made by tenantry",
                remedy="Choose another `balance` in the spec, or rename or drop the existing one.",
            )

    def _rows(self, query: str, table: Name) -> list[Row]:
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(QUERIES[query], {"table": table.identifier.as_string(None)}).fetchall()

    def _row(self, query: str, table: Name) -> Row:
        return self._rows(query, table)[0]


def _refusal(table: Name, error: Refused | UsageError) -> Finding:
    """Why installed balances can neither be changed to what the spec wants nor be kept."""
    return refused(
        name="balances-otherwise", table=table, forcible=False, message=error.message,
        remedy=error.remedy if isinstance(error, RenamedColumn) else "Restore the earlier entry in the spec; or run"
        " `tenantry balances remove --confirm` first, and install and backfill the balances after the migration.",
    )  # fmt: skip


def _names(names: Sequence[str]) -> tuple[str, ...]:
    """Columns as SQL reads them."""
    return tuple(_column(name) for name in names)


def _column(name: str) -> str:
    parts = split(name)
    if len(parts) != 1:
        raise UsageError(f"[[ledger]]: {name!r} is not a column name")
    return parts[0]


def _existing_column(table: Name, column_name: str, columns: dict[str, Row]) -> Row:
    if column_name not in columns:
        raise UsageError(f"[[ledger]] {table} has no column {column_name!r}{nearest(column_name, columns)}")
    if columns[column_name]["virtual"]:
        raise UsageError(
            f"[[ledger]] {table}: {column_name} is a virtual generated column, whose value triggers cannot read",
            remedy="Make it STORED, or use another column.",
        )
    return columns[column_name]


def _key(table: Name, column_name: str, columns: dict[str, Row]) -> KeyColumn:
    row = _existing_column(table, column_name, columns)
    if row["operator"] is None:
        raise UsageError(
            f"[[ledger]] {table}: {column_name} is of type {row['type']}, whose values cannot be compared",
            remedy="Use another column in the key.",
        )
    collation = row["collation"]
    if row["array"] and row["nullable"]:
        raise UsageError(
            f"[[ledger]] {table}: {column_name} is an array that can be NULL, which its unique index would equate"
            f" with an"
            " empty one",
            remedy=f"ALTER TABLE {table} ALTER COLUMN {quoted(column_name)} SET NOT NULL; or use another column.",
        )
    return KeyColumn(
        name=column_name, type=row["stored"], nullable=row["nullable"], operator=tuple(row["operator"]),
        collation=tuple(collation) if collation is not None else None, loose=True,
    )  # fmt: skip


def _quantity(table: Name, column_name: str, columns: dict[str, Row]) -> str:
    row = _existing_column(table, _column(column_name), columns)
    if not row["numeric"]:
        raise UsageError(f"[[ledger]] {table}: {column_name} is of type {row['type']}, which is not a number type")
    return str(row["name"])


def _as_installed(column: KeyColumn, before: Ledger | None) -> KeyColumn:
    """The column under the name that the installed balances have for it."""
    for then in before.key if before is not None else ():
        if then.in_ledger == column.name:
            return replace(column, name=then.name, source=then.source)
    return column


def _refuse_names(ledger: Ledger) -> None:
    names = ledger.sources
    if not names:
        raise UsageError(f"[[ledger]] {ledger.table}: the key is empty")
    if len(set(names)) < len(names) or ledger.quantity in names:
        raise UsageError(f"[[ledger]] {ledger.table}: a column is twice in the key, or is also the quantity")
    if taken := next((name for name in ledger.columns if name in READ or name in STORED), None):
        raise UsageError(
            f"[[ledger]] {ledger.table}: the key's column {taken!r} has the name of a column of every balance",
            remedy="Rename it in the ledger, or remove it from the key.",
        )


def _settled(ledger: Ledger, before: Ledger | None, columns: Mapping[str, Row]) -> Ledger:
    """The ledger with the key as it was installed, over which its unique index is. Raises Refused if the table of the
    balances no longer fits."""
    if before is None:
        return ledger
    same = [(column.name, column.collation) for column in ledger.key] == [
        (column.name, column.collation) for column in before.key
    ] and all(
        # Balances that were installed earlier have the column's own type.
        then.type in (now.type, columns[now.in_ledger]["type"])
        for now, then in zip(ledger.key, before.key, strict=True)
    )
    looser = any(now.nullable and not then.nullable for now, then in zip(ledger.key, before.key, strict=False))
    if not same or looser or (ledger.balance, ledger.quantity) != (before.balance, before.quantity):
        raise Refused(
            f"The balances of {ledger.table} were installed with another key, quantity or name: {before.balance}, the"
            f" sums of {before.quantity} by " + ", ".join(f"{one.in_ledger} {one.type}" for one in before.key),
            remedy="Run `tenantry balances remove --confirm`, then install and backfill again.",
        )
    return replace(ledger, key=before.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A ledger of the spec and the steps that maintain its balances."""

    ledger: Ledger
    steps: tuple[BalanceStep, ...]

    @property
    def triggers(self) -> BalanceStep:
        return next(step for step in self.steps if step.fires)
