"""What one tenant may try on the rows of another: statements that tell by an error of ours that they got through.

None of them changes a row. Where PostgreSQL lets a row through, the statement meets `BAIT`, which fails: in a query, an
UPDATE's new value or a DELETE's condition before anything is done to the row, and in the RETURNING of an INSERT or of
an UPDATE that gives a row away, after the policies and constraints were asked and before any AFTER trigger fires.

A statement that writes is in a WITH that nothing reads from: PostgreSQL runs such a one after the outer query, and that
makes the transaction read-only. So the user's BEFORE triggers, which fire before the policies are asked, can write
nothing and draw from no sequence, which no rollback would give back: they fail, and the attempt is not decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.schema import Column, Table
from tenantry.postgres.owner_context import context
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.row_security import Link

MARK = "let through by every policy"
TRIPWIRE = sql.SQL("({} || pg_catalog.random())::pg_catalog.int4").format(sql.Literal(MARK + " "))
"""Fails whenever it is evaluated; volatile, so that it is evaluated for a row and not beforehand."""
_ROW = sql.Identifier("t")
_GUARD = sql.SQL("SELECT pg_catalog.set_config('transaction_read_only', 'on', true)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Something tried on rows, in words that follow "can", and its statement, which `writes` unless it only reads."""

    what: str
    statement: sql.Composed
    writes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a tenant: its place, and the whole of it as text."""

    tenant: str
    relation: int
    place: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The attempts on one table. `key` is the column that says whose a row is, of `type`, compared by `operator`."""

    table: Table
    key: str
    type: str
    operator: tuple[str, str]
    mixed: bool

    @property
    def _relation(self) -> sql.Composable:
        return self.table.name.identifier

    def belongs(self, tenant: str) -> sql.Composed:
        """That `t` is a row of the tenant."""
        schema, name = self.operator
        return sql.SQL("t.{} OPERATOR({}.{}) {}").format(
            sql.Identifier(self.key), sql.Identifier(schema), raw(name), self.literal(tenant)
        )

    def literal(self, tenant: str) -> sql.Composed:
        return sql.SQL("{}::{}").format(sql.Literal(tenant), raw(self.type))

    @property
    def rows_by_tenant(self) -> sql.Composed:
        """Each tenant, as text, with the number of its rows."""
        return sql.SQL(
            "SELECT t.{0}::text AS tenant, pg_catalog.count(*) AS rows FROM {1} AS t WHERE t.{0} IS NOT NULL GROUP BY 1"
        ).format(sql.Identifier(self.key), self._relation)

    # --- what one tenant may try on the rows of another

    def across(self, actor: str, row: Row) -> Iterator[Attempt]:
        """As the tenant `actor`, on the rows of the tenant of `row`."""
        theirs = self.belongs(row.tenant)
        yield self.read(theirs)
        yield self.read(_at(row))
        yield Attempt(what="update", statement=self._update(theirs))
        yield Attempt(what="delete", statement=self._delete(theirs))
        yield self._insert(row)
        yield self._give_away(actor, row.tenant)

    def shared(self) -> Iterator[Attempt]:
        """On the rows of a mixed table that all tenants read."""
        if self.mixed:
            nobodys = sql.SQL("t.{} IS NULL").format(sql.Identifier(self.key))
            yield Attempt(what="update shared rows", statement=self._update(nobodys))
            yield Attempt(what="delete shared rows", statement=self._delete(nobodys))

    def alone(self, row: Row | None) -> Iterator[Attempt]:
        """Where no tenant is named, or one that may see nothing. Without a condition only the policy of the command
        itself is asked, and not the one for reading."""
        yield self.read(sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(self.key)))
        yield Attempt(what="update", statement=self._update(None))
        yield Attempt(what="delete", statement=self._delete(None))
        if row is not None:
            yield self._insert(row)

    def read(self, condition: sql.Composable) -> Attempt:
        return reading(self.table.name, condition)

    def _update(self, condition: sql.Composable | None) -> sql.Composed:
        changed = self._changeable
        value = sql.SQL("CASE WHEN {} = 0 THEN NULL::{} END").format(TRIPWIRE, raw(changed.type))
        where = sql.SQL("") if condition is None else sql.SQL(" WHERE {}").format(condition)
        return _guarded(
            sql.SQL("UPDATE {} AS t SET {} = {}{}").format(self._relation, sql.Identifier(changed.name), value, where)
        )

    def _delete(self, condition: sql.Composable | None) -> sql.Composed:
        # The conditions of one query are asked in any order, and the bait is for their rows only; and as it says
        # something of the row, PostgreSQL asks the policies before it, whatever they cost.
        bait = sql.SQL("({} || pg_catalog.random() || t.ctid::text)::pg_catalog.int4 = 0").format(
            sql.Literal(MARK + " ")
        )  # fmt: skip
        where = bait if condition is None else sql.SQL("{0} AND CASE WHEN {0} THEN {1} END").format(condition, bait)
        return _guarded(sql.SQL("DELETE FROM {} AS t WHERE {}").format(self._relation, where))

    def _insert(self, row: Row) -> Attempt:
        """A copy of their row; each value is given, so that no default is evaluated."""
        names = tuple(column.name for column in self.table.columns if not column.generated)
        columns = identifiers(names)
        values = identifiers(names, sql.SQL("(copied.whole)"))
        insert = sql.SQL(
            "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE"
            " SELECT {2} FROM (SELECT {3}::{0} AS whole OFFSET 0) AS copied RETURNING {4}"
        ).format(self._relation, columns, values, sql.Literal(row.text), TRIPWIRE)
        return Attempt(what="insert", statement=_guarded(insert))

    def _give_away(self, actor: str, tenant: str) -> Attempt:
        """One of the actor's own rows is made the other's: the first, at which it fails one way or the other. Without a
        condition the policies for reading are not asked; but a trigger that passes rows by would be met by each of
        them, so where there is one it is a row that nobody has locked."""
        only = sql.SQL(
            " WHERE (t.tableoid, t.ctid) ="
            " (SELECT t.tableoid, t.ctid FROM {} AS t WHERE {} LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)"
        ).format(self._relation, self.belongs(actor))
        update = sql.SQL("UPDATE {} AS t SET {} = {}{} RETURNING {}").format(
            self._relation, sql.Identifier(self.key), self.literal(tenant), only if self._may_pass_by else sql.SQL(""),
            TRIPWIRE,
        )  # fmt: skip
        return Attempt(what="give its own away", statement=_guarded(update))

    @property
    def _may_pass_by(self) -> bool:
        return any(trigger.before and trigger.row and "UPDATE" in trigger.events for trigger in self.table.triggers)

    @property
    def _changeable(self) -> Column:
        """A column that an UPDATE may set, better none that says where the row belongs."""
        able = [column for column in self.table.columns if not column.generated and column.identity != "a"]
        moves = {self.key, *self.table.partition_key}
        return next((column for column in able if column.name not in moves), able[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberWays(Ways):
    """The attempts on a table whose rows belong to the tenants that a link table says. `key` is one of its columns."""

    link: Link

    def belongs(self, tenant: str) -> sql.Composed:
        """That `t` is a row of the tenant, among others perhaps."""
        return self.link.leads_to(_ROW, self.literal(tenant))

    @property
    def rows_by_tenant(self) -> sql.Composed:
        return sql.SQL(
            "SELECT m.{0}::text AS tenant, pg_catalog.count(*) AS rows FROM {1} AS m WHERE m.{0} IS NOT NULL GROUP BY 1"
        ).format(sql.Identifier(self.link.tenant), self.link.table.identifier)

    def not_of(self, actor: str) -> sql.Composed:
        """A row that does not belong to `actor`: one of its tenants, if there is one, its place and its text."""
        return sql.SQL(
            "SELECT (SELECT member.{}::text {} LIMIT 1), t.tableoid::bigint, t.ctid::text, ROW(t.*)::text FROM {} AS t"
            " WHERE NOT {} LIMIT 1"
        ).format(
            sql.Identifier(self.link.tenant), self.link.of(_ROW), self._relation, self.belongs(actor)
        )  # fmt: skip

    def across(self, actor: str, row: Row) -> Iterator[Attempt]:
        others = sql.SQL("NOT {}").format(self.belongs(actor))
        for condition in (others, _at(row)):
            yield self.read(condition)
            yield Attempt(what="update", statement=self._update(condition))
            yield Attempt(what="delete", statement=self._delete(condition))
        yield self._insert(row)


def reading(relation: Name, condition: sql.Composable) -> Attempt:
    """Read the rows `t` of a table or view."""
    query = sql.SQL("SELECT {} FROM {} AS t WHERE {} LIMIT 1").format(TRIPWIRE, relation.identifier, condition)
    return Attempt(what="read", statement=query, writes=False)


def _guarded(statement: sql.Composable) -> sql.Composed:
    return sql.SQL("WITH attempt AS ({}) {}").format(statement, _GUARD)


def _at(row: Row) -> sql.Composed:
    return sql.SQL("t.tableoid = {}::pg_catalog.oid AND t.ctid = {}::pg_catalog.tid").format(
        sql.Literal(row.relation), sql.Literal(row.place)
    )


def got_through(error: psycopg.Error) -> bool | None:
    """Whether an attempt that failed with `error` had got past the policies; None where that is not known."""
    diagnosis = error.diag
    if MARK in (diagnosis.message_primary or ""):
        return True
    if context(error) is not None:
        return None  # Something within failed, such as a trigger.
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return False
    # Constraints are asked after policies.
    return True if isinstance(error, psycopg.errors.IntegrityError) else None
