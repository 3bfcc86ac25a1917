"""A file of the user's gets another text, and stays what it is otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.cli.rewriting import read_text, rewrite
from tenantry.errors import UsageError


def test_it_keeps_what_it_is(tmp_path: Path) -> None:
    """Its mode, its links, its ends of lines."""
    path, link = tmp_path / "spec.toml", tmp_path / "link.toml"
    path.write_bytes(b"a\r\nbb\r\n")
    path.chmod(0o640)
    link.symlink_to(path)
    assert read_text(link) == "a\r\nbb\r\n"
    rewrite(link, "c\r\n")
    assert path.read_bytes() == b"c\r\n"
    assert (path.stat().st_mode & 0o777, link.is_symlink()) == (0o640, True)


def test_what_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff")
    for path in (tmp_path / "x", tmp_path / "nowhere", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            read_text(path)
    with pytest.raises(UsageError, match="cannot be written"):
        rewrite(tmp_path / "nowhere", "x")
    assert not (tmp_path / "nowhere").exists()
