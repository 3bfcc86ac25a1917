"""Files and folders of one user's own, among those of others."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantry import private_files
from tenantry.errors import Refused


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """The new one is private, whatever the old one was; a block that fails leaves the old one and nothing beside it."""
    path = tmp_path / "report.json"
    path.write_text("old")
    path.chmod(0o666)
    with pytest.raises(TypeError), private_files.replacing(path) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
    private_files.write_text(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    """A folder that is there keeps its mode, and a link to one is a folder; a file is none."""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    private_files.make_folder(tmp_path / "link" / "one" / "two")
    assert [stat.S_IMODE((tmp_path / "open" / name).stat().st_mode) for name in ("", "one", "one/two")] == [
        0o755, 0o700, 0o700,
    ]  # fmt: skip
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        private_files.make_folder(tmp_path / "file")


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o1777])
def test_who_may_write_above_may_exchange_what_is_below(tmp_path: Path, mode: int) -> None:
    """Behind links and .. too; in a sticky folder what is ours stays, but the folder itself is nobody's own."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(shared)
    shared.chmod(mode)
    (shared / "own").mkdir(mode=0o700)
    ways = [shared / "own", tmp_path / "first" / "own", tmp_path / "first" / "own" / "..", shared / "not made yet"]
    for way in ways:
        if mode & stat.S_ISVTX and not str(way).endswith(".."):
            private_files.require_trusted(way)
        elif not mode & stat.S_ISVTX:
            with pytest.raises(Refused, match=f"they may write to {shared}$"):
                private_files.require_trusted(way)
    with pytest.raises(Refused, match="not safe from other users"):
        private_files.require_trusted(shared)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    """As the system says it: too many of them."""
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="Too many levels"):
        private_files.require_trusted(tmp_path / "one" / "below")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is no file is refused at once, to read or to lock."""
    os.mkfifo(tmp_path / "pipe")
    for opened in (private_files.open_existing, private_files.open_lock):
        with pytest.raises(FileExistsError, match="not a regular file"):
            opened(tmp_path / "pipe")
