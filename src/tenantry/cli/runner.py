"""Runs every command: its settings, its log, and the conversion of errors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from tenantry.cli.settings import REPORTS, Settings
from tenantry.cli.terminal import Terminal
from tenantry.errors import CONTINUES, ConnectionFailed, ExitStatus, Failed, Interrupted, TenantryError, UsageError
from tenantry.execution.session import check_spec, is_lost
from tenantry.model.run import new_run
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target, resolve_target
from tenantry.postgres.dsn import secrets
from tenantry.postgres.transient_errors import failed
from tenantry.reports.log import Log
from tenantry.reports.report_observer import ReportObserver

# The driver's warnings name errors that follow from another one; only that one is shown.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


def run(name: str, settings: Settings, function: Callable[..., ExitStatus], arguments: dict[str, Any]) -> ExitStatus:
    """Call a command; whatever it raises becomes one message and an exit status."""
    hidden = _secrets(settings, arguments)
    log = Log(settings.log_dir, command=name, run=new_run(), secrets=hidden)
    report = ReportObserver(
        settings.report_dir, command=name, secrets=hidden, export=settings.export_report,
        options={"config": settings.config, "preset": settings.preset, **arguments},
    )  # fmt: skip
    terminal = Terminal(command=name, settings=settings, log=log, report=report, secrets=hidden)
    try:
        status = function(terminal, **arguments)
        _end_report(terminal, report, status)
        for name in sorted(settings.named.intersection(REPORTS) if report.path is None else ()):
            terminal.warn(f"--{name.replace('_', '-')} had no effect: this command leaves no report.")
        terminal.finish(status)
        return status
    except (Exception, KeyboardInterrupt) as error:
        failure = _explained(error, terminal)
        if log.written and failure is error:
            log.write("failed", level="error", error=failure, exit_status=failure.status)
        _end_report(terminal, report, failure.status, failure)
        terminal.finish(failure.status, failure)
        return failure.status
    finally:
        log.close()


@contextmanager
def target(terminal: Terminal) -> Iterator[Target]:
    """The database of --dsn, DATABASE_URL or the PG* variables.

    A spec that was given, and that the command did not read, must fit the database: else raises UsageError.
    """
    spec = terminal.settings.spec() if terminal.settings.names_spec and not terminal.spec_used else None
    with resolve_target(terminal.settings.dsn) as found:
        if spec is not None:
            _require_fit(terminal, found, spec)
        yield found


def _require_fit(terminal: Terminal, database: Target, spec: Spec) -> None:
    try:
        check_spec(database, spec)
    except UsageError as error:
        raise UsageError(
            f"The spec does not fit this database: {error.message}",
            remedy=f"`{terminal.command}` needs no spec: omit --config and --preset, or connect to the database"
            " that the spec was written for.",
            details=error.details,
        ) from error


def _end_report(
    terminal: Terminal, report: ReportObserver, status: ExitStatus, error: TenantryError | None = None
) -> None:
    """Complete the report. If that fails, the outcome of the run is still the same."""
    try:
        report.end(status, error)
    except Exception as problem:
        terminal.log.failure(problem)
        terminal.warn(f"The report could not be written: {problem}")


def _secrets(settings: Settings, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The passwords in the connection strings, of which a command may have further ones, and in the environment."""
    texts = [settings.dsn, os.environ.get("DATABASE_URL"), *arguments.values()]
    found = [secret for text in texts if isinstance(text, str) for secret in secrets(text)]
    found += filter(None, (os.environ.get("PGPASSWORD"),))
    return tuple(dict.fromkeys(found))


def _explained(error: BaseException, terminal: Terminal) -> TenantryError:
    if isinstance(error, TenantryError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("Interrupted", remedy=CONTINUES)
    if isinstance(error, psycopg.Error):
        return _from_the_server(error, terminal)
    if isinstance(error, UnicodeEncodeError):
        return _value_error(f"{error.object[error.start : error.end]!a} is not a valid character")
    if isinstance(error, OSError) and error.filename is not None:
        return UsageError(f"{error.filename}: {error.strerror}")
    return _unexpected(error, terminal)


def _from_the_server(error: psycopg.Error, terminal: Terminal) -> TenantryError:
    said = (error.diag.message_primary or str(error)).strip().splitlines() or [type(error).__name__]
    details = [line for line in (error.diag.message_detail, error.diag.message_hint) if line]
    terminal.log.failure(error)
    if isinstance(error, psycopg.errors.UntranslatableCharacter):
        return UsageError(
            f"A name cannot be represented in the database's encoding: {said[0]}",
            remedy="Choose another name, in the spec or on the command line.",
        )
    if isinstance(error, psycopg.errors.CharacterNotInRepertoire):
        return UsageError(
            f"The database contains a text that is not valid UTF-8: {said[0]}",
            remedy="Dump the database, and restore it into one with the encoding in which its texts are written.",
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return ConnectionFailed(
            f"Missing privileges: {said[0]}",
            remedy="Connect as the owner of the tables, or as the operator that `tenantry operator-sql` creates.",
            details=details,
        )
    if error.sqlstate is None and isinstance(error, psycopg.DataError):
        return _value_error(said[0])
    if is_lost(error):
        return Failed(f"The connection was lost: {said[0]}", remedy="Run the same command again.", details=details)
    return failed(error)


def _value_error(said: str) -> TenantryError:
    """A value that the driver cannot send; nothing has reached the server."""
    return UsageError(
        f"A value cannot be sent to the database: {said}",
        remedy="Change it in the spec, the file or the command.",
    )


def _unexpected(error: BaseException, terminal: Terminal) -> TenantryError:
    terminal.log.failure(error)
    said = next(iter(str(error).splitlines()), "")
    return Failed(
        f"Unexpected error ({type(error).__name__}: {said})",
        remedy=f"Please report it with {terminal.log.path}. The same command can be run again.",
    )
