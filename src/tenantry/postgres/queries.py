"""Named queries: constant SQL, read from .sql files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from psycopg import sql

_NAME = re.compile(r"^-- name: *(\S+) *$", re.MULTILINE)
_PARAMETER = re.compile(r"%\((\w+)\)s")


class ConstantQuery(bytes):
    """A constant query: it contains no name of a user's table.

    Bytes, because the driver accepts text that is not a literal of the program only in this form.
    """


def read_queries(path: Path) -> Mapping[str, ConstantQuery]:
    """The queries of a file by name; each begins with a line `-- name: NAME`.

    Raises ValueError if two have the same name.
    """
    _, *parts = _NAME.split(path.read_text(encoding="utf-8"))
    names, texts = parts[::2], parts[1::2]
    if len(set(names)) < len(names):
        raise ValueError(f"{path.name} names a query twice")
    return {name: ConstantQuery(text.strip().encode()) for name, text in zip(names, texts, strict=True)}


def filled(query: ConstantQuery, **values: sql.Composable) -> sql.Composed:
    """The query with values instead of its parameters, for a message with several statements."""
    # In turn the text between the parameters, and their names.
    parts = _PARAMETER.split(query.decode().rstrip("; \n"))
    texts = [sql.SQL(part.replace("%%", "%")) for part in parts[::2]]
    composed = [one for text, name in zip(texts, parts[1::2], strict=False) for one in (text, values[name])]
    return sql.Composed([*composed, texts[-1]])
