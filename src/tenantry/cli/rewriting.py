"""Replaces the text of a user's file, and keeps everything else about it."""

from __future__ import annotations

from pathlib import Path

from tenantry.errors import UsageError


def read_text(path: Path) -> str:
    """The text of a file, with its line ends. Raises UsageError."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def rewrite(path: Path, text: str) -> None:
    """Replace the text of an existing file, which keeps its mode, links and owner. Raises UsageError."""
    try:
        with path.open("r+", encoding="utf-8", newline="") as file:
            file.write(text)
            file.truncate()
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
