"""Isolation by experiment: what the application role can do, as one tenant, to the rows of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from tenantry.checks.base import CheckContext
from tenantry.checks.isolation.actor import NOBODY, Actor, acting
from tenantry.checks.isolation.attempts import Attempt, MemberWays, Row, Ways, reading
from tenantry.checks.isolation.own import Own, own_rows
from tenantry.checks.isolation.views import readable_only_through_owned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind, View
from tenantry.postgres.owner_context import NoTemporaryObjects
from tenantry.postgres.queries import read_queries
from tenantry.steps.row_security import Sight

_QUERIES = read_queries(Path(__file__).with_name("sql") / "experiment.sql")
STRANGERS = {
    "uuid": ["ffffffff-ffff-4fff-bfff-ffffffffffff"], "text": ["a stranger"], "character varying": ["a stranger"],
    "smallint": ["32767"], "integer": ["2147483647"], "bigint": ["9223372036854775807"],
}  # fmt: skip
"""Tenants that no database has, by the type of the key."""
_found = partial(Finding, family=Family.ISOLATION)


def experiment(ground: CheckContext) -> Iterator[Finding]:
    """Nothing before isolate is reached, nor where the application role is gone.

    Raises UsageError where the connection that was given for the application is not one of it.
    """
    role = ground.spec.application.role
    if not ground.reached(Phase.ISOLATE) or role not in ground.live.roles:
        return
    try:
        with acting(ground) as actor:
            laboratory = _Laboratory(ground=ground, actor=actor)
            for ways in laboratory.tables():
                ground.looking(f"what {role} can do to {ways.table.name}")
                yield from laboratory.table(ways)
            for view in laboratory.views():
                ground.looking(f"what {role} sees in {view.name}")
                yield from laboratory.view(view)
            yield from laboratory.conclusion()
    except psycopg.errors.InsufficientPrivilege as error:
        yield _found(
            name="experiment-not-tried", severity=Severity.WARNING,
            message=f"What {role} can do was not tried: {error.diag.message_primary}",
            remedy=f"GRANT {quoted(role)} TO {quoted(ground.live.user)}; or give --application-dsn.",
        )  # fmt: skip
    except NoTemporaryObjects as error:
        yield _found(
            name="experiment-not-tried", severity=Severity.WARNING,
            message=f"What {role} can do was not tried: {error.message}",
            remedy=f"{error.remedy}; or give --application-dsn.",
        )  # fmt: skip


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
"""A row, and the tenant that tries to get at it."""


@dataclass(frozen=True, kw_only=True)
class _Laboratory:
    """`tried` counts attempts by relation; `leaking` are relations where one got through; `open` are those that
    nothing can be said of, with the reason."""

    ground: CheckContext
    actor: Actor
    tried: Counter[Name] = field(default_factory=Counter)
    leaking: set[Name] = field(default_factory=set)
    open: list[dict[str, str]] = field(default_factory=list)

    @cached_property
    def scope(self) -> Scope:
        return Scope.of(self.ground.schema, self.ground.plan, Phase.CONTRACT)

    # --- what is tried on

    def tables(self) -> Iterator[Ways]:
        """The relations with policies that the application has privileges on."""
        tenant = self.ground.ownership.tenant
        securities = {step.table: step for step in self.scope.securities}
        for name in self._readable(sorted(securities)):
            step = securities[name]
            if self.ground.has(name, step.column) and (self.ground.wants(name) or name == tenant.name):
                table, mixed, link = self.ground.live.tables[name], step.sight is Sight.MIXED, step.link
                if link is None:
                    yield Ways(
                        table=table, key=step.column, type=step.type, operator=tenant.key_operator, mixed=mixed
                    )  # fmt: skip
                elif self.ground.has(link.table, link.tenant, *link.columns):
                    yield MemberWays(
                        table=table, key=step.column, type=step.type, operator=tenant.key_operator, mixed=mixed,
                        link=link,
                    )  # fmt: skip

    def views(self) -> Iterator[View]:
        """The views over them that it may read, each after those that it reads; a view of what leaks is left out."""
        readable = self._readable([view.name for view in self.scope.views if view.kind is Kind.VIEW])
        for view in self.scope.views:
            if not self.leaking.isdisjoint(view.reads):
                self.leaking.add(view.name)
            elif view.name in readable and self._wants(view):
                yield view

    def _wants(self, view: View) -> bool:
        return self.ground.tables is None or any(self.ground.wants(name) for name in view.reads)

    def _readable(self, names: Sequence[Name]) -> list[Name]:
        texts = [name.identifier.as_string(None) for name in names]
        parameters = {"role": self.actor.role or self.actor.name, "names": texts}
        rows = self.ground.connection.execute(_QUERIES["readable"], parameters)
        found = {Name(schema, name) for schema, name in rows}
        return [name for name in names if name in found]

    # --- the trials

    def table(self, ways: Ways) -> Iterator[Finding]:
        try:
            victims = self._victims(ways)
        except psycopg.errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            if self.ground.connection.closed:
                raise
            trial = _Trial(attempt=ways.read(sql.SQL("true")), actor=NOBODY, tenant="all")
            self._leave_open(ways.table.name, trial, error.diag.message_primary or "")
            return
        with self.actor.trials():
            through = [trial for trial in self._trials(ways, victims) if self._got_through(ways.table.name, trial)]
            copied = self.actor.copies_out(ways.table.name) if victims and not ways.mixed else False
        own = list(self._own(ways, victims))
        if not any(trial.attempt.what == "read" and trial.actor != NOBODY for trial in through):
            # Rows of other tenants than those that were tried on.
            everything = ways.read(sql.SQL("true"))
            through += [_Trial(attempt=everything, actor=one.tenant, tenant="others") for one in own if one.others]
        if copied is True:
            copy = sql.SQL("COPY {} TO STDOUT").format(ways.table.name.identifier)
            through.append(_Trial(attempt=Attempt(what="copy out", statement=copy), actor=NOBODY, tenant="all"))
        yield from self._said(ways.table.name, through)
        yield from self._hidden(ways, [one for one in own if one.seen < one.rows])

    def _own(self, ways: Ways, victims: Sequence[_Victim]) -> Iterator[Own]:
        """What tenants see of their own: without it, nothing is proved by their not seeing others'."""
        if ways.table.name in self.ground.hidden:
            return
        tenants = [row.tenant for row, _ in victims if row.tenant not in ("", self.quarantine)]
        tenants += [actor for _, actor in victims if actor is not None and isinstance(ways, MemberWays)]
        looked = own_rows(self.ground, self.actor, ways, tenants, without=self.quarantine)
        for one in looked:
            self.tried[ways.table.name] += 1
            if isinstance(one, Own):
                yield one
                continue
            tenant, reason = one
            trial = _Trial(attempt=ways.read(ways.belongs(tenant)), actor=tenant, tenant=tenant)
            with self.actor.trials():
                outcome = self.actor.attempt(tenant, trial.attempt.statement)
            if outcome is False:
                yield Own(tenant=tenant, rows=1, seen=0, others=0)
            else:
                self._leave_open(ways.table.name, trial, f"not all of its own rows were counted: {reason}")

    def _hidden(self, ways: Ways, hidden: Sequence[Own]) -> Iterator[Finding]:
        """Somebody's own RESTRICTIVE policy may be meant to hide some rows, but hardly all."""
        if not hidden:
            return
        name = ways.table.name
        ours = {policy for step in self.scope.securities if step.table == name for policy in step.names}
        narrowing = [
            quoted(policy.name) for policy in self.ground.live.tables[name].policies
            if not policy.permissive and policy.name not in ours and policy.command in ("ALL", "SELECT")
        ]  # fmt: skip
        meant = bool(narrowing) and all(one.seen for one in hidden)
        by = f"; its policy {', '.join(narrowing)} narrows what is seen" if narrowing else ""
        yield _found(
            name="own-rows-hidden", severity=Severity.WARNING if meant else Severity.ERROR, table=name,
            count=len(hidden),
            message=f"{len(hidden)} of the tenants that were looked at do not see all of their own rows of {name}{by}",
            remedy="See its policies for the application role and PUBLIC; `tenantry migrate` makes ours again.",
            samples=tuple(
                {"tenant": one.tenant, "rows": one.rows, "seen": one.seen} for one in hidden[: self.ground.samples]
            ),
        )  # fmt: skip

    def _trials(self, ways: Ways, victims: Sequence[_Victim]) -> Iterator[_Trial]:
        for row, actor in victims:
            if actor == row.tenant:
                yield from self._as(actor, row.tenant, ways.alone(row))
            elif actor is not None:
                yield from self._as(actor, row.tenant, ways.across(actor, row))
                yield from self._as(actor, "all", ways.shared())
        yield from self._as(NOBODY, "all", ways.alone(victims[0][0] if victims else None))
        yield from self._as(NOBODY, "all", ways.shared())

    def _as(self, actor: str, tenant: str, attempts: Iterator[Attempt]) -> Iterator[_Trial]:
        for attempt in attempts:
            if not (attempt.writes and self.ground.standby):
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

    def _victims(self, ways: Ways) -> list[_Victim]:
        """A row of the first and of the last tenant that has any, by the order of their keys, found by the index; each
        with the tenant that tries to get at it. Of the quarantine tenant that is itself: no application can be it."""
        if isinstance(ways, MemberWays):
            return list(self._strangers(ways))
        rows: dict[str, Row] = {}
        key, relation = sql.Identifier(ways.key), ways.table.name.identifier
        for order in ("ASC", "DESC"):
            query = sql.SQL(
                "SELECT t.{0}::text, t.tableoid::bigint, t.ctid::text, ROW(t.*)::text FROM {1} AS t"
                " WHERE t.{0} IS NOT NULL ORDER BY t.{0} {2} LIMIT 1"
            ).format(key, relation, sql.SQL(order))
            for tenant, oid, place, text in self._ask(query):
                rows[tenant] = Row(tenant=tenant, relation=oid, place=place, text=text)
        # Better a tenant that has rows here, too, than any other; and that than one that there is not.
        actors = [*reversed(rows), *self.tenants, *STRANGERS.get(ways.type, ())]
        return [
            (row, tenant if tenant == self.quarantine else self._other(tenant, actors)) for tenant, row in rows.items()
        ]

    def _strangers(self, ways: MemberWays) -> Iterator[_Victim]:
        """For the first of some tenants a row that does not belong to it; else for one that there is not."""
        tried = 0
        for actor in (*self.tenants, *STRANGERS.get(ways.type, ())):
            if tried == 2 or actor == self.quarantine:
                continue
            for tenant, oid, place, text in self._ask(ways.not_of(actor)):
                tried += 1
                yield Row(tenant=tenant or "", relation=oid, place=place, text=text), actor

    def _other(self, tenant: str, actors: Sequence[str]) -> str | None:
        return next((actor for actor in actors if actor not in (tenant, self.quarantine)), None)

    @cached_property
    def tenants(self) -> list[str]:
        """The keys of some tenants."""
        tenant = self.ground.ownership.tenant
        if not self.ground.has(tenant.name, tenant.key):
            return []
        query = sql.SQL("SELECT t.{0}::text FROM {1} AS t ORDER BY t.{0} LIMIT 3").format(
            sql.Identifier(tenant.key), tenant.name.identifier
        )
        return [key for (key,) in self._ask(query)]

    @cached_property
    def quarantine(self) -> str | None:
        """The key of the quarantine tenant, where there is one."""
        tenant = self.ground.ownership.tenant
        if tenant.quarantine is None or not self.ground.has(tenant.name, tenant.key, tenant.slug):
            return None
        query = sql.SQL("SELECT t.{}::text FROM {} AS t WHERE t.{} = {}").format(
            sql.Identifier(tenant.key), tenant.name.identifier, sql.Identifier(tenant.slug),
            sql.Literal(tenant.quarantine),
        )  # fmt: skip
        return next((key for (key,) in self._ask(query)), None)

    def _ask(self, query: sql.Composed) -> list[tuple[Any, ...]]:
        """Raises LockNotAvailable rather than wait for long."""
        with self.ground.connection.transaction():
            self.ground.connection.execute(_QUERIES["patience"])
            return self.ground.connection.execute(query).fetchall()

    # --- views

    def view(self, view: View) -> Iterator[Finding]:
        """Where a view shows whose a row is, others' rows; where it does not, any row for a session without a tenant,
        if only owned rows can be what it shows."""
        column = self.ground.spec.tenant.column
        parameters = {"name": view.name.identifier.as_string(None), "column": column}
        (shows,) = self.ground.connection.execute(_QUERIES["has_column"], parameters).fetchone() or (False,)
        with self.actor.trials():
            if shows:
                condition: sql.Composable = sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(column))
            elif readable_only_through_owned(self.actor.connection, self.ground, view.name):
                condition = sql.SQL("true")
            else:
                return
            trial = _Trial(attempt=reading(view.name, condition), actor=NOBODY, tenant="all")
            through = [trial] if self._got_through(view.name, trial) else []
        yield from self._said(view.name, through)

    # --- what is said

    def _said(self, table: Name, through: Sequence[_Trial]) -> Iterator[Finding]:
        if not through:
            return
        self.leaking.add(table)
        ways = {
            who: ", ".join(dict.fromkeys(trial.attempt.what for trial in through if (trial.actor == NOBODY) is alone))
            for who, alone in (("as another tenant", False), ("as no tenant", True))
        }
        different = list({(trial.attempt.what, trial.actor, trial.tenant): trial for trial in through}.values())
        listed = "; ".join(f"{who} it can {what}" for who, what in ways.items() if what)
        yield _found(
            name="tenants-not-apart", severity=Severity.ERROR, table=table, count=len(through),
            message=f"{self.actor.name} gets at tenants' rows of {table}: {listed}",
            remedy="`tenantry migrate` makes our policies again; drop those that let it, and see that"
            f" {self.actor.name} is no superuser, has no BYPASSRLS and owns no table.",
            samples=tuple(trial.sample for trial in different[: self.ground.samples]),
        )  # fmt: skip

    def conclusion(self) -> Iterator[Finding]:
        """How much was tried; and what a standby, a trigger, a rule or a lock kept from being decided."""
        yield _found(
            name="tenants-tried", severity=Severity.INFO, count=self.tried.total(),
            message=f"As {self.actor.name}, {self.tried.total():,} attempts to get at other tenants'"
            f" rows were made on {len(self.tried)} tables and views, and got through on {len(self.leaking)}",
        )  # fmt: skip
        if self.ground.standby:
            yield _found(
                name="writes-not-tried", severity=Severity.INFO,
                message=f"This server is a standby, which takes no writes: what {self.actor.name} can write was not"
                " tried",
                remedy="Ask the primary server.",
            )  # fmt: skip
        if self.open:
            tables = sorted({sample["table"] for sample in self.open})
            listed = ", ".join(tables[:3]) + (f" and {len(tables) - 3} more" if len(tables) > 3 else "")
            yield _found(
                name="experiment-undecided", severity=Severity.INFO, count=len(self.open),
                message=f"Some of what a tenant could try was not decided by trying, on {listed}",
                remedy="See the reasons. A trigger that writes or draws from a sequence is stopped before it can.",
                samples=tuple(self.open[: self.ground.samples]),
            )  # fmt: skip
