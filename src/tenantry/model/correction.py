"""Corrections of rows in the form of an UPDATE: `column = expression, …`."""

from __future__ import annotations

import re

from tenantry.model.name import split

_TOKEN = re.compile(
    r"""(?P<quoted>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      |(?P<remark>--[^\n]*|/\*.*?\*/)|(?P<open>[(\[])|(?P<close>[)\]])|(?P<comma>,)|(?P<end>;)|.""",
    re.DOTALL | re.VERBOSE,
)
_CORRECTION = re.compile(r'\s*("(?:[^"]|"")+"|[^\s"=().,]+)\s*=(?!=)\s*(\S.*)\Z', re.DOTALL)


def corrections(text: str) -> tuple[tuple[str, str], ...]:
    """Each column, as the catalog has it, with its expression. Raises ValueError."""
    found: dict[str, str] = {}
    for part in _parts(text):
        match = _CORRECTION.match(part)
        if match is None:
            raise ValueError(f"a fix has the form `column = expression, …`, and {part.strip()!r} does not")
        (column,) = split(match.group(1))
        if column in found:
            raise ValueError(f"the fix sets {column} twice")
        found[column] = match.group(2).strip()
    return tuple(found.items())


def _parts(text: str) -> list[str]:
    """The text between commas outside brackets and quotes, without comments."""
    parts, depth = [""], 0
    for match in _TOKEN.finditer(text):
        if match["end"]:
            raise ValueError("a fix has no semicolon: it is part of one statement")
        depth += bool(match["open"]) - bool(match["close"])
        if depth < 0:
            break
        if match["comma"] and depth == 0:
            parts.append("")
        else:
            parts[-1] += " " if match["remark"] else match[0]
    if depth != 0:
        raise ValueError("the brackets of the fix do not match")
    return parts
