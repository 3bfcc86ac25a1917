"""Files that have had their time: packed whole, and nothing else is touched."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from time import time

import pytest
import zstandard

from tenantry.reports.archive import older, pack

DAY = 86400


def written(path: Path, days: float, text: str = "a line\n") -> Path:
    path.write_text(text)
    os.utime(path, (time() - days * DAY,) * 2)
    return path


def test_which_are_old(tmp_path: Path) -> None:
    """By when they were last written; each once; no folder, and no link to somewhere else."""
    old = written(tmp_path / "migration-1.log", 31)
    written(tmp_path / "migration-2.log", 29)
    written(tmp_path / "other.txt", 99)
    (tmp_path / "folder.log").mkdir()
    (tmp_path / "link.log").symlink_to(old)
    assert list(older(tmp_path, ["*.log", "migration-*"], timedelta(days=30))) == [old]
    assert list(older(tmp_path / "nowhere", ["*"], timedelta())) == []


def test_packed_whole(tmp_path: Path) -> None:
    """Its text, its time, and for its owner alone."""
    old = written(tmp_path / "migration-1.log", 31, "x" * 100_000)
    when = old.stat().st_mtime
    packed = pack(old)
    assert packed == tmp_path / "archive" / "migration-1.log.zst"
    assert not old.exists()
    assert (packed.stat().st_mtime, packed.stat().st_mode & 0o777) == (pytest.approx(when), 0o600)
    with packed.open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file).read() == b"x" * 100_000


def test_not_at_all(tmp_path: Path) -> None:
    """What cannot be packed stays."""
    old = written(tmp_path / "migration-1.log", 31)
    (tmp_path / "archive").write_text("in the way")
    with pytest.raises(OSError, match="archive"):
        pack(old)
    assert old.read_text() == "a line\n"
