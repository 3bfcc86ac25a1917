"""A file of the user's whose text is replaced, and which stays what it is otherwise."""

from __future__ import annotations

from pathlib import Path

from tenantry.errors import UsageError


def read_text(path: Path) -> str:
    """The text of a file, with its ends of lines as they are. Raises UsageError."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def rewrite(path: Path, text: str) -> None:
    """Give a file that is there another text; it keeps its mode, its links and its owner. Raises UsageError."""
    try:
        with path.open("r+", encoding="utf-8", newline="") as file:
            file.write(text)
            file.truncate()
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
