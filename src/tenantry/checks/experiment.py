"""Isolation by experiment: what the application role can do, as one tenant, to the rows of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from tenantry.checks.check import Ground
from tenantry.checks.isolation_actor import NOBODY, Actor, acting
from tenantry.checks.isolation_attempts import Attempt, Row, Ways, view_attempt
from tenantry.checks.isolation_views import readable_only_through_owned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind, View
from tenantry.postgres.queries import read_queries
from tenantry.steps.row_security import Sight

_QUERIES = read_queries(Path(__file__).with_name("sql") / "experiment.sql")
LONGEST_STATEMENT = 400
_found = partial(Finding, family=Family.ISOLATION)


def experiment(ground: Ground) -> Iterator[Finding]:
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
            yield from laboratory.undecided()
    except psycopg.errors.InsufficientPrivilege as error:
        yield _found(
            name="experiment-not-tried", severity=Severity.WARNING,
            message=f"What {role} can do was not tried: {error.diag.message_primary}",
            remedy=f"GRANT {quoted(role)} TO {quoted(ground.live.user)}; or give --application-dsn.",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """An attempt of a tenant on another's rows."""

    attempt: Attempt
    actor: str
    tenant: str

    def sample(self, **more: str) -> dict[str, str]:
        statement = self.attempt.statement.as_string(None)
        return {
            "attempt": self.attempt.what, "as": self.actor or "no tenant", "rows of": self.tenant, **more,
            "statement": statement[:LONGEST_STATEMENT],
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Laboratory:
    """`open` are the trials that nothing can be said of, with the reason."""

    ground: Ground
    actor: Actor
    open: list[tuple[Name, _Trial, str]] = field(default_factory=list)

    # --- what is tried on

    def tables(self) -> Iterator[Ways]:
        """The relations with policies that the application has privileges on."""
        scope = Scope.of(self.ground.schema, self.ground.plan, Phase.CONTRACT)
        tenant = self.ground.ownership.tenant
        securities = {step.table: step for step in scope.securities}
        for name in self._readable(sorted(securities)):
            step = securities[name]
            if self.ground.has(name, step.column) and (self.ground.wants(name) or name == tenant.name):
                yield Ways(
                    table=self.ground.live.tables[name], key=step.column, type=step.type,
                    operator=tenant.key_operator, mixed=step.sight is Sight.MIXED,
                )  # fmt: skip

    def views(self) -> Iterator[View]:
        scope = Scope.of(self.ground.schema, self.ground.plan, Phase.CONTRACT)
        views = {view.name: view for view in scope.views if view.kind is Kind.VIEW}
        yield from (views[name] for name in self._readable(sorted(views)))

    def _readable(self, names: Sequence[Name]) -> list[Name]:
        texts = [name.identifier.as_string(None) for name in names]
        role = self.ground.spec.application.role
        rows = self.ground.connection.execute(_QUERIES["readable"], {"role": role, "names": texts})
        found = {Name(schema, name) for schema, name in rows}
        return [name for name in names if name in found]

    # --- the trials

    def table(self, ways: Ways) -> Iterator[Finding]:
        rows = self._rows(ways)
        with self.actor.trials():
            through = [trial for trial in self._trials(ways, rows) if self._got_through(ways.table.name, trial)]
            copied = self.actor.copies_out(ways.table.name) if rows and not ways.mixed else False
        if copied is True:
            copy = sql.SQL("COPY {} TO STDOUT").format(ways.table.name.identifier)
            through.append(_Trial(attempt=Attempt(what="copy out", statement=copy), actor=NOBODY, tenant="all"))
        yield from self._said(ways.table.name, through)

    def _trials(self, ways: Ways, rows: Sequence[Row]) -> Iterator[_Trial]:
        """Each sampled row's tenant is the victim of another tenant, and of a session without one."""
        quarantine = self._quarantine()
        for row in rows:
            if row.tenant == quarantine:
                yield from self._as(quarantine, row.tenant, ways.alone(row))
                continue
            for actor in self._others(ways, row, rows):
                yield from self._as(actor, row.tenant, ways.across(actor, row))
                yield from self._as(actor, "all", ways.shared())
            self._control(ways, row)
        yield from self._as(NOBODY, "all", ways.alone(rows[0] if rows else None))
        yield from self._as(NOBODY, "all", ways.shared())

    @staticmethod
    def _as(actor: str, tenant: str, attempts: Iterator[Attempt]) -> Iterator[_Trial]:
        return (_Trial(attempt=attempt, actor=actor, tenant=tenant) for attempt in attempts)

    def _got_through(self, table: Name, trial: _Trial) -> bool:
        outcome = self.actor.attempt(trial.actor, trial.attempt.statement)
        if isinstance(outcome, psycopg.Error):
            self.open.append((table, trial, outcome.diag.message_primary or type(outcome).__name__))
            return False
        return bool(outcome)

    def _control(self, ways: Ways, row: Row) -> None:
        """A tenant must see its own row, or nothing is proved by its not seeing others'."""
        trial = _Trial(attempt=ways.read(ways.belongs(row.tenant)), actor=row.tenant, tenant=row.tenant)
        if not self._got_through(ways.table.name, trial):
            self.open.append((ways.table.name, trial, "its own rows are hidden from it, too"))

    # --- rows and tenants, as the operator sees them

    def _rows(self, ways: Ways) -> list[Row]:
        """A row of the first and of the last tenant that has any, by the order of their keys: found by the index."""
        found: dict[str, Row] = {}
        key, relation = sql.Identifier(ways.key), ways.table.name.identifier
        for order in ("ASC", "DESC"):
            query = sql.SQL(
                "SELECT t.{0}::text, t.tableoid::bigint, t.ctid::text, ROW(t.*)::text FROM {1} AS t"
                " WHERE t.{0} IS NOT NULL ORDER BY t.{0} {2} LIMIT 1"
            ).format(key, relation, sql.SQL(order))
            for tenant, oid, place, text in self.ground.connection.execute(query):
                found[tenant] = Row(tenant=tenant, relation=oid, place=place, text=text)
        return list(found.values())

    def _others(self, ways: Ways, row: Row, rows: Sequence[Row]) -> list[str]:
        """A tenant that has rows here, too, or else any other."""
        excepted = {row.tenant, self._quarantine()}
        others = [other.tenant for other in rows if other.tenant not in excepted]
        return others or [tenant for tenant in self._tenants() if tenant not in excepted][:1]

    def _tenants(self) -> list[str]:
        tenant = self.ground.ownership.tenant
        if not self.ground.has(tenant.name, tenant.key):
            return []
        query = sql.SQL("SELECT t.{0}::text FROM {1} AS t ORDER BY t.{0} LIMIT 3").format(
            sql.Identifier(tenant.key), tenant.name.identifier
        )
        return [key for (key,) in self.ground.connection.execute(query)]

    def _quarantine(self) -> str | None:
        tenant = self.ground.ownership.tenant
        if tenant.quarantine is None or not self.ground.has(tenant.name, tenant.key, tenant.slug):
            return None
        query = sql.SQL("SELECT t.{}::text FROM {} AS t WHERE t.{} = {}").format(
            sql.Identifier(tenant.key), tenant.name.identifier, sql.Identifier(tenant.slug),
            sql.Literal(tenant.quarantine),
        )  # fmt: skip
        found = self.ground.connection.execute(query).fetchone()
        return None if found is None else str(found[0])

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
            trial = _Trial(attempt=view_attempt(view.name, condition), actor=NOBODY, tenant="all")
            through = [trial] if self._got_through(view.name, trial) else []
        yield from self._said(view.name, through)

    # --- what is said

    def _said(self, table: Name, through: Sequence[_Trial]) -> Iterator[Finding]:
        if not through:
            return
        ways = list(dict.fromkeys(trial.attempt.what for trial in through))
        listed = ways[0] if len(ways) == 1 else f"{', '.join(ways[:-1])} and {ways[-1]}"
        alone = all(trial.actor == NOBODY for trial in through)
        who = "a session that names no tenant" if alone else "one tenant"
        yield _found(
            name="tenants-not-apart", severity=Severity.ERROR, table=table, count=len(through),
            message=f"As {self.ground.spec.application.role}, {who} can {listed} rows of others in {table}",
            remedy="Run tenantry migrate, which makes the policies again, and drop the policies that are not ours.",
            samples=tuple(trial.sample() for trial in through[: self.ground.samples]),
        )  # fmt: skip

    def undecided(self) -> Iterator[Finding]:
        """What a trigger, a rule or a lock kept from being decided: the catalog alone speaks for it."""
        if self.open:
            tables = sorted({table for table, _, _ in self.open})
            listed = ", ".join(map(str, tables[:3])) + (f" and {len(tables) - 3} more" if len(tables) > 3 else "")
            yield _found(
                name="experiment-undecided", severity=Severity.INFO, count=len(self.open),
                message=f"Some of what a tenant could try was not decided by trying, on {listed}",
                remedy="See the reasons. A trigger that writes or draws from a sequence is stopped before it can.",
                samples=tuple({"table": str(table), **trial.sample(reason=reason)}
                              for table, trial, reason in self.open[: self.ground.samples]),
            )  # fmt: skip
