"""Errors of the server: which pass by themselves, and what a person can do about the others."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from tenantry.errors import ExitStatus
from tenantry.postgres.transient_errors import PUT_RIGHT, failed, passes


@pytest.mark.parametrize(
    ("error", "does"),
    [
        (errors.DeadlockDetected, True),
        (errors.AdminShutdown, True),
        (errors.DiskFull, True),
        (errors.LockNotAvailable, True),
        (errors.ObjectInUse, True),
        (errors.InternalError_, True),
        (psycopg.InterfaceError, True),
        (errors.DivisionByZero, False),
        (errors.UndefinedTable, False),
        (errors.CheckViolation, False),
        (errors.ObjectNotInPrerequisiteState, False),
    ],
)
def test_what_passes_by_itself(error: type[psycopg.Error], *, does: bool) -> None:
    assert passes(error("x")) == does


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errors.DiskFull, "Free space"),
        (errors.ReadOnlySqlTransaction, "Connect to the primary"),
        (errors.DeadlockDetected, "Again!"),
        (errors.UndefinedTable, PUT_RIGHT),
    ],
)
def test_what_to_do(error: type[psycopg.Error], remedy: str) -> None:
    """A full disk and a standby have a remedy of their own, whoever runs into them."""
    found = failed(error("no more\nCONTEXT: x"), "the fill of sales", "Again!")
    assert found.message == "the fill of sales: no more"
    assert found.remedy.startswith(remedy)
    assert found.status is ExitStatus.FAILED


def test_an_error_without_words() -> None:
    assert failed(errors.DiskFull()).message == "PostgreSQL reports: DiskFull"
