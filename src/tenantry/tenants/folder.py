"""The folder of an export: CSV files that only its owner may read, and a manifest that is written last.

A folder without a manifest is incomplete. Only its owner may be able to write into it: what is imported from there
becomes rows of the database.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tenantry import private_files
from tenantry.errors import Failed, Refused, UsageError
from tenantry.model.tenant_export import FORMAT, MANIFEST, ExportFile, TenantExport, is_file_name

CHUNK = 1 << 18
_EXPORT: TypeAdapter[TenantExport] = TypeAdapter(TenantExport)


def refuse_folder(folder: Path) -> None:
    """Raises Refused if a folder that is to be written is not empty, or if other users could replace it, and UsageError
    if it is not a folder."""
    with _explained(folder):
        private_files.require_trusted(folder.absolute())
        there = next(folder.iterdir(), None) if folder.exists() else None
    if there is not None:
        raise Refused(f"{folder} is not empty: it has {there.name}", remedy="Name a new folder: --output PATH.")


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"The export cannot be written to {folder}: {error.strerror}",
            remedy="Name a folder that you can write to: --output PATH.",
        ) from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to be written, which does not exist yet or is empty; its contents are removed if the block fails. Raises
    as `refuse_folder` does."""
    folder = folder.absolute()
    refuse_folder(folder)
    with _explained(folder):
        private_files.make_folder(folder)
        private_files.require_trusted(folder)
        folder.chmod(0o700)
    try:
        yield folder
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(folder)
        raise


def write_file(folder: Path, name: str, data: Iterable[Any]) -> ExportFile:
    """Write a file piece by piece. Raises Failed if it cannot be written."""
    digest, size = hashlib.sha256(), 0
    try:
        with private_files.replacing(folder / name) as file:
            for piece in data:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise Failed(
            f"{folder / name} cannot be written: {error.strerror or error}",
            remedy="Make room, or name another folder; then run the same command again. No row was changed.",
        ) from error
    return ExportFile(name=name, bytes=size, sha256=digest.hexdigest())


def write_manifest(folder: Path, export: TenantExport) -> None:
    try:
        private_files.write_text(folder / MANIFEST, _EXPORT.dump_json(export, indent=2).decode() + "\n")
    except OSError as error:
        raise Failed(f"{folder / MANIFEST} cannot be written: {error.strerror or error}") from error


def read_manifest(folder: Path) -> TenantExport:
    """The contents of the folder's manifest, after checking that every file is as it was written.

    Raises UsageError if there is no such folder or manifest, Refused if a file is not as it was written, or other users
    could have replaced it.
    """
    folder = folder.absolute()
    path = folder / MANIFEST
    try:
        private_files.require_trusted(folder)
        with private_files.open_existing(path) as written:
            text = written.read()
    except FileNotFoundError as error:
        there = "holds no export: it has no manifest.json" if folder.is_dir() else "is not there"
        raise UsageError(
            f"{folder} {there}", remedy="Name the folder that `tenantry tenants export` has written."
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    version = re.search(rb'"format":\s*(\d+)', text)
    if version is not None and int(version[1]) > FORMAT:
        raise UsageError(
            f"The export has format {int(version[1])}, and this version of tenantry reads {FORMAT}",
            remedy="Import it with the newer tenantry that wrote it.",
        )
    try:
        export = _EXPORT.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise Refused(
            f"The manifest {path} cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            remedy="Export the tenant again.",
        ) from None
    for file in export.files:
        _refuse_damaged(folder, file)
    return export


def _refuse_damaged(folder: Path, file: ExportFile) -> None:
    digest, size = hashlib.sha256(), 0
    try:
        for piece in read_file(folder, file):
            digest.update(piece)
            size += len(piece)
    except OSError as error:
        raise Refused(
            f"The file {folder / file.name} of the export cannot be read: {error.strerror}",
            remedy="Export the tenant again.",
        ) from error
    if (size, digest.hexdigest()) != (file.bytes, file.sha256):
        raise Refused(f"The file {folder / file.name} is not what was written", remedy="Export the tenant again.")


def read_file(folder: Path, file: ExportFile) -> Iterator[bytes]:
    """A file of the export, piece by piece. Raises Refused for a name that an export cannot have, OSError."""
    if not is_file_name(file.name):
        raise Refused(f"The manifest names a file that no export has: {file.name!r}", remedy="Export the tenant again.")
    with private_files.open_existing(folder / file.name) as read:
        while piece := read.read(CHUNK):
            yield piece
