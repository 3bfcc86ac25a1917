"""The history of discrepancies: over time, by tenant, by size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from psycopg.rows import dict_row

from tenantry.balances.reconciliation_scope import Connection
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.ledger import Ledger
from tenantry.postgres.queries import read_queries

QUERIES = read_queries(Path(__file__).with_name("sql") / "discrepancies.sql")


def history(connection: Connection, ledger: Ledger) -> Iterator[Finding]:
    """The discrepancies of a ledger, including those of earlier runs, as findings for a report; none if there were
    none."""
    names = {"ledger": ledger.called}
    with connection.cursor(row_factory=dict_row) as cursor:
        days = cursor.execute(QUERIES["over_time"], names).fetchall()
        tenants = cursor.execute(QUERIES["by_tenant"], names).fetchall()
        sizes = cursor.execute(QUERIES["by_size"], names).fetchall()
    if not days:
        return
    counted = {row["tenant"]: row["discrepancies"] for row in tenants}
    for name, by, samples in (
        ("discrepancies-over-time", "over time", days), ("discrepancies-by-tenant", "by tenant", tenants),
        ("discrepancies-by-size", "by size", sizes),
    ):  # fmt: skip
        yield Finding(
            name=name, severity=Severity.INFO, family=Family.BUSINESS, table=ledger.table,
            message=f"The discrepancies of {ledger.table}, {by}", samples=tuple(samples),
            tenants=counted if by == "by tenant" else {},
        )  # fmt: skip


def forget_discrepancies(connection: Connection, days: int) -> tuple[int, int]:
    """Delete reconciliations, and discrepancies that were decided or corrected more than `days` ago; returns how many
    rows were deleted, and how many stay. Open and rejected ones stay, and so do the totals of each key."""
    if connection.execute(QUERIES["there"]).fetchone() != (True,):
        return 0, 0
    gone = connection.execute(QUERIES["forget"], {"days": days}).fetchone()
    kept = connection.execute(QUERIES["count"]).fetchone()
    assert gone is not None
    assert kept is not None
    return int(gone[0]), int(kept[0])
