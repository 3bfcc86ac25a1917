"""The checks of `balances validate`, one line of output each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tenantry.balances.differences import BalanceDifference, compare, states
from tenantry.balances.ledgers import QUERIES
from tenantry.execution.existing import definitions
from tenantry.model.finding import Finding, Severity
from tenantry.model.ledger import Ledger
from tenantry.model.name import Name
from tenantry.steps.balance import BalanceStep

INSTALL = "Run `tenantry balances install`."
BACKFILL = "Run `tenantry balances backfill`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One check that holds or does not. `differences` are samples of keys that differ, `count` the number of all."""

    table: Name
    name: str
    holds: bool
    message: str
    remedy: str = ""
    count: int | None = None
    differences: tuple[BalanceDifference, ...] = ()

    @property
    def finding(self) -> Finding:
        """A failed check as a finding of a report."""
        samples = ({**one.key, "quantity": one.quantity, "movements": one.movements} for one in self.differences)
        return Finding(
            name=f"balance-{self.name}", severity=Severity.ERROR, table=self.table, message=self.message,
            remedy=self.remedy, count=self.count, samples=tuple(samples),
        )  # fmt: skip


def inspect(connection: psycopg.Connection[Any], ledger: Ledger, steps: Sequence[BalanceStep]) -> Iterator[Line]:
    """The lines of one ledger; the comparison last, in one snapshot."""
    found = definitions(connection, steps)
    for step in steps:
        name, what, fault = step.inspected
        holds = found[step.key] is not None
        message = what if holds else f"{what}: {fault}" + _bare(connection, step)
        yield Line(table=ledger.table, name=name, holds=holds, message=message, remedy="" if holds else INSTALL)
    there = connection.execute(sql.SQL("SELECT {} IS NOT NULL").format(ledger.storage.oid)).fetchone()
    if there != (True,):
        return
    yield _indexes(connection, ledger)
    yield _row_security(connection, ledger)
    yield _backfilled(connection, ledger)
    yield _equal(connection, ledger)


def _bare(connection: psycopg.Connection[Any], step: BalanceStep) -> str:
    """The relations on which triggers are missing, or on which the application has privileges."""
    if step.place:
        return f" ({step.place})"
    if not step.fires or not step.ledger.tree:
        return ""
    bare, enabled = [], sum(how != "D" for how in step.fires.values())
    for name in step.ledger.relations:
        query = sql.SQL(
            "SELECT count(*) FROM pg_catalog.pg_trigger t WHERE t.tgrelid = {}"
            " AND pg_catalog.starts_with(t.tgname::text, 'tenantry_balances_') AND t.tgenabled <> 'D'"
        ).format(name.oid)
        row = connection.execute(query).fetchone()
        if row is None or row[0] < enabled:
            bare.append(str(name))
    return f" ({', '.join(bare[:5])}{' …' if len(bare) > 5 else ''})" if bare else ""


def _indexes(connection: psycopg.Connection[Any], ledger: Ledger) -> Line:
    """The index of the balances, and the index of the ledger with which a reconciliation finds the changed rows, if
    there is one. Without that one each reconciliation reads the entire ledger, which is no fault."""
    with connection.cursor(row_factory=dict_row) as cursor:
        names = [relation.identifier.as_string(None) for relation in (ledger.storage, ledger.table)]
        own, theirs = (cursor.execute(QUERIES["indexes"], {"table": name}).fetchall() for name in names)
    if not any(index["unique"] for index in own):
        message = "indexes: the unique index of the balances is missing"
        return Line(table=ledger.table, name="indexes", holds=False, message=message, remedy=INSTALL)
    sure = {column.in_ledger for column in ledger.key if not column.nullable}
    reach = {
        index["name"]: tuple(takewhile(sure.__contains__, index["columns"][: index["keys"]])) for index in theirs
    }  # fmt: skip
    best = max(reach, key=lambda name: len(reach[name]), default="")
    if best and reach[best]:
        message = f"indexes: a reconciliation finds what was touched by {best} ({', '.join(reach[best])})"
        return Line(table=ledger.table, name="indexes", holds=True, message=message)
    return Line(
        table=ledger.table, name="indexes", holds=True,
        message=f"indexes: no index of {ledger.table} begins with its key, so each reconciliation reads the whole"
        " table",
        remedy=f"Create one on ({', '.join(ledger.sources)}) INCLUDE ({ledger.quantity}).",
    )  # fmt: skip


def _row_security(connection: psycopg.Connection[Any], ledger: Ledger) -> Line:
    """Only the owner has a privilege on the table of the balances, and the view filters by the reader's tenant."""
    query = sql.SQL(
        "SELECT c.relrowsecurity, EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) AS e"
        " WHERE e.grantee <> c.relowner), EXISTS (SELECT FROM pg_catalog.pg_class v WHERE v.oid = {}"
        " AND v.reloptions @> '{{security_barrier=true}}'),"
        " (SELECT l.relrowsecurity FROM pg_catalog.pg_class l WHERE l.oid = {}) FROM pg_catalog.pg_class c"
        " WHERE c.oid = {}"
    ).format(ledger.balance.oid, ledger.table.oid, ledger.storage.oid)
    row = connection.execute(query).fetchone()
    secured, granted, barrier, ledger_secured = row if row is not None else (False, False, False, False)
    holds = secured and not granted and barrier
    reach = "a tenant sees its own balances" if ledger_secured else "as on the ledger, which has none yet"
    fault = "other roles may write to the table" if granted else "it is disabled, or the view is not a security barrier"
    return Line(
        table=ledger.table, name="row security", holds=holds, message=f"row security: {reach if holds else fault}",
        remedy="" if holds else f"{INSTALL} REVOKE ALL ON {ledger.storage} FROM all other roles with privileges on it."
        if granted else INSTALL,
    )  # fmt: skip


def _backfilled(connection: psycopg.Connection[Any], ledger: Ledger) -> Line:
    state = states(connection).get(ledger.called)
    if state is None:
        return Line(table=ledger.table, name="backfilled", holds=False, message="not installed", remedy=INSTALL)
    if state.stale:
        since = f" since {state.stale_since:%Y-%m-%d %H:%M:%S}" if state.stale_since else ""
        message = f"stale{since}: {state.reason}"
        return Line(table=ledger.table, name="backfilled", holds=False, message=message, remedy=BACKFILL)
    at = f"{state.backfilled_at:%Y-%m-%d %H:%M:%S}" if state.backfilled_at else "never"
    return Line(table=ledger.table, name="backfilled", holds=True, message=f"backfilled at {at}")


def _equal(connection: psycopg.Connection[Any], ledger: Ledger) -> Line:
    count, samples = compare(connection, ledger)
    keys = sql.SQL("SELECT count(*) FROM {} WHERE slot = 0 OR movements <> 0").format(ledger.storage.identifier)
    row = connection.execute(keys).fetchone()
    if not count:
        total = f"{row[0]:,} rows" if row is not None else "all"
        return Line(table=ledger.table, name="balances", holds=True, message=f"balances equal to the ledger ({total})",
                    count=0)  # fmt: skip
    kept = connection.execute(QUERIES["kept"], {"ledger": ledger.called}).fetchone()
    message = f"{count:,} {'key differs' if count == 1 else 'keys differ'} from the ledger"
    if kept is not None and kept[0]:
        message += f"; {kept[0]:,} of them were rejected in a review, and kept"
    return Line(
        table=ledger.table, name="balances", holds=False, count=count, differences=samples, message=message,
        remedy=f"{BACKFILL} `tenantry balances reconcile` lists them, and puts large ones under review.",
    )  # fmt: skip
