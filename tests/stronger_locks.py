"""The locks that block writers and that no step has named: they would be asked for behind others, which a writer may
want meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from tenantry.execution import transaction
from tenantry.execution.message import MessageLimits, taking
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode

STOPPING = """
SELECT n.nspname, c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = pg_backend_pid() AND c.relkind IN ('r', 'p')
AND n.nspname = 'public' AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
MODES = {mode.value.title().replace(" ", "") + "Lock": mode for mode in LockMode}


def unnamed_locks(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Filled by the transactions that follow: their statements, and the table and mode of a lock that they have at their
    end and have not taken first."""
    more, said, run = set[tuple[str, str]](), dict[Name, int](), transaction._Transaction._run

    def taking_of(
        locks: Sequence[Lock], limits: MessageLimits, connection: psycopg.Connection[Any], **order: bool
    ) -> bytes:
        said.clear()
        said.update({lock.table: lock.mode.strength for lock in locks})
        return taking(locks, limits, connection, **order)

    def running(self: Any) -> None:
        run(self)
        # Locks are kept until the end of the transaction, and this is just before it.
        for schema, name, mode in self.connection.execute(STOPPING).fetchall() if not self.validates else ():
            if MODES[mode].strength > said.get(Name(schema, name), -1):
                more.add(("; ".join(statement.text for statement in self.statements), f"{name}: {mode}"))

    monkeypatch.setattr(transaction, "taking", taking_of)
    monkeypatch.setattr(transaction._Transaction, "_run", running)
    return more
