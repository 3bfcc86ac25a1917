"""Which errors of the server pass by themselves, and what a user can do about the others."""

from __future__ import annotations

import psycopg

from tenantry.errors import Failed

_CLASSES = ("08", "40", "53", "57", "58", "XX")
"""Connections, transactions that others have broken, resources, operators' doing, the system, and PostgreSQL itself."""
_STATES = ("55006", "55P03")
"""What is in use, or locked."""
_REMEDIES = {
    "53100": "Free space on the server's disk (--backup dump needs none there), then run the same command again.",
    "25006": "Connect to the primary server, where default_transaction_read_only is off.",
}
"""By SQLSTATE: a full disk, and a server or session that takes no writes."""
PUT_RIGHT = "Correct what the server reports, then run the same command again."


def passes(error: psycopg.Error) -> bool:
    """Whether the same statement may succeed later although nobody has changed what it is about. True for what was
    raised by the driver, and so says nothing of that."""
    return error.sqlstate is None or error.sqlstate in _STATES or error.sqlstate.startswith(_CLASSES)


def failed(
    error: psycopg.Error, what: str = "PostgreSQL reports", again: str = "Run the same command again."
) -> Failed:
    """An error of the server as a sentence that begins with `what`, and what to do; `again` where the same command may
    succeed later."""
    said = (error.diag.message_primary or str(error)).strip().splitlines() or [type(error).__name__]
    remedy = _REMEDIES.get(error.sqlstate or "") or (again if passes(error) else PUT_RIGHT)
    details = (error.diag.message_detail or "", error.diag.message_hint or "")
    return Failed(f"{what}: {said[0]}", remedy=remedy, details=filter(None, details))
