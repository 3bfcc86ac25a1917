"""monitor: whether there are recent, large, verified backups, with room for more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tenantry.backups.monitor import (
    BackupSize,
    Forecast,
    MonitorLimits,
    dumps_in,
    forecast,
    own_by_kind,
    watch_folder,
    watch_own,
    watch_room,
    watch_snapshot,
)
from tenantry.execution.preflight.server import free_bytes
from tenantry.execution.session import open_session
from tenantry.model.backup import BackupKind
from tenantry.model.finding import Finding
from tenantry.postgres.backups import Backups
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal
from tenantry.postgres.locks import run_lock_held
from tenantry.postgres.preflight import read_room


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorOptions:
    """`dump_folders` contain dumps of other tools, each a file or a folder; `last_snapshot` is when the provider made
    its last one; `free_space` in bytes, for servers that do not report it."""

    limits: MonitorLimits = field(default_factory=MonitorLimits)
    dump_folders: tuple[Path, ...] = ()
    last_snapshot: datetime | None = None
    free_space: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorResult:
    """What the monitor saw at `at`. `newest` is the newest backup of tenantry, `bytes` its size; `rooms` are the disks
    that contain backups."""

    at: datetime
    findings: tuple[Finding, ...]
    backups: int
    newest: str | None = None
    newest_at: datetime | None = None
    bytes: int = 0
    rooms: tuple[Forecast, ...] = ()


def monitor(target: Target, options: MonitorOptions, *, now: datetime | None = None) -> MonitorResult:
    """Check tenantry's backups and those of other tools. Changes nothing."""
    now = now or datetime.now(UTC)
    with open_session(target, purpose="monitor") as connection:
        Journal(connection).installed  # noqa: B018 - refuses where the journal may not be read
        running = run_lock_held(connection)
        backups = Backups(connection).all()
        free = options.free_space
        if free is None:
            free = free_bytes(read_room(connection), connection.info.host)
    own, folders = own_by_kind(backups), {folder: dumps_in(folder, now) for folder in options.dump_folders}
    newest = next((backup for backup in backups if backup.restorable), None)
    dumped = next((one.folder.parent for one in backups if one.folder is not None and one.folder.exists()), None)
    places = [("the server", free, own.get(BackupKind.TABLES))]
    if dumped is not None and dumped not in {folder.absolute() for folder in folders}:
        places.append((str(dumped), shutil.disk_usage(dumped).free, own.get(BackupKind.DUMP)))
    for folder, seen in folders.items():
        places.append((str(folder), shutil.disk_usage(folder).free if seen else None, seen))
    rooms = tuple(_rooms(places))
    found = [
        *watch_own(backups, running=running, now=now, limits=options.limits),
        *(one for folder, seen in folders.items()
          for one in watch_folder(folder, now=now, limits=options.limits, backups=seen)),
        *(one for room in rooms for one in watch_room(room, options.limits)),
    ]  # fmt: skip
    if options.last_snapshot is not None:
        found += watch_snapshot(options.last_snapshot, now=now, limits=options.limits)
    return MonitorResult(
        at=now, findings=tuple(found), backups=sum(backup.finished_at is not None for backup in backups), rooms=rooms,
        newest=newest.id if newest else None, newest_at=newest.started_at if newest else None,
        bytes=newest.bytes if newest else 0,
    )  # fmt: skip


def _rooms(places: Sequence[tuple[str, int | None, Sequence[BackupSize] | None]]) -> Iterator[Forecast]:
    """The places with backups whose free space is known."""
    for place, free, seen in places:
        if free is not None and seen:
            yield forecast(place, free, seen)
