"""SQL and PL/pgSQL text as tokens, so that comments, strings and the letter case of keywords do not matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
      | (?P<comment>/\*)
      | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'|(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*'
          |(?P<dollar>\$(?:[^\W\d]\w*)?\$).*?(?P=dollar))
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<word>[^\W\d][\w$]*)
      | (?P<other>\$?\d+(?:\.\d+)?|.)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")
STRING = "''"
"""Stands for any string."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word in lower case, a sign, or `STRING`; `name` where it can name something."""

    text: str
    name: str | None = None


def tokens(source: str) -> Iterator[Token]:
    """The tokens of a text, without its comments."""
    position = 0
    while (match := _TOKEN.match(source, position)) is not None:
        position = match.end()
        kind, text = match.lastgroup, match.group()
        if kind == "comment":
            position = _comment_end(source, position)
        elif kind in ("string", "dollar"):
            yield Token(STRING)
        elif kind == "quoted":
            yield Token(text, text[1:-1].replace('""', '"'))
        elif kind == "word":
            yield Token(text.lower(), text.lower())
        elif kind == "other":
            yield Token(text)


def _comment_end(source: str, position: int) -> int:
    """Comments nest."""
    depth = 1
    while depth and (match := _COMMENT.search(source, position)) is not None:
        depth += 1 if match.group() == "/*" else -1
        position = match.end()
    return position if not depth else len(source)


_QUIET = {"debug", "log", "info", "notice", "warning"}
_WRITES = {"insert", "update", "delete", "merge", "truncate", "copy", "notify", "perform", "execute", "call"}
_WRITES_BY_CALL = {"pg_notify", "set_config", "nextval", "setval"}
_LOCKING = {"for", "key"}


def acts(source: str) -> str | None:
    """What a trigger function does besides changing its row, as its first such word; None where it does nothing.

    It raises, writes, calls, or drops the row. What functions called in an expression do is not seen.
    """
    words = [token.text for token in tokens(source)]
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word == "raise" and after not in _QUIET:
            return "RAISE"
        if word == "return" and after == "null":
            return "RETURN NULL"
        if word in _WRITES and before not in _LOCKING and before != ".":
            return word.upper()
        if word in _WRITES_BY_CALL and after == "(":
            return word
    return None
