"""Slots that writers no longer use are merged into one row for each key, so that readers add up fewer rows."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
from psycopg import sql

from tenantry.model.ledger import SUMS, Ledger
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.movement import add

BATCH = 1000
LEFT = 60
"""Seconds without a movement after which a slot counts as unused."""


def compact(
    connection: psycopg.Connection[Any],
    ledger: Ledger,
    *,
    idle_seconds: float = LEFT,
    stop: threading.Event | None = None,
) -> int:
    """Merge the slots that had no movement for `idle_seconds` seconds into slot 0; returns the number of rows that were
    removed.

    A batch is one statement, which deletes the rows and adds their sums: if it is killed, it has done both or nothing.
    Rows that a writer has locked are skipped, and no writer uses slot 0 if there are slots, so nobody waits.
    """
    folded = 0
    while not (stop is not None and stop.is_set()):
        rows = _fold(connection, ledger, idle_seconds)
        folded += rows
        if rows < BATCH:
            break
    return folded


def _fold(connection: psycopg.Connection[Any], ledger: Ledger, idle_seconds: float) -> int:
    old = sql.SQL("pg_catalog.make_interval(secs => {})").format(sql.Literal(idle_seconds))
    columns, measures = identifiers(ledger.columns), raw(", ".join(SUMS))
    taken = sql.SQL(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE slot > 0"
        " AND last_movement < pg_catalog.clock_timestamp() - {old} LIMIT {batch} FOR UPDATE SKIP LOCKED))"
        " RETURNING {columns}, {measures}, last_movement"
    ).format(
        table=ledger.storage.identifier, old=old, batch=sql.Literal(BATCH), columns=columns, measures=measures
    )  # fmt: skip
    sums = raw(", ".join(f"sum(taken.{name}) AS {name}" for name in SUMS))
    folded = sql.SQL(
        "SELECT {columns}, {sums}, max(taken.last_movement) AS last_movement FROM taken GROUP BY {columns}"
    ).format(columns=columns, sums=sums)
    query = sql.SQL("WITH taken AS ({}), folded AS ({} RETURNING 1) SELECT count(*) FROM taken").format(
        taken, add(ledger, folded, sql.SQL("0"), moved="netted.last_movement")
    )
    row = connection.execute(query).fetchone()
    return int(row[0]) if row is not None else 0
