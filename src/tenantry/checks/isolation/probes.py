"""Isolation by attempts: what the application role can do, as one tenant, to the rows of another."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from operator import itemgetter
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

import psycopg
from psycopg import pq, sql

from tenantry.checks.base import CheckContext
from tenantry.errors import UsageError
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.model.schema import Column, Kind, Table, View
from tenantry.model.wording import counted, listed
from tenantry.postgres.connect import connect
from tenantry.postgres.owner_context import NoTemporaryObjects, error_context, fenced
from tenantry.postgres.preflight import in_recovery
from tenantry.postgres.queries import read_queries
from tenantry.steps.derivation import of_all_tenants
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.row_security import MembershipLink, Sight

MARK = "let through by every policy"
TRIPWIRE = sql.SQL("({} || pg_catalog.random())::pg_catalog.int4").format(sql.Literal(MARK + " "))
"""An expression that fails whenever it is evaluated; volatile, so that it is evaluated for each row."""
_ROW = sql.Identifier("t")
_GUARD = sql.SQL("SELECT pg_catalog.set_config('transaction_read_only', 'on', true)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt, in words that follow "can", and its statement, which `writes` unless it only reads."""

    what: str
    statement: sql.Composed
    writes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a tenant: its address, and its text."""

    tenant: str
    relation: int
    place: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAttempts:
    """The attempts on one table. `key` is its tenant column, of `type`, compared by `operator`. `sentinel` is the key
    of the sentinel tenant, whose rows belong to all tenants."""

    table: Table
    key: str
    type: str
    operator: tuple[str, str]
    mixed: bool
    sentinel: str | None = None

    @property
    def _relation(self) -> sql.Composable:
        return self.table.name.identifier

    def belongs(self, tenant: str) -> sql.Composed:
        """The condition that `t` is a row of the tenant."""
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
            "SELECT t.{}::text AS tenant, pg_catalog.count(*) AS rows FROM {} AS t WHERE {} GROUP BY 1"
        ).format(sql.Identifier(self.key), self._relation, self.of_one)

    @property
    def of_all(self) -> sql.Composed:
        """The condition that `t` belongs to all tenants."""
        return of_all_tenants(sql.Identifier("t", self.key), self.sentinel, self.type)

    @property
    def of_one(self) -> sql.Composed:
        """The condition that `t` belongs to one tenant."""
        return sql.SQL("NOT {}").format(self.of_all)

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
        """On the shared rows of a mixed table."""
        if self.mixed:
            yield Attempt(what="update shared rows", statement=self._update(self.of_all))
            yield Attempt(what="delete shared rows", statement=self._delete(self.of_all))

    def alone(self, row: Row | None) -> Iterator[Attempt]:
        """Without a tenant, or as one that may see nothing. Without a condition only the policy of the command itself
        applies, and not that for SELECT."""
        yield self.read(self.of_one)
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
        if condition is None:
            return _guarded(sql.SQL("DELETE FROM {} AS t WHERE {} = 0").format(self._relation, TRIPWIRE))
        # PostgreSQL may evaluate the conditions of a query in any order, and the failing expression must be evaluated
        # for the other tenant's rows only. As it uses the row, PostgreSQL evaluates the policies before it, whatever
        # they cost.
        bait = sql.SQL("({} || pg_catalog.random() || t.ctid::text)::pg_catalog.int4 = 0").format(
            sql.Literal(MARK + " ")
        )  # fmt: skip
        where = sql.SQL("{0} AND CASE WHEN {0} THEN {1} END").format(condition, bait)
        return _guarded(sql.SQL("DELETE FROM {} AS t WHERE {}").format(self._relation, where))

    def _insert(self, row: Row) -> Attempt:
        """A copy of the other tenant's row; each value is given, so that no default is evaluated."""
        names = tuple(column.name for column in self.table.columns if not column.generated)
        columns = identifiers(names)
        values = identifiers(names, sql.SQL("(copied.whole)"))
        insert = sql.SQL(
            "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE"
            " SELECT {2} FROM (SELECT {3}::{0} AS whole OFFSET 0) AS copied RETURNING {4}"
        ).format(self._relation, columns, values, sql.Literal(row.text), TRIPWIRE)
        return Attempt(what="insert", statement=_guarded(insert))

    def _give_away(self, actor: str, tenant: str) -> Attempt:
        """Give one of the actor's own rows to the other tenant: the first row decides the result. Without a condition
        the policies for SELECT do not apply; but a trigger that discards rows would fire for each of them, so where
        there is one, a single unlocked row is used."""
        only = sql.SQL(
            " WHERE (t.tableoid, t.ctid) ="
            " (SELECT t.tableoid, t.ctid FROM {} AS t WHERE {} LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)"
        ).format(self._relation, self.belongs(actor))
        update = sql.SQL("UPDATE {} AS t SET {} = {}{} RETURNING {}").format(
            self._relation, sql.Identifier(self.key), self.literal(tenant), only if self._may_pass_by else sql.SQL(""),
            TRIPWIRE,
        )  # fmt: skip
        return Attempt(what="give its own rows to another tenant", statement=_guarded(update))

    @property
    def _may_pass_by(self) -> bool:
        return any(trigger.before and trigger.row and "UPDATE" in trigger.events for trigger in self.table.triggers)

    @property
    def _changeable(self) -> Column:
        """A column that an UPDATE may set, preferably not one that decides the tenant."""
        able = [column for column in self.table.columns if not column.generated and column.identity != "a"]
        moves = {self.key, *self.table.partition_key}
        return next((column for column in able if column.name not in moves), able[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTableAttempts(TableAttempts):
    """The attempts on a table whose rows belong to the tenants that a link table gives. `key` is one of its columns."""

    link: MembershipLink

    def belongs(self, tenant: str) -> sql.Composed:
        """The condition that `t` belongs to the tenant, perhaps among others."""
        return self.link.leads_to(_ROW, self.literal(tenant))

    @property
    def rows_by_tenant(self) -> sql.Composed:
        return sql.SQL(
            "SELECT m.{0}::text AS tenant, pg_catalog.count(*) AS rows FROM {1} AS m WHERE m.{0} IS NOT NULL GROUP BY 1"
        ).format(sql.Identifier(self.link.tenant), self.link.table.identifier)

    def _delete(self, condition: sql.Composable | None) -> sql.Composed:
        # The policy reads another table, which costs more than an expression that does not use the row.
        return TableAttempts._delete(self, condition if condition is not None else sql.SQL("true"))

    def not_of(self, actor: str) -> sql.Composed:
        """A row that does not belong to `actor`: one of its tenants, if any, its address and its text."""
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
    """Whether an attempt that failed with `error` had passed the policies; None if that is not known."""
    diagnosis = error.diag
    if MARK in (diagnosis.message_primary or ""):
        return True
    if error_context(error) is not None:
        return None  # Something else failed, such as a trigger.
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return False
    # Constraints are checked after policies.
    return True if isinstance(error, psycopg.errors.IntegrityError) else None


_QUERIES = read_queries(Path(__file__).with_name("sql") / "experiment.sql")
REPEATABLE_READ = sql.SQL("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
NOBODY = ""
"""The setting of a session without a tenant."""


_SAVEPOINT = sql.SQL("SAVEPOINT tenantry_attempt")
_KEEP = sql.SQL("RELEASE SAVEPOINT tenantry_attempt")
_TAKE_BACK = sql.SQL("ROLLBACK TO SAVEPOINT tenantry_attempt; RELEASE SAVEPOINT tenantry_attempt")


def in_one_message(connection: psycopg.Connection[Any], *statements: sql.Composable | bytes) -> psycopg.Cursor[Any]:
    """Send statements that run no code of other owners in one message, without the owner context; the cursor is at the
    rows of the first."""
    texts = [one if isinstance(one, bytes) else one.as_bytes(connection) for one in statements]
    return psycopg.Cursor(connection).execute(b"; ".join(texts))


def become(connection: psycopg.Connection[Any], role: str, *settings: sql.Composable | bytes) -> None:
    """Become the role until the transaction is rolled back, after `settings`; a role that may do so grants itself the
    membership. Since 16 the creator of a role is not automatically able to become it. Raises InsufficientPrivilege."""
    take_on = sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role))
    try:
        in_one_message(connection, *settings, _SAVEPOINT, take_on, _KEEP)
    except psycopg.errors.InsufficientPrivilege:
        in_one_message(connection, _TAKE_BACK)
        if in_recovery(connection):
            raise  # A standby allows no grant.
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
        connection.execute(take_on)


class _RowSeen(Exception):
    """COPY returned a row, which is all that has to be known."""


def by_itself(
    connection: psycopg.Connection[Any], statement: sql.Composed, *settings: sql.Composable, end: sql.Composable = _KEEP
) -> list[tuple[Any, ...]]:
    """The rows of a statement in a savepoint; if it succeeds, `end` ends the savepoint. There are thousands of them on
    a large schema, so all is sent in one message, unless the statement needs the owner context. Raises psycopg's
    errors."""
    try:
        if fenced(connection):
            in_one_message(connection, _SAVEPOINT, *settings)
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description is not None else []
            in_one_message(connection, end)
            return rows
        cursor = in_one_message(connection, _SAVEPOINT, *settings, statement, end)
        for _ in range(1 + len(settings)):
            cursor.nextset()
        return cursor.fetchall() if cursor.description is not None else []
    except psycopg.Error:
        if connection.info.transaction_status is pq.TransactionStatus.INERROR:
            in_one_message(connection, _TAKE_BACK)
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A session of the application's login `name`, or one that becomes the application by SET ROLE to `role`."""

    connection: psycopg.Connection[Any]
    name: str
    role: str | None
    setting: str

    @contextmanager
    def trials(self, *first: sql.Composable) -> Iterator[None]:
        """A transaction as the application, which is rolled back; `first` are its first statements."""
        with self.connection.transaction(force_rollback=True):
            if self.role is None:
                in_one_message(self.connection, *first, _QUERIES["settle"])
            else:
                become(self.connection, self.role, *first, _QUERIES["settle"])
            yield

    def sharing(self, snapshot: str) -> AbstractContextManager[None]:
        """As `trials`, with the snapshot that another transaction has exported."""
        return self.trials(REPEATABLE_READ, sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))

    def ask(self, tenant: str, query: sql.Composed) -> tuple[Any, ...] | None:
        """The first row of the query's result, as the tenant. Raises psycopg's errors."""
        return next(iter(by_itself(self.connection, query, self._named(tenant))), None)

    def attempt(self, tenant: str, statement: sql.Composed) -> psycopg.Error | bool | None:
        """The result of an attempt as the tenant: whether it succeeded, or the error that leaves it undecided."""
        try:
            by_itself(self.connection, statement, self._named(tenant), end=_TAKE_BACK)
        except psycopg.Error as error:
            if self.connection.closed:
                raise
            through = got_through(error)
            return error if through is None else through
        return False

    def _named(self, tenant: str) -> sql.Composed:
        return sql.SQL("SELECT pg_catalog.set_config({}, {}, true)").format(
            sql.Literal(self.setting), sql.Literal(tenant)
        )

    def copies_out(self, table: Name) -> psycopg.Error | bool:
        """Whether COPY returns a row to a session without a tenant. It is cancelled at the first row."""
        copy = sql.SQL("COPY {} TO STDOUT").format(table.identifier)
        try:
            with self.connection.transaction(force_rollback=True), self.connection.cursor() as cursor:
                cursor.execute("SELECT set_config(%s, %s, true)", (self.setting, NOBODY))
                if fenced(self.connection):
                    # COPY cannot run in a function of another role; with policies it becomes this query.
                    query = sql.SQL("SELECT true FROM {} LIMIT 1").format(table.identifier)
                    return cursor.execute(query).fetchone() is not None
                with cursor.copy(copy) as rows:
                    for _ in rows:
                        raise _RowSeen  # Makes the driver cancel the command on the server.
                return False
        except _RowSeen:
            return True
        except psycopg.Error as error:
            if self.connection.closed:
                raise
            refused = isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.WrongObjectType)
            return False if refused else error


def application_user(context: CheckContext) -> str | None:
    """The role of the application's own connection, None if none is given. Raises ConnectionFailed."""
    if context.application is None:
        return None
    connection = connect(context.application, run=context.run, purpose="experiment", operator=False)
    try:
        row = connection.execute(_QUERIES["user"]).fetchone()
    finally:
        connection.close()
    return str(row[0]) if row is not None else None


@contextmanager
def acting(context: CheckContext) -> Iterator[Actor]:
    """The application, by its own connection where one is given. Raises UsageError if that is another role."""
    setting, role = context.ownership.setting, context.spec.application.role
    if context.application is None:
        with context.session("experiment", read_only=False) as connection:
            yield Actor(connection=connection, name=role, role=role, setting=setting)
        return
    connection = connect(context.application, run=context.run, purpose="experiment", operator=False)
    try:
        here = context.connection.execute(_QUERIES["database"]).fetchone()
        if connection.execute(_QUERIES["database"]).fetchone() != here:
            raise UsageError(
                "--application-dsn connects to another database",
                remedy="Give a connection string of the database that is validated.",
            )
        user, stands, becomes = connection.execute(_QUERIES["stands_for"], {"role": role}).fetchone() or (
            "",
            False,
            False,
        )
        if not stands and not becomes:
            raise UsageError(
                f"--application-dsn connects as {user}, which does not have the privileges of {role}",
                remedy=f"Connect as the user of the application, or GRANT {quoted(role)} TO {quoted(user)}.",
            )
        # A login that does not inherit the privileges uses SET ROLE, as its application must.
        yield Actor(connection=connection, name=user, role=None if stands else role, setting=setting)
    finally:
        connection.close()


_BESIDE = ("InitPlan", "SubPlan")
"""Plan nodes that return no row without an input row."""
_ALWAYS_ONE = "Plain"
"""The strategy of an aggregate without groups, which returns a row even for no input."""


def readable_only_through_owned(connection: psycopg.Connection[Any], context: CheckContext, view: Name) -> bool:
    """True if every row of the view comes from rows of owned tables that are not mixed.

    False if the plan shows something else, or cannot be read.
    """
    query = sql.SQL("EXPLAIN (VERBOSE, FORMAT JSON) SELECT * FROM {}").format(view.identifier)
    try:
        with connection.transaction(force_rollback=True):
            row = connection.execute(query).fetchone()
    except psycopg.Error:
        if connection.closed:
            raise
        return False
    assert row is not None
    return all(_only_owned(node, context) for node in _leaves(row[0][0]["Plan"]))


def _leaves(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The plan nodes that rows come from."""
    children = [child for child in node.get("Plans", ()) if child.get("Parent Relationship") not in _BESIDE]
    if not children or (node["Node Type"] == "Aggregate" and node.get("Strategy") == _ALWAYS_ONE):
        yield node
        return
    for child in children:
        yield from _leaves(child)


def _only_owned(node: Mapping[str, Any], context: CheckContext) -> bool:
    if "Relation Name" not in node:
        return False
    owned = context.ownership.of(Name(node["Schema"], node["Relation Name"]))
    return owned is not None and not owned.mixed


GROUPED = 2**30
"""In bytes: for larger tables, the rows of each tenant are not counted."""
COUNTED = 5.0
"""Seconds after which only the tenants that counting begins with are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRows:
    """A tenant has `rows` that it may see, shared ones included; it sees `seen` of them, and `others` in addition.
    `belonging` are its own among the rows seen."""

    tenant: str
    rows: int
    seen: int
    others: int
    belonging: int = 0


Unknown: TypeAlias = tuple[str, str]
"""A tenant whose rows could not be counted, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllRows:
    """All tenants were counted: the tables have `rows`, also of tenants that do not exist, and the tenants see `seen`
    of them."""

    rows: int
    seen: int


def own_rows(
    context: CheckContext, actor: Actor, attempts: TableAttempts, tenants: Sequence[str], *,
    existing_tenants: Collection[str],
    barred: Collection[str],
) -> Iterator[OwnRows | Unknown | AllRows]:  # fmt: skip
    """Counts of these tenants, and of all others, those with most and with fewest rows first, within a few seconds; and
    of those that are `barred`, which must see no tenant's row. Waits for no lock.

    `existing_tenants` are the existing tenants, none if they cannot be read. The sum of all tenants comes last, if each
    of them was counted.
    """
    operator = context.connection
    with operator.transaction():
        exported = in_one_message(
            operator, REPEATABLE_READ, sql.SQL("SELECT pg_catalog.pg_export_snapshot()"), _QUERIES["bounded"]
        )
        exported.nextset()
        (snapshot,) = exported.fetchone() or ("",)
        having = _having(context, attempts)
        first = dict.fromkeys((*barred, *tenants, *list(having)[:1], *list(having)[-1:]))
        deadline, counted = time.monotonic() + COUNTED, dict[str, OwnRows]()
        with actor.sharing(snapshot):
            for tenant in dict.fromkeys((*first, *(tenant for tenant in having if tenant in existing_tenants))):
                if tenant not in first and time.monotonic() > deadline:
                    return
                try:
                    # Those of each tenant are known already, unless others are to be seen as well.
                    rows = None if attempts.mixed or isinstance(attempts, MemberTableAttempts) else having.get(tenant)
                    counted[tenant] = _counted(operator, actor, attempts, tenant, barred, rows)
                    yield counted[tenant]
                except psycopg.Error as error:
                    if operator.closed or actor.connection.closed:
                        raise
                    context.looking(f"what a tenant sees of {attempts.table.name}")  # Unless it was stopped.
                    yield tenant, error.diag.message_primary or type(error).__name__
        # A row with a membership may belong to several tenants.
        whole = bool(existing_tenants) and not isinstance(attempts, MemberTableAttempts)
        if having and whole and all(tenant in counted for tenant in having if tenant in existing_tenants):
            yield AllRows(
                rows=sum(rows for tenant, rows in having.items() if tenant not in barred),
                seen=sum(one.belonging for tenant, one in counted.items() if tenant in existing_tenants),
            )  # fmt: skip


def _having(context: CheckContext, attempts: TableAttempts) -> Mapping[str, int]:
    """The rows of each tenant, most first; empty if counting takes too long."""
    if attempts.table.bytes > GROUPED:
        return {}
    query = sql.SQL("SELECT tenant, rows FROM ({}) AS counted ORDER BY rows DESC, tenant").format(
        attempts.rows_by_tenant
    )
    try:
        return dict(by_itself(context.connection, query))
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
        context.looking(f"what tenants see of {attempts.table.name}")
        return {}


def _counted(
    operator: psycopg.Connection[Any], actor: Actor, attempts: TableAttempts, tenant: str, barred: Collection[str],
    rows: int | None
) -> OwnRows:  # fmt: skip
    nothing = tenant in barred
    may = own = sql.SQL("false").format() if nothing else attempts.belongs(tenant)
    if attempts.mixed:
        may = sql.SQL("({} OR {})").format(own, attempts.of_all)
    relation = attempts.table.name.identifier
    count = sql.SQL("SELECT pg_catalog.count(*) FROM {} AS t WHERE {}").format(relation, may)
    seen = sql.SQL(
        "SELECT pg_catalog.count(*) FILTER (WHERE {}), pg_catalog.count(*) FILTER (WHERE {}), pg_catalog.count(*)"
        " FROM {} AS t"
    ).format(own, may, relation)
    if nothing:
        rows = 0
    elif rows is None:
        ((rows,),) = by_itself(operator, count)
    belonging, allowed, whole = actor.ask(tenant, seen) or (0, 0, 0)
    return OwnRows(tenant=tenant, rows=rows, belonging=belonging, seen=allowed, others=whole - allowed)


STRANGERS = {
    "uuid": ["ffffffff-ffff-4fff-bfff-ffffffffffff"], "text": ["a stranger"], "character varying": ["a stranger"],
    "smallint": ["32767"], "integer": ["2147483647"], "bigint": ["9223372036854775807"],
}  # fmt: skip
"""Keys of tenants that do not exist, by the type of the key."""
_finding = partial(Finding, family=Family.ISOLATION)


def experiment(context: CheckContext) -> Iterator[Finding]:
    """Nothing before isolate is reached, nor where the application role does not exist.

    Raises UsageError if the connection that was given for the application is another role's.
    """
    role = context.spec.application.role
    if not context.reached(Phase.ISOLATE) or role not in context.live.roles:
        return
    try:
        with acting(context) as actor:
            laboratory = _Laboratory(context=context, actor=actor)
            tables = list(laboratory.tables())
            with _several(laboratory, len(tables)) as laboratories:
                for found in laboratories(tables):
                    yield from found
            for view in laboratory.views():
                context.looking(f"what {role} sees in {view.name}")
                yield from laboratory.view(view)
            yield from laboratory.conclusion()
    except psycopg.errors.InsufficientPrivilege as error:
        yield _finding(
            name="experiment-not-tried", severity=Severity.WARNING,
            message=f"What {role} can access was not tested: {error.diag.message_primary}",
            remedy=f"GRANT {quoted(role)} TO {quoted(context.live.user)}; or set --application-dsn.",
        )  # fmt: skip
    except NoTemporaryObjects as error:
        yield _finding(
            name="experiment-not-tried", severity=Severity.WARNING,
            message=f"What {role} can access was not tested: {error.message}",
            remedy=f"{error.remedy}; or set --application-dsn.",
        )  # fmt: skip


def laboratory(context: CheckContext, actor: Actor) -> _Laboratory:
    """The tables that the application may use, and the tenants."""
    return _Laboratory(context=context, actor=actor)


MANY = 50
"""Of so many tables, two are tried at a time: while one waits for the server, the other says what to try next."""
_Trying: TypeAlias = Callable[[Sequence[TableAttempts]], Iterator[list[Finding]]]


@contextmanager
def _several(laboratory: _Laboratory, tables: int) -> Iterator[_Trying]:
    """What tries tables in one laboratory, or in two; the findings come in the order of the tables."""
    with ExitStack() as stack:
        free: SimpleQueue[_Laboratory] = SimpleQueue()
        free.put(laboratory)
        # A role that is only lent is lent to one transaction at a time.
        if tables >= MANY and not laboratory.borrows:
            free.put(laboratory.another(stack))

        def one(attempts: TableAttempts) -> list[Finding]:
            here = free.get()
            try:
                here.context.looking(f"what {here.context.spec.application.role} can do to {attempts.table.name}")
                return list(here.table(attempts))
            finally:
                free.put(here)

        pool = stack.enter_context(ThreadPoolExecutor(free.qsize()))
        yield lambda attempts: pool.map(one, attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """An attempt of a tenant on another's rows."""

    attempt: Attempt
    actor: str
    tenant: str

    @property
    def sample(self) -> dict[str, str]:
        return {"attempt": self.attempt.what, "as": self.actor or "no tenant", "rows of": self.tenant}


_Victim: TypeAlias = tuple[Row, str | None]
"""A row, and the tenant that tries to access it."""


@dataclass(frozen=True, kw_only=True)
class _Laboratory:
    """`tried` counts attempts by relation; `leaking` are relations where one succeeded; `together` those of which each
    tenant's rows were counted; `open` are undecided attempts, with the reason."""

    context: CheckContext
    actor: Actor
    tried: Counter[Name] = field(default_factory=Counter)
    leaking: set[Name] = field(default_factory=set)
    together: set[Name] = field(default_factory=set)
    open: list[dict[str, str]] = field(default_factory=list)

    @cached_property
    def scope(self) -> Scope:
        return Scope.of(self.context.schema, self.context.plan, Phase.CONTRACT)

    @property
    def borrows(self) -> bool:
        """Whether the application role must be granted to tenantry's role before it can become it."""
        if self.context.application is not None:
            return False
        asked = self.context.connection.execute(_QUERIES["stands_for"], {"role": self.actor.role}).fetchone()
        return asked is None or not asked[2]

    def another(self, stack: ExitStack) -> _Laboratory:
        """The same with sessions of its own, as long as the stack lasts."""
        operator = stack.enter_context(self.context.session("experiment as operator"))
        context = replace(self.context, connection=operator)
        return replace(self, context=context, actor=stack.enter_context(acting(context)))

    # --- the relations

    def tables(self) -> Iterator[TableAttempts]:
        """The relations with policies that the application has privileges on."""
        tenant = self.context.ownership.tenant
        securities = {step.table: step for step in self.scope.securities}
        for name in self._readable(sorted(securities)):
            step = securities[name]
            if self.context.has(name, step.column) and (self.context.wants(name) or name == tenant.name):
                table, mixed, link = self.context.live.tables[name], step.sight is Sight.MIXED, step.link
                if link is None:
                    yield TableAttempts(
                        table=table, key=step.column, type=step.type, operator=tenant.key_operator, mixed=mixed,
                        sentinel=tenant.sentinel,
                    )  # fmt: skip
                elif self.context.has(link.table, link.tenant, *link.columns):
                    yield MemberTableAttempts(
                        table=table, key=step.column, type=step.type, operator=tenant.key_operator, mixed=mixed,
                        link=link,
                    )  # fmt: skip

    def views(self) -> Iterator[View]:
        """The views over them that it may read, each after those that it reads; a view of a leaking relation is
        skipped."""
        readable = self._readable([view.name for view in self.scope.views if view.kind is Kind.VIEW])
        for view in self.scope.views:
            if not self.leaking.isdisjoint(view.reads):
                self.leaking.add(view.name)
            elif view.name in readable and self._wants(view):
                yield view

    def _wants(self, view: View) -> bool:
        return self.context.tables is None or any(self.context.wants(name) for name in view.reads)

    def _readable(self, names: Sequence[Name]) -> list[Name]:
        texts = [name.identifier.as_string(None) for name in names]
        parameters = {"role": self.actor.role or self.actor.name, "names": texts}
        rows = self.context.connection.execute(_QUERIES["readable"], parameters)
        found = {Name(schema, name) for schema, name in rows}
        return [name for name in names if name in found]

    # --- the attempts

    def table(self, attempts: TableAttempts) -> Iterator[Finding]:
        try:
            victims = self._victims(attempts)
        except psycopg.errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            if self.context.connection.closed:
                raise
            trial = _Trial(attempt=attempts.read(sql.SQL("true")), actor=NOBODY, tenant="all")
            self._leave_open(attempts.table.name, trial, error.diag.message_primary or "")
            return
        with self.actor.trials():
            through = [
                trial for trial in self._trials(attempts, victims) if self._got_through(attempts.table.name, trial)
            ]
            copied = self.actor.copies_out(attempts.table.name) if victims and not attempts.mixed else False
        own, together = [], None
        for one in self._own(attempts, victims):
            if isinstance(one, OwnRows):
                own.append(one)
            else:
                together = one
        for alone in (False, True):
            if not any(trial.attempt.what == "read" and (trial.actor == NOBODY) is alone for trial in through):
                # Rows of other tenants than those of the attempts.
                everything = attempts.read(sql.SQL("true"))
                through += [
                    _Trial(attempt=everything, actor=one.tenant, tenant="others")
                    for one in own if one.others and (one.tenant == NOBODY) is alone
                ]  # fmt: skip
        if copied is True:
            copy = sql.SQL("COPY {} TO STDOUT").format(attempts.table.name.identifier)
            through.append(_Trial(attempt=Attempt(what="copy out", statement=copy), actor=NOBODY, tenant="all"))
        yield from self._leak_finding(attempts.table.name, through)
        hidden = [one for one in own if one.seen < one.rows]
        yield from self._hidden(attempts, hidden)
        if together is not None:
            self.together.add(attempts.table.name)
            if not hidden and not any(one.others for one in own):
                yield from self._together(attempts.table.name, together)

    def _own(self, attempts: TableAttempts, victims: Sequence[_Victim]) -> Iterator[OwnRows | AllRows]:
        """What tenants see of their own rows: else not seeing rows of others would prove nothing."""
        if attempts.table.name in self.context.hidden:
            return
        tenants = [row.tenant for row, _ in victims if row.tenant not in ("", *self.reserved)]
        tenants += [actor for _, actor in victims if actor is not None and isinstance(attempts, MemberTableAttempts)]
        barred = list(dict.fromkeys((NOBODY, *STRANGERS.get(attempts.type, ())[:1], *self.reserved)))
        looked = own_rows(
            self.context, self.actor, attempts, tenants, existing_tenants=self.existing_tenants, barred=barred
        )
        for one in looked:
            if isinstance(one, AllRows):
                yield one
                continue
            self.tried[attempts.table.name] += 1
            if isinstance(one, OwnRows):
                yield one
                continue
            tenant, reason = one
            if tenant in barred:
                continue  # Reading as it is one of the attempts.
            trial = _Trial(attempt=attempts.read(attempts.belongs(tenant)), actor=tenant, tenant=tenant)
            with self.actor.trials():
                outcome = self.actor.attempt(tenant, trial.attempt.statement)
            if outcome is False:
                yield OwnRows(tenant=tenant, rows=1, seen=0, others=0)
            else:
                self._leave_open(attempts.table.name, trial, f"its own rows could not all be counted: {reason}")

    def _hidden(self, attempts: TableAttempts, hidden: Sequence[OwnRows]) -> Iterator[Finding]:
        """A RESTRICTIVE policy of others may hide some rows on purpose, but hardly all."""
        if not hidden:
            return
        name = attempts.table.name
        ours = {policy for step in self.scope.securities if step.table == name for policy in step.names}
        narrowing = [
            quoted(policy.name) for policy in self.context.live.tables[name].policies
            if not policy.permissive and policy.name not in ours and policy.command in ("ALL", "SELECT")
        ]  # fmt: skip
        meant = bool(narrowing) and all(one.seen for one in hidden)
        by = f"; the policy {', '.join(narrowing)} hides some" if narrowing else ""
        yield _finding(
            name="own-rows-hidden", severity=Severity.WARNING if meant else Severity.ERROR, table=name,
            count=len(hidden),
            message=f"{len(hidden)} of the tenants that were tested do not see all of their own rows of {name}{by}",
            remedy=f"Check its policies for the application role and PUBLIC; {self.context.repair_command} restores its"
            " own.",
            samples=tuple(
                {"tenant": one.tenant, "rows": one.rows, "seen": one.seen} for one in hidden[: self.context.samples]
            ),
        )  # fmt: skip

    def _together(self, name: Name, together: AllRows) -> Iterator[Finding]:
        if together.seen != together.rows:
            yield _finding(
                name="tenants-do-not-add-up", severity=Severity.ERROR, table=name,
                count=abs(together.rows - together.seen),
                message=f"Of the {together.rows:,} rows of {name} that have a tenant, all tenants together see"
                f" {together.seen:,}",
                remedy="`tenant-unknown` names rows of tenants that there are not; else see the policies.",
            )  # fmt: skip

    def _trials(self, attempts: TableAttempts, victims: Sequence[_Victim]) -> Iterator[_Trial]:
        for row, actor in victims:
            if actor == row.tenant:
                yield from self._as(actor, row.tenant, attempts.alone(row))
            elif actor is not None:
                yield from self._as(actor, row.tenant, attempts.across(actor, row))
                yield from self._as(actor, "all", attempts.shared())
        yield from self._as(NOBODY, "all", attempts.alone(victims[0][0] if victims else None))
        yield from self._as(NOBODY, "all", attempts.shared())

    def _as(self, actor: str, tenant: str, attempts: Iterator[Attempt]) -> Iterator[_Trial]:
        for attempt in attempts:
            if not (attempt.writes and self.context.standby):
                yield _Trial(attempt=attempt, actor=actor, tenant=tenant)

    def _got_through(self, table: Name, trial: _Trial) -> bool:
        self.tried[table] += 1
        outcome = self.actor.attempt(trial.actor, trial.attempt.statement)
        if isinstance(outcome, psycopg.Error):
            self._leave_open(table, trial, outcome.diag.message_primary or type(outcome).__name__)
            return False
        return bool(outcome)

    def _leave_open(self, table: Name, trial: _Trial, reason: str) -> None:
        self.open.append({"table": str(table), **trial.sample, "reason": reason})

    # --- rows and tenants, as the operator sees them

    def _victims(self, attempts: TableAttempts) -> list[_Victim]:
        """A row of the first and of the last tenant by key, found by the index; each with the tenant that tries to
        access it. For the quarantine tenant that is itself: no application can be it."""
        if isinstance(attempts, MemberTableAttempts):
            return list(self._strangers(attempts))
        rows: dict[str, Row] = {}
        key, relation = sql.Identifier(attempts.key), attempts.table.name.identifier
        ends = [
            sql.SQL(
                "(SELECT t.{0}::text, t.tableoid::bigint, t.ctid::text, ROW(t.*)::text FROM {1} AS t"
                " WHERE {2} ORDER BY t.{0} {3} LIMIT 1)"
            ).format(key, relation, attempts.of_one, sql.SQL(order))
            for order in ("ASC", "DESC")
        ]
        for tenant, oid, place, text in self._ask(sql.SQL(" UNION ALL ").join(ends)):
            rows[tenant] = Row(tenant=tenant, relation=oid, place=place, text=text)
        # Preferably a tenant with rows in this table, then any other, then one that does not exist.
        actors = [*reversed(rows), *self.tenants, *STRANGERS.get(attempts.type, ())]
        return [
            (row, tenant if tenant == self.quarantine else self._other(tenant, actors)) for tenant, row in rows.items()
        ]

    def _strangers(self, attempts: MemberTableAttempts) -> Iterator[_Victim]:
        """For the first tenants, a row that does not belong to each; else for one that does not exist."""
        tried = 0
        for actor in (*self.tenants, *STRANGERS.get(attempts.type, ())):
            if tried == 2 or actor in self.reserved:
                continue
            for tenant, oid, place, text in self._ask(attempts.not_of(actor)):
                tried += 1
                yield Row(tenant=tenant or "", relation=oid, place=place, text=text), actor

    def _other(self, tenant: str, actors: Sequence[str]) -> str | None:
        return next((actor for actor in actors if actor not in (tenant, *self.reserved)), None)

    @cached_property
    def tenants(self) -> list[str]:
        """The keys of some tenants."""
        tenant = self.context.ownership.tenant
        if not self.context.has(tenant.name, tenant.key):
            return []
        query = sql.SQL("SELECT t.{0}::text FROM {1} AS t ORDER BY t.{0} LIMIT 3").format(
            sql.Identifier(tenant.key), tenant.name.identifier
        )
        return [key for (key,) in self._ask(query)]

    @cached_property
    def existing_tenants(self) -> frozenset[str]:
        """The keys of all tenants; empty if they cannot be read."""
        tenant = self.context.ownership.tenant
        if not self.context.has(tenant.name, tenant.key) or tenant.name in self.context.hidden:
            return frozenset()
        query = sql.SQL("SELECT t.{}::text FROM {} AS t").format(sql.Identifier(tenant.key), tenant.name.identifier)
        return frozenset(key for (key,) in self._ask(query))

    @cached_property
    def reserved(self) -> tuple[str, ...]:
        """The keys of the quarantine tenant and the sentinel tenant, if there are any: no session can be one of
        them."""
        return tuple(key for key in (self.quarantine, self.context.ownership.tenant.sentinel) if key is not None)

    @cached_property
    def quarantine(self) -> str | None:
        """The key of the quarantine tenant, if there is one."""
        tenant = self.context.ownership.tenant
        if tenant.quarantine is None or not self.context.has(tenant.name, tenant.key, tenant.slug):
            return None
        query = sql.SQL("SELECT t.{}::text FROM {} AS t WHERE t.{} = {}").format(
            sql.Identifier(tenant.key), tenant.name.identifier, sql.Identifier(tenant.slug),
            sql.Literal(tenant.quarantine),
        )  # fmt: skip
        return next((key for (key,) in self._ask(query)), None)

    def _ask(self, query: sql.Composed) -> list[tuple[Any, ...]]:
        """Raises LockNotAvailable rather than waiting for a lock."""
        with self.context.connection.transaction():
            return by_itself(self.context.connection, query, sql.SQL(_QUERIES["patience"].decode()))

    # --- views

    def view(self, view: View) -> Iterator[Finding]:
        """If a view shows the tenant column, rows of others; if not, any row for a session without a tenant, provided
        that it only shows owned rows."""
        column = self.context.spec.tenant.column
        parameters = {"name": view.name.identifier.as_string(None), "column": column}
        (shows,) = self.context.connection.execute(_QUERIES["has_column"], parameters).fetchone() or (False,)
        with self.actor.trials():
            if shows:
                sentinel, shown = self.context.ownership.tenant.sentinel, sql.Identifier("t", column)
                condition: sql.Composable = sql.SQL("{} IS NOT NULL").format(shown)
                if sentinel is not None:
                    condition = sql.SQL("{} AND {}::text <> {}").format(condition, shown, sql.Literal(sentinel))
            elif readable_only_through_owned(self.actor.connection, self.context, view.name):
                condition = sql.SQL("true")
            else:
                return
            trial = _Trial(attempt=reading(view.name, condition), actor=NOBODY, tenant="all")
            through = [trial] if self._got_through(view.name, trial) else []
        yield from self._leak_finding(view.name, through)

    # --- the findings

    def _leak_finding(self, table: Name, through: Sequence[_Trial]) -> Iterator[Finding]:
        if not through:
            return
        self.leaking.add(table)
        actions = {
            who: ", ".join(dict.fromkeys(trial.attempt.what for trial in through if (trial.actor == NOBODY) is alone))
            for who, alone in (("as another tenant", False), ("as no tenant", True))
        }
        different = list({(trial.attempt.what, trial.actor, trial.tenant): trial for trial in through}.values())
        listed = "; ".join(f"{who} it can {what}" for who, what in actions.items() if what)
        yield _finding(
            name="tenants-not-apart", severity=Severity.ERROR, table=table, count=len(through),
            message=f"{self.actor.name} gets access to tenants' rows of {table}: {listed}",
            remedy=f"Run {self.context.repair_command}, which restores its policies; drop policies that allow this; and"
            f" make sure that {self.actor.name} is no superuser, has no BYPASSRLS and owns no table.",
            samples=tuple(trial.sample for trial in different[: self.context.samples]),
        )  # fmt: skip

    def conclusion(self) -> Iterator[Finding]:
        """How much was tried, and what could not be decided because of a standby, a trigger, a rule or a lock."""
        yield _finding(
            name="tenants-tried", severity=Severity.INFO, count=self.tried.total(),
            message=f"{self.actor.name} made {self.tried.total():,} attempts to access rows of other tenants, on"
            f" {len(self.tried)} tables and views: it succeeded on {len(self.leaking)}; on"
            f" {counted(len(self.together), 'table')} the rows that all tenants see were added up",
        )  # fmt: skip
        if self.context.standby:
            yield _finding(
                name="writes-not-tried", severity=Severity.INFO,
                message=f"Writes by {self.actor.name} were not tested: this server is a standby, which is read-only",
                remedy="Run the command on the primary server.",
            )  # fmt: skip
        if self.open:
            undecided = sorted(self.open, key=itemgetter("table"))
            tables = list(dict.fromkeys(sample["table"] for sample in undecided))
            yield _finding(
                name="experiment-undecided", severity=Severity.INFO, count=len(self.open),
                message=f"Some attempts of a tenant gave no result, on {listed(tables)}",
                remedy="See the reasons. A trigger that writes or uses a sequence is stopped before it can do so.",
                samples=tuple(undecided[: self.context.samples]),
            )  # fmt: skip
