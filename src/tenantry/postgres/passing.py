"""Which errors of the server pass by themselves."""

from __future__ import annotations

import psycopg

_CLASSES = ("08", "40", "53", "57", "58", "XX")
"""Connections, transactions that others have broken, resources, operators' doing, the system, and PostgreSQL itself."""
_STATES = ("55006", "55P03")
"""What is in use, or locked."""
PUT_RIGHT = "Put right what the server says, then run the same command again."


def passes(error: psycopg.Error) -> bool:
    """Whether the same statement may succeed later although nobody has changed what it is about. True for what was
    raised by the driver, and so says nothing of that."""
    return error.sqlstate is None or error.sqlstate in _STATES or error.sqlstate.startswith(_CLASSES)
