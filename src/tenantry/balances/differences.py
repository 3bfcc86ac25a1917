"""Ledger and balances compared in one snapshot, and the differences added: backfill and every repair consist of this.

Why adding is exact while writers go on. Let L be the sum of a key's rows in the ledger and B its balance, both as one
snapshot shows them. A transaction that moves the key changes L and B by the same amount, so D = L - B is the same in
every snapshot, however many movements were committed between two of them, are in progress, or will be rolled back. D
changes in two ways only: by a write that no trigger saw, and by a correction. So D may be found at one instant, over
the entire ledger by one statement without any lock, and added to the balance at a later one, where it makes D zero at
that later instant too. This holds for one row a key and for slots alike, since additions commute (hazard 17: a
statement that *sets* a balance needs a lock on its row and is wrong with slots; reading ledger and balance with two
statements is wrong if a movement is committed in between).

What has to be prevented is that a difference is added twice, or found while another one is being added:

- a session that finds differences locks the ledger's row of tenantry.ledgers FOR UPDATE, and finds them in the next
  statement, whose snapshot is taken under that lock (READ COMMITTED);
- a session that adds them locks that row FOR SHARE, deletes the difference from the table of corrections in the
  transaction that adds it, and adds nothing that was found under another generation: the balances have been marked
  stale since.

So a killed run leaves corrections that the next one adds, once, and those that it had added are already deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from tenantry.balances.ledgers import QUERIES
from tenantry.errors import Refused
from tenantry.model.ledger import SUMS, Ledger
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.movement import correct, movements, netted, shown

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """The state of a ledger in tenantry.ledgers. `corrections` is the generation under which pending corrections were
    found."""

    ledger: str
    stale: bool
    stale_since: datetime | None
    reason: str | None
    generation: int
    corrections: int | None
    backfilled_at: datetime | None


def states(connection: Connection) -> Mapping[str, LedgerState]:
    """The state of each ledger by str(table); empty before the first install."""
    if connection.execute(QUERIES["known"]).fetchone() != (True,):
        return {}
    with connection.cursor(row_factory=class_row(LedgerState)) as cursor:
        return {state.ledger: state for state in cursor.execute(QUERIES["states"])}


def differences(ledger: Ledger, condition: sql.Composable | None = None) -> sql.Composed:
    """A query of the keys whose balance differs from the ledger, with the difference of each measure.

    One statement, so one snapshot. `condition` is over the key's columns by their bare names, and filters both sides.
    """
    columns = identifiers(ledger.columns)
    where = sql.SQL("") if condition is None else sql.SQL(" WHERE {}").format(condition)
    balances = sql.SQL("SELECT {}, {} FROM {}{}").format(
        columns, raw(", ".join(f"-{name} AS {name}" for name in SUMS)), ledger.storage.identifier, where
    )
    # Summed in a subquery of its own, a ledger is read by parallel workers, and its rows are aggregated before the
    # join.
    moved = sql.SQL("SELECT moved.* FROM ({}) AS moved{}").format(movements(ledger, ledger.table.identifier), where)
    entries = netted(ledger, moved)
    rows = sql.SQL("{} UNION ALL {}").format(balances, entries)
    unequal = raw(" OR ".join(f"sum(side.{name}) <> 0" for name in SUMS))
    return sql.SQL("SELECT {}, {} FROM ({}) AS side GROUP BY {} HAVING {}").format(
        columns, raw(", ".join(f"sum(side.{name}) AS {name}" for name in SUMS)), rows, columns, unequal
    )


def repair(connection: Connection, ledger: Ledger, condition: sql.Composable | None = None) -> int:
    """Find the differences of the keys that `condition` selects, and add them, in one transaction; returns the
    corrected keys.

    Raises Refused while the balances are stale: then they need a backfill. May wait for writers of these keys, and may
    be ended by a deadlock with them: to be used for few keys, or one.
    """
    with connection.transaction():
        hold(connection, ledger)
        state = states(connection)[ledger.called]
        if state.stale:
            raise Refused(
                f"The balances of {ledger.table} are stale: {state.reason}", remedy="Run `tenantry balances backfill`."
            )
        return connection.execute(correct(ledger, differences(ledger, condition))).rowcount


def hold(connection: Connection, ledger: Ledger) -> tuple[int, int | None]:
    """Keep other sessions from finding or adding differences until the transaction ends: the next statement may find
    them. Returns the generation, and that of the pending corrections. Raises Refused if the balances are not
    installed."""
    row = connection.execute(QUERIES["hold"], {"ledger": ledger.called}).fetchone()
    if row is None:
        raise Refused(f"{ledger.table} has no balances", remedy="Run `tenantry balances install`.")
    return int(row[0]), row[1]


def share(connection: Connection, ledger: Ledger) -> bool:
    """The counterpart of `hold`: True if the pending corrections may be added until the transaction ends."""
    return connection.execute(QUERIES["share"], {"ledger": ledger.called}).fetchone() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceDifference:
    """The difference of a key: the ledger's sums less those of the balance."""

    key: Mapping[str, Any]
    quantity: Decimal
    total_in: Decimal
    total_out: Decimal
    movements: int


def compare(connection: Connection, ledger: Ledger, *, samples: int = 10) -> tuple[int, tuple[BalanceDifference, ...]]:
    """How many keys differ, in one snapshot, and some of them. Takes no lock."""
    query = sql.SQL("SELECT {}, {}, {}, {}, movements, pg_catalog.count(*) OVER () FROM ({}) AS found LIMIT {}").format(
        identifiers(ledger.columns), shown("quantity"), shown("total_in"), shown("total_out"), differences(ledger),
        sql.Literal(samples),
    )  # fmt: skip
    rows = connection.execute(query).fetchall()
    width = len(ledger.key)
    found = tuple(
        BalanceDifference(
            key=dict(zip(ledger.columns, row[:width], strict=True)), quantity=row[width], total_in=row[width + 1],
            total_out=row[width + 2], movements=int(row[width + 3]),
        )
        for row in rows
    )  # fmt: skip
    return (int(rows[0][-1]) if rows else 0), found
