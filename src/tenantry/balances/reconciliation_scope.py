"""Which keys a reconciliation compares.

All of them, or those that may differ now and did not at the last reconciliation. A balance can differ from its ledger
only by a change that no trigger saw, and such a change can be detected:

- A trigger was disabled, dropped or created again, a partition attached or detached, the table rewritten: a catalog row
  has another xmin, or another number, than before. `watched` is a digest of them. Then all keys are compared, since a
  row that was deleted meanwhile can no longer be found.
- A balance was written to directly, by a correction, or by movements: its row has a new xmin. It is compared with the
  oldest transaction that the last reconciliation's snapshot may not have shown, so that a transaction that began before
  that snapshot and was committed after it is not missed; no timestamps are used. Freezing a row leaves its xmin as it
  was. Transaction ages are valid for two thousand million transactions; if more have passed, all keys are compared.

Changes that cannot be detected, such as a balance's row that was deleted by hand or a page that a disk has corrupted,
are found by the scrub: each run reads so many pages of ledger and balances that all pages that existed when the scrub
began are read once within the given number of days. A row that moves to another page has been written to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from tenantry.balances.reconciliation_keys import CHOSEN, from_json, numbered, same
from tenantry.errors import Refused
from tenantry.model.ledger import SUMS, Ledger
from tenantry.model.name import Name
from tenantry.postgres.queries import read_queries
from tenantry.steps.introspection import raw

Connection = psycopg.Connection[Any]
QUERIES = read_queries(Path(__file__).with_name("sql") / "reconciliation.sql")
FARTHEST = 2_000_000_000
"""The number of transactions over which ages can be compared, of the 2^31 that exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationContext:
    """The instant at which a reconciliation begins: it covers all that `snapshot` shows. `pages` by the number of each
    relation."""

    snapshot: str
    at: datetime
    watched: str
    pages: Mapping[str, int]
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierReconciliation:
    """An earlier reconciliation; `distance` in transactions, `elapsed` in days since its scrub began."""

    snapshot: str
    at: datetime
    watched: str
    scrub_began: datetime
    scrub_pages: Mapping[str, int]
    scrubbed: float
    distance: int
    elapsed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationScope:
    """What is compared: all keys for a `reason`, or those changed since `last` and the scrub's part from `scrubbed` to
    `scrub_to`."""

    context: ReconciliationContext
    reason: str | None
    last: EarlierReconciliation | None
    scrub_to: float = 1.0

    @classmethod
    def decide(cls, connection: Connection, ledger: Ledger, *, full: bool, days: float) -> ReconciliationScope:
        """Read the present state of the database. Raises Refused if the recorded state cannot be read."""
        require_readable(connection, ledger)
        names = {"ledger": ledger.called, "table": ledger.table.identifier.as_string(None),
                 "storage": ledger.storage.identifier.as_string(None)}  # fmt: skip
        with connection.cursor(row_factory=class_row(ReconciliationContext)) as cursor:
            context = cursor.execute(QUERIES["context"], names).fetchone()
        assert context is not None
        with connection.cursor(row_factory=class_row(EarlierReconciliation)) as cursor:
            last = cursor.execute(QUERIES["last"], names).fetchone()
        reason = "asked for" if full else _reason(context, last)
        scrub_to = 1.0 if reason or last is None else min(1.0, max(last.scrubbed, last.elapsed / days))
        return cls(context=context, reason=reason, last=last, scrub_to=scrub_to)

    @property
    def began_anew(self) -> bool:
        """The scrub is complete, or everything was compared at once: the next scrub begins."""
        return self.scrub_to >= 1.0

    @property
    def good(self) -> EarlierReconciliation | None:
        """The last good point, if it can be told what was written since."""
        return self.last if self.last is not None and 0 <= self.last.distance < FARTHEST else None


def require_readable(connection: Connection, ledger: Ledger) -> None:
    """Raises Refused if what tenantry has recorded of a ledger was changed into something that it never writes."""
    names = {"ledger": ledger.called, "columns": list(ledger.columns)}
    row = connection.execute(QUERIES["broken"], names).fetchone()
    if row is not None:
        _, relation, found = row
        raise Refused(
            f"The row {found} of tenantry.{relation} cannot be read",
            remedy="The journal was changed outside tenantry: restore the row from a dump of the schema tenantry.",
        )


def _reason(context: ReconciliationContext, last: EarlierReconciliation | None) -> str | None:
    if last is None:
        return "the first time"
    if context.watched != last.watched:
        return "triggers, partitions or tables were altered since the last time"
    if not 0 <= last.distance < FARTHEST:
        return "too many transactions since the last time"
    return None


def choose(connection: Connection, ledger: Ledger, scope: ReconciliationScope) -> int:
    """Put the keys to be compared into a temporary table; returns their number."""
    assert scope.last is not None
    balance = sql.SQL("SELECT {} FROM {} AS balance WHERE ").format(
        numbered(ledger, "balance"), ledger.storage.identifier
    )
    decided = sql.SQL("SELECT {} FROM tenantry.{} AS one, {} WHERE one.ledger = {} AND {}")
    name = sql.Literal(ledger.called)
    parts = [
        sql.SQL("{}{}").format(balance, written_since("balance", scope.last)),
        decided.format(numbered(ledger, "known"), raw("discrepancies"), from_json(ledger, "one"), name,
                       raw("one.state = 'open'")),
        decided.format(numbered(ledger, "known"), raw("drifts"), from_json(ledger, "one"), name,
                       raw(" OR ".join(f"one.{measure} <> 0" for measure in SUMS).join("()"))),
    ]  # fmt: skip
    parts += _scrubbed(connection, ledger, scope, balance)
    query = sql.SQL("CREATE TEMPORARY TABLE tenantry_chosen AS {}").format(sql.SQL(" UNION ").join(parts))
    chosen = connection.execute(query).rowcount
    # The planner has to know how few they are.
    connection.execute(sql.SQL("ANALYZE {}").format(CHOSEN))
    return chosen


def written_since(alias: str, point: EarlierReconciliation) -> sql.Composed:
    """A condition: the row was written by a transaction that the snapshot of that point may not have shown."""
    return sql.SQL(
        "pg_catalog.age({}.xmin) <= pg_catalog.age(pg_catalog.pg_snapshot_xmin({}::pg_catalog.pg_snapshot)::xid)"
    ).format(raw(alias), sql.Literal(point.snapshot))


def _scrubbed(
    connection: Connection, ledger: Ledger, scope: ReconciliationScope, balance: sql.Composed
) -> list[sql.Composed]:
    """The keys of the balances in the scrub's part, and those of its ledger pages that have no balance at all."""
    assert scope.last is not None
    pages = scope.last.scrub_pages
    rows = connection.execute(QUERIES["relations"], {"oids": list(pages)}).fetchall()
    found = []
    for oid, schema, table in rows:
        name = Name(schema, table)
        first, past = (int(share * pages[oid]) for share in (scope.last.scrubbed, scope.scrub_to))
        if scope.began_anew:
            past = pages[oid]
        if first >= past:
            continue
        place = sql.SQL("{0}.ctid >= {1} AND {0}.ctid < {2}")
        bounds = (sql.Literal(f"({first},0)"), sql.Literal(f"({past},0)"))
        if name == ledger.storage:
            found.append(sql.SQL("{}{}").format(balance, place.format(raw("balance"), *bounds)))
            continue
        entries = sql.SQL("SELECT {} FROM ONLY {} AS entry WHERE {}").format(
            numbered(ledger, "entry", moved=True), name.identifier, place.format(raw("entry"), *bounds)
        )
        bare = sql.SQL("SELECT entries.* FROM ({}) AS entries WHERE NOT EXISTS (SELECT FROM {} AS balance WHERE {})")
        found.append(bare.format(entries, ledger.storage.identifier, same(ledger, "entries", "balance")))
    return found
