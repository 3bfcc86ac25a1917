"""Checks that recent and complete backups exist: tenantry's own, dumps made by other tools, and snapshots of a
provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

from tenantry.model.backup import Backup, BackupKind, Reason
from tenantry.model.finding import Finding, Severity
from tenantry.model.size import readable

FORERUNNERS = 5
"""The maximum number of backups that the newest one is compared with."""
MOST = 1000
"""The number of backups that a forecast looks ahead."""
OF_FEW_TABLES = (Reason.RESTORE, Reason.EMPTYING, Reason.FIX)
"""Reasons for which only the few tables that are about to change are backed up."""
UNFINISHED = (".partial", ".tmp", ".part")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorLimits:
    """Limits: the age of a backup, the time since it was verified, the share of the median size of the backups before
    it, how many more backups must have room, and for how long."""

    max_age: timedelta = timedelta(hours=26)
    max_unverified: timedelta = timedelta(days=7)
    smallest: float = 0.5
    spare: int = 2
    full_within: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSize:
    """A backup with its time and its size in bytes."""

    name: str
    at: datetime
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When the disk at `place` will be full if nothing is pruned and backups go on to be made as often, and to grow, as
    the last ones: after how many more backups, and in how many `days` (None if there is only one backup). `growth` of a
    backup over the one before it, and `free` space, in bytes."""

    place: str
    free: int
    backups: int
    growth: int
    days: float | None

    def __str__(self) -> str:
        room = f"for {self.backups} more backups" if self.backups < MOST else f"for {MOST:,} backups or more"
        when = "" if self.days is None else f"; full in {span(timedelta(days=self.days))} at the present rate"
        return f"{readable(self.free)} is free on {self.place}, {room}{when}"


def forecast(place: str, free: int, backups: Sequence[BackupSize]) -> Forecast:
    """From backups of the same kind and tables, the newest first; at least one."""
    last = backups[: 1 + FORERUNNERS]
    pairs = list(pairwise(last))
    growth = max(0, int(median(newer.bytes - older.bytes for newer, older in pairs))) if pairs else 0
    size, room, count = last[0].bytes + growth, free, 0
    while size <= room and count < MOST:
        size, room, count = size + growth, room - size, count + 1
    pauses = [(newer.at - older.at) / timedelta(days=1) for newer, older in pairs]
    days = None if not pauses or count == MOST else (count + 1) * median(pauses)
    return Forecast(place=place, free=free, backups=count, growth=growth, days=days)


def own_by_kind(backups: Sequence[Backup]) -> Mapping[BackupKind, tuple[BackupSize, ...]]:
    """tenantry's own complete backups by their kind, the newest first: the newest, and those of the same tables."""
    found = {}
    for kind in BackupKind:
        restorable = [one for one in _regular(backups) if one.kind is kind]
        if restorable:
            found[kind] = tuple(_size_of(one) for one in restorable if _tables(one) == _tables(restorable[0]))
    return found


def watch_own(backups: Sequence[Backup], *, running: bool, now: datetime, limits: MonitorLimits) -> Iterator[Finding]:
    """Checks of tenantry's own backups, the newest first. `running`: a run is active, to which an unfinished one may
    belong."""
    restorable = _regular(backups)
    for backup in backups:
        if backup.finished_at is None and not running:
            yield _finding("backup-incomplete", f"The backup {backup.id} is incomplete", "Run `tenantry backups prune`")
        if backup.problem:
            yield _finding(
                "backup-damaged", f"The backup {backup.id} is damaged: {backup.problem}", "Make a new one", bad=True
            )
        if backup.finished_at is not None and backup.folder is not None and not backup.folder.exists():
            yield _finding(
                "backup-missing", f"The dump {backup.folder} of {backup.id} does not exist", "Look for it, or prune it"
            )
    sound = [_size_of(backup) for backup in restorable if not backup.problem]
    yield from _age("tenantry's backups", sound, now, limits, "Run `tenantry backups create`")
    if restorable:
        yield from _size("tenantry's backups", own_by_kind(backups)[restorable[0].kind], limits)
        yield from _verified(restorable, now, limits)


def watch_room(found: Forecast, limits: MonitorLimits) -> Iterator[Finding]:
    """Whether the disk will be full before anybody has had time to react."""
    soon = found.days is not None and timedelta(days=found.days) <= limits.full_within
    if found.backups < limits.spare or soon:
        yield _finding(
            "disk-full-soon",
            f"{found}; each is {readable(found.growth)} larger than the one before" if found.growth else str(found),
            "Free space, or delete backups with `tenantry backups prune --keep N`", bad=True,
        )  # fmt: skip


def watch_folder(
    folder: Path, *, now: datetime, limits: MonitorLimits, backups: Sequence[BackupSize] | None
) -> Iterator[Finding]:
    """Checks of the dumps in a folder, the newest first; None if the folder cannot be read."""
    place = f"the dumps in {folder}"
    if backups is None:
        yield _finding(
            "dumps-unreadable", f"The folder {folder} cannot be read", "Correct the name of the folder", bad=True
        )
        return
    yield from _age(place, backups, now, limits, "Find out why the job that makes them does not run")
    yield from _size(place, backups, limits)


def watch_snapshot(last: datetime, *, now: datetime, limits: MonitorLimits) -> Iterator[Finding]:
    """Checks of the provider's own snapshots, of which the time of the last is given."""
    yield from _age(
        "the provider's snapshots", [BackupSize(name="snapshot", at=last, bytes=0)], now, limits, "Ask the provider"
    )


def dumps_in(folder: Path, zone: datetime) -> tuple[BackupSize, ...] | None:
    """The files and folders in a folder, each a dump, the newest first; None if it cannot be read. The time of a folder
    is that of its newest file. Files that are still being written (.partial, .tmp) are left out."""
    found = []
    try:
        for entry in folder.iterdir():
            if entry.name.startswith(".") or entry.suffix in UNFINISHED:
                continue
            files = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
            states = [path.stat() for path in files]
            if states:
                at = datetime.fromtimestamp(max(state.st_mtime for state in states), tz=zone.tzinfo)
                found.append(BackupSize(name=entry.name, at=at, bytes=sum(state.st_size for state in states)))
    except OSError:
        return None
    return tuple(sorted(found, key=lambda one: one.at, reverse=True))


def _regular(backups: Sequence[Backup]) -> list[Backup]:
    return [one for one in backups if one.finished_at is not None and one.reason not in OF_FEW_TABLES]


def _size_of(backup: Backup) -> BackupSize:
    return BackupSize(name=backup.id, at=backup.started_at, bytes=backup.bytes)


def _tables(backup: Backup) -> frozenset[str]:
    return frozenset(str(copy.table) for copy in backup.tables)


def _age(
    what: str, backups: Sequence[BackupSize], now: datetime, limits: MonitorLimits, remedy: str
) -> Iterator[Finding]:
    if not backups:
        yield _finding("backup-none", f"There is no backup among {what}", remedy, bad=True)
    elif now - backups[0].at > limits.max_age:
        age = span(now - backups[0].at)
        yield _finding(
            "backup-old", f"The newest of {what}, {backups[0].name}, is {age} old; the limit is {span(limits.max_age)}",
            remedy, bad=True,
        )  # fmt: skip


def _size(what: str, backups: Sequence[BackupSize], limits: MonitorLimits) -> Iterator[Finding]:
    """The newest one is first."""
    before = [one.bytes for one in backups[1 : 1 + FORERUNNERS]]
    usual = median(before) if before else 0
    if backups and (backups[0].bytes < limits.smallest * usual or backups[0].bytes == 0):
        yield _finding(
            "backup-small",
            f"The newest of {what}, {backups[0].name}, has {readable(backups[0].bytes)}; earlier ones have"
            f" {readable(usual)}",
            "Find out what is missing in it", bad=True,
        )  # fmt: skip


def _verified(restorable: Sequence[Backup], now: datetime, limits: MonitorLimits) -> Iterator[Finding]:
    times = [backup.verified_at for backup in restorable if backup.verified_at is not None and not backup.problem]
    since = max(times) if times else min(backup.started_at for backup in restorable)
    if now - since > limits.max_unverified:
        said = f"for {span(now - since)}" if times else "ever"
        yield _finding(
            "backup-unverified", f"No backup of tenantry has been verified {said}", "Run `tenantry backups verify`"
        )


def _finding(name: str, message: str, remedy: str, *, bad: bool = False) -> Finding:
    severity = Severity.ERROR if bad else Severity.WARNING
    return Finding(name=name, severity=severity, message=message, remedy=f"{remedy}.")


def span(time: timedelta) -> str:
    """A duration, such as 90 s, 26 h, 30 days."""
    seconds = time.total_seconds()
    for size, word in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"
