"""housekeeping: what tenantry keeps in a database, and how to remove it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.commands.running import refuse_during_move
from tenantry.errors import Refused
from tenantry.execution.session import open_session
from tenantry.model.name import JOURNAL_SCHEMA, Name
from tenantry.model.wording import counted
from tenantry.postgres.backups import Backups
from tenantry.postgres.connect import Target
from tenantry.postgres.fixes import FixJournal
from tenantry.postgres.journal import Journal
from tenantry.postgres.locks import hold_run_lock
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "purge.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalUsage:
    """The contents of the schema tenantry. `steps` counts those that are applied or kept; `used` lists functions and
    tables there that the database's own tables need; `bytes` is the size of its tables, `backups` the number of
    backups, of which `dumps` are folders that are not removed; `fixed` is the number of rows whose values from before a
    fix it contains."""

    installed: bool
    steps: int = 0
    runs: int = 0
    bytes: int = 0
    fixed: int = 0
    backups: int = 0
    dumps: tuple[Path, ...] = ()
    used: tuple[str, ...] = ()


def journal_usage(target: Target) -> JournalUsage:
    """Read what tenantry keeps in this database. Changes nothing."""
    with open_session(target, purpose="housekeeping") as connection:
        return _read(connection)


def purge(target: Target, *, force: bool = False, dry_run: bool = False) -> tuple[JournalUsage, tuple[str, ...]]:
    """Drop the schema tenantry; returns its contents, and the statements that were (in a dry run: would be) run.

    While steps are applied, a rollback needs the journal: raises Refused. With `force` only the journal's own tables
    are dropped, and the migration becomes permanent; functions that triggers of the migrated tables call are kept.
    """
    with open_session(target, purpose="housekeeping") as connection, hold_run_lock(connection, target):
        held = _read(connection)
        refuse_during_move(connection)
        if held.steps and not force:
            raise Refused(
                f"{held.steps} steps of tenantry are applied, and without the journal they cannot be rolled back",
                remedy="Run `tenantry rollback --confirm` first; or --force, after which there can be no rollback.",
            )
        if held.fixed and not force:
            raise Refused(
                f"The journal contains the values of {counted(held.fixed, 'row')} from before"
                " --fix-issues corrected them",
                remedy="`tenantry fixes undo RUN` restores those of a run; --force deletes them for ever.",
            )
        statements = _statements(connection, held)
        if not dry_run:
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement)
        return held, tuple(statement.as_string(None) for statement in statements)


def _statements(connection: psycopg.Connection[Any], held: JournalUsage) -> tuple[sql.Composed, ...]:
    if not held.installed:
        return ()
    if not (held.steps or held.used):
        return (sql.Composed([sql.SQL(_QUERIES["drop_schema"].decode())]),)
    copies = [
        Name(JOURNAL_SCHEMA, copy.copy) for backup in Backups(connection).all() for copy in backup.tables if copy.copy
    ]
    dropped = [sql.SQL("DROP TABLE IF EXISTS {}").format(name.identifier) for name in copies]
    return (*dropped, sql.Composed([sql.SQL(_QUERIES["drop_journal"].decode())]))


def _read(connection: psycopg.Connection[Any]) -> JournalUsage:
    journal = Journal(connection)
    if not journal.installed:
        return JournalUsage(installed=False)
    row = connection.execute(_QUERIES["holdings"]).fetchone()
    assert row is not None
    used = tuple(name for (name,) in connection.execute(_QUERIES["used"]))
    backups = Backups(connection).all()
    return JournalUsage(
        installed=True, steps=row[0], runs=row[1], bytes=row[2], used=used, backups=len(backups),
        fixed=sum(fix.rows - fix.undone for fix in FixJournal(connection).fixes()),
        dumps=tuple(backup.folder for backup in backups if backup.folder is not None),
    )  # fmt: skip
