"""Isolation by attempts where tables are distributed by Citus.

Citus passes the tenant of a session on by SET LOCAL in a message of its own, and only where
citus.propagate_set_commands is set, which SET ROLE does not do. A snapshot cannot be shared, and rows have no one
address: so tenants are compared with counts by the operator, again if rows were written meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

from tenantry.checks.base import CheckContext
from tenantry.checks.isolation.probes import Actor, TableAttempts, acting, laboratory
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.postgres.owner_context import fenced
from tenantry.steps.citus_setting import SETTING, application_users
from tenantry.steps.introspection import identifiers, raw

TENANTS = 50
SECONDS = 10.0
"""The largest number of tenants whose rows of a table are counted, and the time for one table."""
TRIES = 3
"""How often a count is repeated that differs: rows may have been written between the two."""
NOBODY = ""


def distributed_experiment(context: CheckContext) -> Iterator[Finding]:
    """What the application role sees and can write, through the coordinator. Raises UsageError as `experiment` does."""
    role = context.spec.application.role
    if not context.reached(Phase.ISOLATE) or role not in context.live.roles:
        return
    if fenced(context.connection):
        yield _found(
            "experiment-not-tried", Severity.WARNING, None,
            f"What {role} can access was not tested: this role has more privileges than owners of the tables",
            "Run the command as the owner of the tables.",
        )  # fmt: skip
        return
    with acting(context) as actor:
        if actor.role is None:
            ((value,),) = actor.connection.execute("SELECT current_setting('citus.propagate_set_commands')").fetchall()
            if value != "local":
                yield _found(
                    "tenant-not-propagated", Severity.ERROR, None,
                    f"{SETTING} is {value!r} for {actor.name}: the tenant of its sessions does not reach the nodes",
                    f"ALTER ROLE {quoted(actor.name)} IN DATABASE … SET {SETTING} = 'local', and connect again.",
                )  # fmt: skip
                return
        else:
            # Citus connects to the other nodes as the role of the session.
            users = context.connection.execute(application_users(role)).fetchall()
            login = next((name for _, name, can_log_in, _ in users if can_log_in), None)
            if login is None:
                yield _found(
                    "experiment-not-tried", Severity.WARNING, None,
                    f"What {role} can access was not tested: no role logs in as it, and Citus has to connect to the"
                    " other nodes",
                    f"GRANT {quoted(role)} TO the role that the application logs in as; or set --application-dsn.",
                )  # fmt: skip
                return
            actor = replace(actor, role=login, name=login)
            actor.connection.execute("SET citus.propagate_set_commands = 'local'")
        trials = _Trials(context=context, actor=actor)
        for attempts in laboratory(context, actor).tables():
            context.looking(f"what {actor.name} can do to {attempts.table.name}")
            yield from trials.table(attempts)
        yield from trials.conclusion()


def _found(
    name: str, severity: Severity, table: Name | None, message: str, remedy: str = "", *, count: int = 1,
    samples: tuple[Mapping[str, Any], ...] = (),
) -> Finding:  # fmt: skip
    return Finding(
        name=name, family=Family.ISOLATION, severity=severity, table=table, message=message, remedy=remedy,
        count=count, samples=samples,
    )  # fmt: skip


@dataclass(kw_only=True)
class _Trials:
    context: CheckContext
    actor: Actor
    tried: int = 0
    tables: int = 0
    together: int = 0
    open: list[dict[str, str]] = field(default_factory=list)
    untried: list[dict[str, str]] = field(default_factory=list)

    @contextmanager
    def _as(self, tenant: str) -> Iterator[psycopg.Connection[Any]]:
        """A transaction as the application with this tenant, which is rolled back."""
        with self.actor.connection.transaction(force_rollback=True):
            connection = self.actor.connection
            connection.execute("SET LOCAL lock_timeout = '1s'")
            connection.execute("SET LOCAL statement_timeout = '5s'")
            # The operator's sessions raise where a policy hides rows.
            connection.execute("SET LOCAL row_security = on")
            if self.actor.role is not None:
                connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.actor.role)))
            named = [sql.Identifier(part) for part in self.actor.setting.split(".")]
            connection.execute(sql.SQL("SET LOCAL {} = {}").format(sql.SQL(".").join(named), sql.Literal(tenant)))
            yield connection

    # --- one table

    def table(self, attempts: TableAttempts) -> Iterator[Finding]:
        name = attempts.table.name
        self.tables += 1
        try:
            having = self._having(attempts)
            seen = dict(self._seen(attempts, list(having)))
        except psycopg.Error as error:
            if self.context.connection.closed or self.actor.connection.closed:
                raise
            self.untried.append({"table": str(name), "reason": error.diag.message_primary or type(error).__name__})
            return
        through = list(self._written(attempts, having))
        foreign = {tenant: others for tenant, (_, others) in seen.items() if others}
        if foreign:
            through = [("read", tenant) for tenant in foreign] + through
        if through:
            listed = ", ".join(dict.fromkeys(what for what, _ in through))
            yield _found(
                "tenants-not-apart", Severity.ERROR, name,
                f"{self.actor.name} gets access to tenants' rows of {name}: it can {listed}",
                f"Run {self.context.repair_command}, which restores its policies, and compare those of the shards on"
                " each node.",
                count=len(through),
                samples=tuple({"attempt": what, "as": tenant or "no tenant"} for what, tenant in through[:20]),
            )  # fmt: skip
        hidden = {tenant: (own, having[tenant]) for tenant, (own, _) in seen.items() if own != having.get(tenant, 0)}
        if hidden:
            yield _found(
                "own-rows-hidden", Severity.ERROR, name,
                f"{len(hidden)} of the tenants that were tested do not see all of their own rows of {name}",
                f"Check {SETTING} of the application's roles, and its policies: {self.context.repair_command} restores"
                " both.",
                count=len(hidden),
                samples=tuple({"tenant": who, "rows": rows, "seen": own} for who, (own, rows) in hidden.items()),
            )  # fmt: skip
        elif set(having) <= seen.keys():
            self.together += 1

    def _having(self, attempts: TableAttempts) -> dict[str, int]:
        """The rows of each tenant, those with most first; as the operator."""
        with self.context.connection.transaction():
            self.context.connection.execute("SET LOCAL statement_timeout = '5s'")
            query = sql.SQL("SELECT tenant, rows FROM ({}) AS counted ORDER BY rows DESC, tenant")
            rows = self.context.connection.execute(query.format(attempts.rows_by_tenant)).fetchall()
        return {tenant: count for tenant, count in rows if tenant not in self._barred}

    def _seen(self, attempts: TableAttempts, tenants: Sequence[str]) -> Iterator[tuple[str, tuple[int, int]]]:
        """By tenant, how many rows of its own and of others it sees."""
        barred = [NOBODY, *self._barred]
        shared = attempts.of_all if attempts.mixed else sql.SQL("false")
        deadline = time.monotonic() + SECONDS
        for tenant in (*barred, *tenants[:TENANTS]):
            if tenant not in barred and time.monotonic() > deadline:
                return
            for _ in range(TRIES):
                before = self._count(attempts, tenant)
                self.tried += 1
                with self._as(tenant) as connection:
                    own = sql.SQL("false") if tenant in barred else attempts.belongs(tenant)
                    query = sql.SQL(
                        "SELECT pg_catalog.count(*) FILTER (WHERE {0}),"
                        " pg_catalog.count(*) FILTER (WHERE NOT ({0} OR {1})) FROM {2} AS t"
                    ).format(own, shared, attempts.table.name.identifier)
                    ((mine, others),) = connection.execute(query).fetchall()
                if tenant in barred or mine in (before, self._count(attempts, tenant)):
                    break
            yield tenant, (mine, others)

    def _count(self, attempts: TableAttempts, tenant: str) -> int:
        if tenant == NOBODY:
            return 0
        query = sql.SQL("SELECT pg_catalog.count(*) FROM {} AS t WHERE {}").format(
            attempts.table.name.identifier, attempts.belongs(tenant)
        )
        ((count,),) = self.context.connection.execute(query).fetchall()
        return int(count)

    def _written(self, attempts: TableAttempts, having: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """The attempts of one tenant, and of none, to change another one's rows, that succeeded."""
        if not having or self.context.standby:
            return
        victims = [next(iter(having)), *([self._sentinel] if attempts.mixed and self._sentinel else [])]
        tried = [
            (actor, attempt)
            for victim in victims for actor in (NOBODY, *[one for one in having if one != victim][:1])
            for attempt in self._attempts(attempts, victim)
        ]  # fmt: skip
        for actor, (what, statement) in tried:
            self.tried += 1
            try:
                with self._as(actor) as connection:
                    if connection.execute(statement).rowcount > 0:
                        yield what, actor
            except psycopg.Error as error:
                if self.actor.connection.closed:
                    raise
                # Of distributed tables, which have no triggers: constraints are checked after policies.
                if isinstance(error, psycopg.errors.IntegrityError):
                    yield what, actor
                elif not isinstance(error, psycopg.errors.InsufficientPrivilege):
                    reason = error.diag.message_primary or type(error).__name__
                    self.open.append({"table": str(attempts.table.name), "attempt": what, "reason": reason})

    def _attempts(self, attempts: TableAttempts, victim: str) -> Iterator[tuple[str, sql.Composed]]:
        relation, theirs = attempts.table.name.identifier, attempts.belongs(victim)
        able = [
            one
            for one in attempts.table.columns
            if not one.generated and one.identity != "a" and one.name != attempts.key
        ]
        if able:
            column = sql.Identifier(able[-1].name)
            yield "update", sql.SQL("UPDATE {} AS t SET {} = t.{} WHERE {}").format(relation, column, column, theirs)
        yield "delete", sql.SQL("DELETE FROM {} AS t WHERE {}").format(relation, theirs)
        names = tuple(column.name for column in attempts.table.columns if not column.generated)
        types = {column.name: column.type for column in attempts.table.columns}
        read = sql.SQL("SELECT {} FROM {} AS t WHERE {} LIMIT 1").format(
            sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in names), relation, theirs
        )  # fmt: skip
        row = self.context.connection.execute(read).fetchone()
        if row is not None:
            values = sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(value), raw(types[name]))
                for name, value in zip(names, row, strict=True)
            )
            yield "insert", sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
                relation, identifiers(names), values
            )  # fmt: skip

    @property
    def _sentinel(self) -> str | None:
        return self.context.ownership.tenant.sentinel

    @cached_property
    def _barred(self) -> tuple[str, ...]:
        """The quarantine tenant and the sentinel tenant: no session can be one of them."""
        return laboratory(self.context, self.actor).reserved

    def conclusion(self) -> Iterator[Finding]:
        yield _found(
            "tenants-tried", Severity.INFO, None,
            f"{self.actor.name} made {self.tried:,} attempts to access rows, on {self.tables} distributed tables; on"
            f" {self.together} the rows that all tenants see were added up",
            count=self.tried,
        )  # fmt: skip
        if self.untried:
            yield _found(
                "experiment-not-tried", Severity.WARNING, None,
                f"What {self.actor.name} sees of {len(self.untried)} tables could not be counted", "See the reasons.",
                count=len(self.untried), samples=tuple(self.untried[: self.context.samples]),
            )  # fmt: skip
        if self.open:
            yield _found(
                "experiment-undecided", Severity.INFO, None, "Some attempts of a tenant gave no result",
                "See the reasons.", count=len(self.open), samples=tuple(self.open[: self.context.samples]),
            )  # fmt: skip
