"""The family of tenantry's exceptions; each has its exit status and a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit status of every command, and its meaning as the help and the reports describe it."""

    DONE = 0, "done"
    FINDINGS = 1, "done, with findings"
    USAGE = 2, "wrong usage, or the spec does not fit"
    CONNECTION = 3, "no connection, or missing privileges"
    REFUSED = 4, "refused, a person must decide"
    FAILED = 5, "failed part-way, run again"
    INTERRUPTED = 130, "interrupted, run again"

    meaning: str

    def __new__(cls, value: int, meaning: str = "") -> ExitStatus:
        status = int.__new__(cls, value)
        status._value_, status.meaning = value, meaning
        return status


CONTINUES = "Run the same command again: it continues where it stopped."
END_HOLDERS = "Wait until those sessions are done, or end them"
"""Remedies that several errors share."""


class TenantryError(Exception):
    """A sentence on what is wrong; `remedy` is what to do next."""

    status = ExitStatus.FAILED

    def __init__(self, message: str, *, remedy: str = "", details: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = tuple(details)


class UsageError(TenantryError):
    """Wrong usage, or a spec that does not fit the database."""

    status = ExitStatus.USAGE


class ConnectionFailed(TenantryError):
    """No connection, a server that is too old, or too few privileges."""

    status = ExitStatus.CONNECTION


class Refused(TenantryError):
    """Not done, because it would be unsafe or because a person must decide."""

    status = ExitStatus.REFUSED


class Failed(TenantryError):
    """Stopped part-way; the same command can be run again."""

    status = ExitStatus.FAILED


class Interrupted(TenantryError):
    """Stopped by the user between two steps or batches; the same command can be run again."""

    status = ExitStatus.INTERRUPTED


def nearest(name: str, valid: Iterable[str]) -> str:
    """`; did you mean "x"?` for the valid name nearest to `name`, or an empty string."""
    matches = get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f'; did you mean "{matches[0]}"?' if matches else ""
