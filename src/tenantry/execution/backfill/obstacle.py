"""Why rows stay without their tenant: somebody holds them, or a trigger keeps them from changing."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import NoReturn

import psycopg
from psycopg import sql

from tenantry.errors import Failed
from tenantry.execution.backfill.batch import AGAIN, Worker
from tenantry.execution.backfill.checkpoint import QUERIES, regclass
from tenantry.model.name import Name
from tenantry.postgres.locks import blockers, exclusive
from tenantry.steps.fill import RelationFill

LOOK_SECONDS = 0.5


def refuse_guarded(control: Worker, relation_fill: RelationFill) -> NoReturn:
    """Raises Failed: rows that nobody holds do not change, by a trigger or rule that is named."""
    row = control.cursor.execute(relation_fill.count()).fetchone()
    count = row[0] if row is not None else 0
    found = control.cursor.execute(QUERIES["guards"], [regclass(relation_fill.relation)]).fetchall()
    guards = [name for (name,) in found]
    raise Failed(
        f"{count} rows of {relation_fill.relation} stay without their tenant:"
        " something keeps them from changing" + (f", probably {', '.join(guards)}" if guards else ""),
        remedy=f"let rows of this table be updated while the fill runs, then {AGAIN}",
        details=guards,
    )


def locked(worker: Worker, relation: Name, error: psycopg.Error) -> Failed:
    """No lock on the whole table was to be had within the budget, or every try ended in a deadlock."""
    names: list[str] = []
    with suppress(psycopg.Error):
        names = [str(one) for one in exclusive(worker.connection) if one.relation == relation]
    return Failed(
        f"{relation} was locked for longer than {worker.budget:g} s: {error.diag.message_primary}"
        + (f" ({'; '.join(names)})" if names else ""),
        remedy=f"wait for who holds it, or end it, then {AGAIN}",
        details=names,
    )


def names_of_holders(control: Worker, worker: Worker, relation_fill: RelationFill) -> list[str]:
    """Those who hold a row that is left: `worker` waits for it a moment, so that the server tells who."""

    def wait() -> None:
        with suppress(psycopg.Error), worker.connection.transaction(force_rollback=True):
            worker.begin()
            worker.cursor.execute(
                sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{LOOK_SECONDS * 1000:.0f}ms"))
            )
            worker.cursor.execute(relation_fill.wait())

    waiting = threading.Thread(target=wait, name="look for holders")
    waiting.start()
    found: list[str] = []
    while waiting.is_alive() and not found:
        found = [str(blocker) for blocker in blockers(control.connection, worker.pid)]
        time.sleep(0.02)
    waiting.join()
    return found
