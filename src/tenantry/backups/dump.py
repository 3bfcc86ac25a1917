"""Backups of the kind `dump`: pg_dump's directory format, written in parallel from tenantry's snapshot, with a
manifest.

The manifest is written last, first under another name: a folder without one is incomplete.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tenantry import private_files
from tenantry.backups.tables import counted, snapshot
from tenantry.errors import Failed, UsageError
from tenantry.model.backup import PREFIX, Backup, TableCopy
from tenantry.postgres.backups import to_json
from tenantry.postgres.connect import Target
from tenantry.postgres.programs import Running, program

MANIFEST = "manifest.json"
LOCK_WAIT = "60s"
CHUNK = 1 << 20
_IS_ID = re.compile(r"[a-z]+_\d{14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpFile:
    """A file of a dump: its size in bytes, and its SHA-256."""

    name: str
    bytes: int
    sha256: str


def write_dump(
    target: Target, session: psycopg.Connection[Any], backup: str, folder: Path, tables: Sequence[TableCopy], *,
    workers: int, filtered: bool, finish: Callable[[tuple[TableCopy, ...], int], None],
    copied: Callable[[TableCopy], None] = lambda table: None,
) -> None:  # fmt: skip
    """Dump the entire database except for other backups into `folder`, and count the rows of tables in the same
    snapshot.

    `filtered`: row-level security applies to tenantry's role, whose policies show it every row. `finish` is called with
    the tables and the size in bytes, and writes with the session. Raises Failed; Refused if pg_dump is missing or if
    other users could replace the folder.
    """
    major = session.info.server_version // 10000
    pg_dump = program("pg_dump", major=major)
    try:
        # pg_dump opens the folder by its name, so other users must not be able to give that name to a folder of their
        # own.
        private_files.require_trusted(folder)
        private_files.make_folder(folder.parent)
        folder.mkdir(mode=0o700)
        private_files.require_trusted(folder)
    except OSError as error:
        raise UsageError(
            f"The dump cannot be written to {folder}: {error.strerror}",
            remedy="Choose a folder that you can write to: --dump-dir PATH.",
        ) from error
    with snapshot([session], tables) as exported:
        security = ["--enable-row-security"] if filtered else []
        arguments: tuple[str | Path, ...] = (
            "--format=directory", f"--jobs={workers}", f"--snapshot={exported}", f"--lock-wait-timeout={LOCK_WAIT}",
            f"--exclude-table=tenantry.{PREFIX}*", "--exclude-table=tenantry.backups", *security,
            "--file", folder / "data", "--dbname", "{database}",
        )  # fmt: skip
        with Running(target, pg_dump, *arguments) as dumping:
            found = []
            for table in tables:
                found.append(counted(session, table))
                copied(found[-1])
            dumping.wait()
        files = tuple(_files(folder))
        size = sum(file.bytes for file in files)
        _write_manifest(folder, backup, session, found, files)
        finish(tuple(found), size)


def _files(folder: Path) -> Iterator[DumpFile]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            yield DumpFile(name=str(path.relative_to(folder)), bytes=path.stat().st_size, sha256=_digest(path))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _write_manifest(
    folder: Path, backup: str, session: psycopg.Connection[Any], tables: Sequence[TableCopy],
    files: Sequence[DumpFile],
) -> None:  # fmt: skip
    document = {
        "backup": backup,
        "database": session.info.dbname,
        "server_version": session.info.parameter_status("server_version"),
        "tables": to_json(tables),
        "files": [{"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in files],
    }
    private_files.write_text(folder / MANIFEST, json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def damage(backup: Backup) -> str:
    """What is wrong with the files of a dump, in one sentence; empty if each is as the manifest lists it."""
    assert backup.folder is not None
    manifest = backup.folder / MANIFEST
    try:
        # The contents are run as SQL in the database when they are restored.
        private_files.require_trusted(backup.folder)
        with private_files.open_existing(manifest) as written:
            document = json.load(written)
        listed = [DumpFile(**file) for file in document["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"the manifest {manifest} cannot be read: {error}"
    if document.get("backup") != backup.id:
        return f"{backup.folder} contains another backup, {document.get('backup')}"
    for file in listed:
        path = backup.folder / file.name
        if not path.is_file():
            return f"the file {path} is missing"
        if path.stat().st_size != file.bytes or _digest(path) != file.sha256:
            return f"the file {path} differs from what was written"
    return ""


def remove(backup: Backup) -> None:
    """Remove the folder of a dump, complete or not; a folder that holds anything else is kept. Raises Failed."""
    folder = backup.folder
    if folder is None or not folder.exists():
        return
    # The list of backups is in the database, whose owner may have entered any folder there.
    if folder.name != backup.id or not _IS_ID.fullmatch(backup.id) or folder.is_symlink():
        raise Failed(f"{folder} is not the folder of {backup.id}", remedy="Check it, and remove it by hand.")
    strange = [path.name for path in folder.iterdir() if path.name not in ("data", MANIFEST)
               and not path.name.startswith(f".{MANIFEST}.")]  # fmt: skip
    if strange:
        raise Failed(
            f"{folder} contains a file that is not of a dump: {strange[0]}", remedy="Check it, and remove it by hand."
        )
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise Failed(f"{folder} cannot be removed: {error.strerror}") from error
