"""Which errors of the server are transient, and what a user can do about the others."""

from __future__ import annotations

import psycopg

from tenantry.errors import Failed

_CLASSES = ("08", "40", "53", "57", "58", "XX")
"""SQLSTATE classes: connections, transactions that others have ended, resources, interventions by operators, the
system, and PostgreSQL itself."""
_STATES = ("55006", "55P03")
"""Objects in use, or locked."""
_REMEDIES = {
    "53100": "Free space on the server's disk (--backup dump needs none there), then run the same command again.",
    "25006": "Connect to the primary server, where default_transaction_read_only is off.",
}
"""SQLSTATEs with a remedy: a full disk, and a server or session that is read-only."""
PUT_RIGHT = "Correct what the server reports, then run the same command again."


def passes(error: psycopg.Error) -> bool:
    """Whether the same statement may succeed later without a change of the objects that it is about. True for errors of
    the driver, which have no SQLSTATE."""
    return error.sqlstate is None or error.sqlstate in _STATES or error.sqlstate.startswith(_CLASSES)


def failed(
    error: psycopg.Error, what: str = "PostgreSQL reports", run_again: str = "Run the same command again."
) -> Failed:
    """An error of the server as a sentence that begins with `what`, and the remedy; `again` if the same command may
    succeed later."""
    said = (error.diag.message_primary or str(error)).strip().splitlines() or [type(error).__name__]
    remedy = _REMEDIES.get(error.sqlstate or "") or (run_again if passes(error) else PUT_RIGHT)
    details = (error.diag.message_detail or "", error.diag.message_hint or "")
    return Failed(f"{what}: {said[0]}", remedy=remedy, details=filter(None, details))
