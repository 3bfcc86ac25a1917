"""Old files: compressed into a folder beside them, and deleted from there later."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from time import time

import zstandard

from tenantry import private_files

FOLDER = "archive"
ENDING = ".zst"


def older(folder: Path, patterns: Sequence[str], age: timedelta) -> Iterator[Path]:
    """The files of a folder that match one of the patterns and were last written longer ago than `age`."""
    limit = time() - age.total_seconds()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        if path.is_file() and not path.is_symlink() and path.stat().st_mtime < limit:
            yield path


def pack(path: Path) -> Path:
    """Compress a file into the archive folder beside it, completely or not at all, and keep its time. Raises
    OSError."""
    archived = path.parent / FOLDER / (path.name + ENDING)
    private_files.make_folder(archived.parent)
    with private_files.open_existing(path) as source, private_files.replacing(archived) as packed:
        zstandard.ZstdCompressor(level=10, write_checksum=True).copy_stream(source, packed)
        packed.flush()
        times = os.fstat(source.fileno())
        os.utime(packed.fileno(), (times.st_atime, times.st_mtime))
    path.unlink()
    return archived
