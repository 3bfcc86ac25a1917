"""Are there backups, and are they what they should be? For ours, for dumps made elsewhere, and for a provider's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from tenantry.model.backup import Backup, Reason
from tenantry.model.finding import Finding, Severity

FORERUNNERS = 5
"""Backups that the newest one is compared with, at most."""
PASSING = (Reason.RESTORE, Reason.FIX)
"""Backups of the few tables that something was about to change."""
UNFINISHED = (".partial", ".tmp", ".part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is too old, too long unverified, too small a share of the forerunners' median, and how many more backups
    like the newest there has to be room for."""

    max_age: timedelta = timedelta(hours=26)
    max_unverified: timedelta = timedelta(days=7)
    smallest: float = 0.5
    spare: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A backup that was made at some time; bytes."""

    name: str
    at: datetime
    bytes: int


def watch_own(
    backups: Sequence[Backup], *, running: bool, free: int | None, now: datetime, limits: Limits
) -> Iterator[Finding]:
    """About our own backups, the newest first; `free` in bytes, None where it cannot be seen. `running`: a run is going
    on, to which an unfinished one may belong."""
    whole = [one for one in backups if one.finished_at is not None and one.reason not in PASSING]
    for backup in backups:
        if backup.finished_at is None and not running:
            yield _finding("backup-torn", f"The backup {backup.id} is torn", "`tenantry backups prune` clears it away")
        if backup.problem:
            yield _finding(
                "backup-damaged", f"The backup {backup.id} is damaged: {backup.problem}", "Make another one", bad=True
            )
        if backup.finished_at is not None and backup.folder is not None and not backup.folder.exists():
            yield _finding(
                "backup-missing", f"The dump of {backup.id} is not at {backup.folder}", "Look for it; or prune it"
            )
    sound = [_seen(backup) for backup in whole if not backup.problem]
    yield from _age("tenantry's backups", sound, now, limits, "Run `tenantry backups create`")
    if whole:
        newest = whole[0]
        alike = [one for one in whole[1:] if one.kind is newest.kind and _tables(one) == _tables(newest)]
        yield from _size("tenantry's backups", [_seen(one) for one in (newest, *alike)], limits)
        yield from _verified(whole, now, limits)
        yield from _room("the server", free, newest.bytes, limits)


def watch_folder(
    folder: Path, *, free: int | None, now: datetime, limits: Limits, seen: Sequence[Seen] | None
) -> Iterator[Finding]:
    """About the dumps in a folder, the newest first; None where the folder cannot be read."""
    place = f"the dumps in {folder}"
    if seen is None:
        yield _finding(
            "dumps-unreadable", f"The folder {folder} cannot be read", "Name the folder with dumps", bad=True
        )
        return
    yield from _age(place, seen, now, limits, "See why the job that makes them does not")
    yield from _size(place, seen, limits)
    if seen:
        yield from _room(str(folder), free, seen[0].bytes, limits)


def watch_snapshot(last: datetime, *, now: datetime, limits: Limits) -> Iterator[Finding]:
    """About the provider's own snapshots, of which the time of the last is known."""
    yield from _age(
        "the provider's snapshots", [Seen(name="snapshot", at=last, bytes=0)], now, limits, "See what the provider says"
    )


def dumps_in(folder: Path, zone: datetime) -> tuple[Seen, ...] | None:
    """The files and folders in a folder, each a dump, the newest first; None where it cannot be read. Of a folder the
    newest file counts. What is still being written (.partial, .tmp) does not."""
    found = []
    try:
        for entry in folder.iterdir():
            if entry.name.startswith(".") or entry.suffix in UNFINISHED:
                continue
            files = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
            states = [path.stat() for path in files]
            if states:
                at = datetime.fromtimestamp(max(state.st_mtime for state in states), tz=zone.tzinfo)
                found.append(Seen(name=entry.name, at=at, bytes=sum(state.st_size for state in states)))
    except OSError:
        return None
    return tuple(sorted(found, key=lambda one: one.at, reverse=True))


def _seen(backup: Backup) -> Seen:
    return Seen(name=backup.id, at=backup.started_at, bytes=backup.bytes)


def _tables(backup: Backup) -> frozenset[str]:
    return frozenset(str(copy.table) for copy in backup.tables)


def _age(what: str, seen: Sequence[Seen], now: datetime, limits: Limits, remedy: str) -> Iterator[Finding]:
    if not seen:
        yield _finding("backup-none", f"There is none of {what}", remedy, bad=True)
    elif now - seen[0].at > limits.max_age:
        age = span(now - seen[0].at)
        yield _finding(
            "backup-old", f"The newest of {what}, {seen[0].name}, is {age} old; {span(limits.max_age)} are allowed",
            remedy, bad=True,
        )  # fmt: skip


def _size(what: str, seen: Sequence[Seen], limits: Limits) -> Iterator[Finding]:
    """The newest one is first."""
    before = [one.bytes for one in seen[1 : 1 + FORERUNNERS]]
    usual = median(before) if before else 0
    if seen and (seen[0].bytes < limits.smallest * usual or seen[0].bytes == 0):
        yield _finding(
            "backup-small",
            f"The newest of {what}, {seen[0].name}, has {seen[0].bytes:,} bytes; its forerunners {int(usual):,}",
            "See what is missing in it", bad=True,
        )  # fmt: skip


def _verified(whole: Sequence[Backup], now: datetime, limits: Limits) -> Iterator[Finding]:
    times = [backup.verified_at for backup in whole if backup.verified_at is not None and not backup.problem]
    since = max(times) if times else min(backup.started_at for backup in whole)
    if now - since > limits.max_unverified:
        said = f"for {span(now - since)}" if times else "ever"
        yield _finding(
            "backup-unverified", f"None of tenantry's backups has been verified {said}", "Run `tenantry backups verify`"
        )


def _room(place: str, free: int | None, size: int, limits: Limits) -> Iterator[Finding]:
    if free is not None and free < limits.spare * size:
        yield _finding(
            "disk-full-soon",
            f"{free:,} bytes are free on {place}, and a backup takes {size:,}",
            "Make room, or prune backups: `tenantry backups prune --keep N`", bad=True,
        )  # fmt: skip


def _finding(name: str, message: str, remedy: str, *, bad: bool = False) -> Finding:
    severity = Severity.ERROR if bad else Severity.WARNING
    return Finding(name=name, severity=severity, message=message, remedy=f"{remedy}.")


def span(time: timedelta) -> str:
    """Such as 90 s, 26 h, 30 days."""
    seconds = time.total_seconds()
    for size, word in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"
