"""The effect of a statement on the setting, determined from its text."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache

from tenantry_app.context import setting
from tenantry_app.errors import StatementRefused

_BLANK = r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_CONTROL = re.compile(
    _BLANK + r"(?:begin|start\s+transaction|commit|end|rollback|abort|savepoint|release|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)
_MAY_SET = re.compile(_BLANK + r"(?:set|reset|discard|do|call)\b", re.IGNORECASE | re.DOTALL)
_CURSOR = re.compile(_BLANK + r"(?:declare|fetch|move)\b", re.IGNORECASE | re.DOTALL)
_EMPTY = re.compile(_BLANK, re.DOTALL)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(\$\w*\$).*?\1|--[^\n]*|/\*.*?\*/", re.DOTALL)
_SETS = re.compile(_BLANK + r"(?:set|reset)\b|\bset_config\b", re.IGNORECASE | re.DOTALL)


class Kind(Enum):
    """The effect of a statement on the setting."""

    CONTROL = auto()
    """It begins or ends a transaction or a savepoint: it needs no tenant, and may change the setting."""
    EMPTY = auto()
    """It has no effect, such as the statement with which pools test a connection."""
    PLAIN = auto()
    """It needs a tenant, and leaves the setting as it is."""
    MAY_SET = auto()
    """It needs a tenant, and may change the setting."""
    SEVERAL = auto()
    """Several statements, which PostgreSQL accepts only in a message of their own. They may change the setting."""
    UNKNOWN = auto()
    """Its text is not known."""


def kind(text: str) -> Kind:
    """The kind of a statement. Raises StatementRefused for one that could run as another tenant than the block's, and
    for one that sets the setting itself."""
    return _kind(text, setting().name)


@lru_cache(maxsize=1024)
def _kind(text: str, name: str) -> Kind:
    if _CURSOR.match(text):
        raise StatementRefused(
            "DECLARE, FETCH and MOVE as text: use a cursor object of the driver, which knows its tenant"
        )
    if name in text.lower() and _SETS.search(text):
        raise StatementRefused(f"a statement that sets {name}: only tenant() blocks may set the tenant")
    if ";" in text:
        parts = [part for part in _QUOTED.sub(" ", text).split(";") if part.strip()]
        if len(parts) > 1:
            if any(_CONTROL.match(part) or _CURSOR.match(part) for part in parts):
                raise StatementRefused(
                    "several statements in one string, one of which ends a transaction or uses a cursor"
                )
            return Kind.SEVERAL
    if _CONTROL.match(text):
        return Kind.CONTROL
    if _EMPTY.fullmatch(text):
        return Kind.EMPTY
    return Kind.MAY_SET if _MAY_SET.match(text) else Kind.PLAIN
