"""housekeeping: archives logs and reports, removes old backups and old rows of the journal; keeps what is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tenantry.balances.review_history import forget_discrepancies
from tenantry.commands.backups import list_backups, prune_backups
from tenantry.errors import Failed, Refused
from tenantry.execution.events import Notice, Observer, ignore
from tenantry.execution.session import open_session
from tenantry.model.spec import HousekeepingPart
from tenantry.postgres.connect import Target
from tenantry.postgres.housekeeping import forget, old_runs
from tenantry.postgres.journal import Journal
from tenantry.postgres.locks import hold_run_lock
from tenantry.reports.archive import ENDING, FOLDER, older, pack

LOGS = ("*-*.log",)
REPORTS = ("*-report-*.json", "*-report-*.csv", "*-report-*.html")


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupResult:
    """What became (in a dry run: would become) of one kind of things: how many were `done` with, how many are kept, and
    why. `bytes` is the size of the files before."""

    what: str
    deed: str
    done: int
    kept: int
    why: str
    bytes: int = 0
    names: tuple[str, ...] = ()


def run_housekeeping(
    target: Target, ages: HousekeepingPart, *, logs: Path, reports: Path, dry_run: bool = False,
    observer: Observer | None = None,
) -> tuple[CleanupResult, ...]:  # fmt: skip
    """Archive and remove what is older than its age; never what a rollback, `fixes undo` or status still needs.

    Raises Refused while a run is active, or if an archive is a link, Failed if a file cannot be archived; what
    was done by then is done.
    """
    observer = observer or ignore
    chores = [
        *_files("logs", logs, LOGS, ages.logs, ages.archives, dry_run=dry_run),
        *_files("reports", reports, REPORTS, ages.reports, ages.archives, dry_run=dry_run),
        _backups(target, ages, dry_run=dry_run, observer=observer),
        _discrepancies(target, ages, dry_run=dry_run),
        _journal(target, ages, dry_run=dry_run),
    ]
    for chore in chores:
        observer(
            Notice(
                f"{chore.what}: {chore.done} {chore.deed}, {chore.kept} kept", {"why": chore.why, "names": chore.names}
            )
        )
    return tuple(chores)


def _files(
    what: str, folder: Path, patterns: tuple[str, ...], days: int, archive_days: int, *, dry_run: bool
) -> Iterable[CleanupResult]:
    there = list(older(folder, patterns, timedelta(0)))
    old = list(older(folder, patterns, timedelta(days=days)))
    archive = folder / FOLDER
    if archive.is_symlink():
        raise Refused(
            f"{archive} is a link, and files in another folder would be removed",
            remedy="Replace it by a folder, or choose another --log-dir and --report-dir.",
        )
    endings = tuple(pattern + ENDING for pattern in patterns)
    packed = list(older(archive, endings, timedelta(0)))
    ancient = list(older(archive, endings, timedelta(days=archive_days)))
    size, ancient_size = _bytes(old), _bytes(ancient)
    if not dry_run:
        _each(old, pack)
        _each(ancient, Path.unlink)
    yield CleanupResult(
        what=what, deed="packed", done=len(old), kept=len(there) - len(old), bytes=size,
        why=f"written in the last {days} days", names=tuple(path.name for path in old),
    )  # fmt: skip
    yield CleanupResult(
        what=f"packed {what}", deed="removed", done=len(ancient), kept=len(packed) - len(ancient), bytes=ancient_size,
        why=f"written in the last {archive_days} days", names=tuple(path.name for path in ancient),
    )  # fmt: skip


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _each(paths: Iterable[Path], deal: Callable[[Path], object]) -> None:
    for path in paths:
        try:
            deal(path)
        except FileNotFoundError:
            # Another housekeeping has already removed it.
            continue
        except OSError as error:
            raise Failed(
                f"{path} cannot be archived: {error.strerror or error}",
                remedy="Make sure that its folder is writable and has free space, and run the same command again.",
            ) from error


def _backups(target: Target, ages: HousekeepingPart, *, dry_run: bool, observer: Observer) -> CleanupResult:
    there = list_backups(target)
    gone = (
        prune_backups(target, keep=ages.backups_kept, older_than=timedelta(days=ages.backups), dry_run=dry_run,
                      observer=observer)
        if there else ()
    )  # fmt: skip
    return CleanupResult(
        what="backups", deed="removed", done=len(gone), kept=len(there) - len(gone),
        why=f"the newest {ages.backups_kept}, and those of the last {ages.backups} days",
        names=tuple(backup.id for backup in gone),
    )  # fmt: skip


def _discrepancies(target: Target, ages: HousekeepingPart, *, dry_run: bool) -> CleanupResult:
    with (
        open_session(target, purpose="housekeeping") as connection,
        hold_run_lock(connection, target),
        connection.transaction(force_rollback=dry_run),
    ):
        done, kept = forget_discrepancies(connection, ages.journal)
    return CleanupResult(
        what="reconciliations and discrepancies", deed="removed", done=done, kept=kept,
        why=f"those of the last {ages.journal} days, the last of each ledger, and reviews that are open or rejected",
    )  # fmt: skip


def _journal(target: Target, ages: HousekeepingPart, *, dry_run: bool) -> CleanupResult:
    why = (
        f"the last ones, those of the last {ages.journal} days, and those that applied steps, fixes and backups"
        " belong to: rollback and `fixes undo` need them"
    )
    with open_session(target, purpose="housekeeping") as connection, hold_run_lock(connection, target):
        if not Journal(connection).installed:
            return CleanupResult(what="runs in the journal", deed="removed", done=0, kept=0, why=why)
        old = old_runs(connection, ages.journal)
        if not dry_run:
            forget(connection, old)
    return CleanupResult(
        what="runs in the journal", deed="removed", done=len(old.ids), kept=old.runs - len(old.ids),
        why=f"{why} ({old.steps} steps)", names=old.ids,
    )  # fmt: skip
