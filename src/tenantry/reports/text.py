"""Texts from a database, made safe for terminals, spreadsheets, browsers and JSON."""

from __future__ import annotations

import re
from typing import Any

LONGEST = 500
"""The maximum number of characters of one value in a report."""
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
"""Characters that move cursors, change the direction of writing, or are invisible."""
_FORMULA = re.compile(r"[\s'\"]*[=+\-@|%＝＋－＠]")


def visible(text: str, *, but: str = "") -> str:
    """The text with a visible sign for each character that a terminal would interpret or hide, except those in `but`.

    Each sign is as wide as a letter, so that a table stays aligned.
    """
    return _UNSEEN.sub(lambda match: match[0] if match[0] in but else _sign(match[0]), text)


def _sign(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def bounded(value: Any, longest: int = LONGEST) -> Any:
    """A plain value whose texts are cut to `longest` characters, with their original length added."""
    match value:
        case str() if len(value) > longest:
            return f"{value[:longest]}… ({len(value):,} characters)"
        case dict():
            return {bounded(name, longest): bounded(item, longest) for name, item in value.items()}
        case list():
            return [bounded(item, longest) for item in value]
        case _:
            return value


def cell(value: object) -> str:
    """The value as a cell of CSV that no spreadsheet takes for a formula, on one line."""
    text = "" if value is None else str(value)
    # Numbers are made by tenantry, all other values may come from outside.
    if isinstance(value, int | float):
        return text
    return ("'" if _FORMULA.match(text) or (text[:1] in "\t\r\n" and text) else "") + visible(text)
