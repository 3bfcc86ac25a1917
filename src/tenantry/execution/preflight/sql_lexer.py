"""SQL and PL/pgSQL text as tokens: comments, strings and the case of keywords do not mislead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
      | (?P<comment>/\*)
      | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
      | (?P<string>(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*')
      | (?P<dollar>(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag))
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<word>[^\W\d][\w$]*)
      | (?P<other>\$?\d+(?:\.\d+)?|.)""",
    re.VERBOSE | re.DOTALL,
)
_KINDS = ("comment", "escaped", "string", "dollar", "quoted", "word", "other")
_COMMENT = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True)
class Token:
    """A word in lower case, a quoted identifier, or a sign; `name` is what it names, `string` its text."""

    text: str
    name: str | None = None
    string: str | None = None


def tokens(source: str) -> Iterator[Token]:
    """The tokens of a text, without its comments."""
    position = 0
    while (match := _TOKEN.match(source, position)) is not None:
        position = match.end()
        kind = next((kind for kind in _KINDS if match[kind] is not None), "space")
        text = match.group()
        match kind:
            case "comment":
                position = _comment_end(source, position)
            case "escaped" | "string":
                yield Token("''", string=text[text.index("'") + 1 : -1].replace("''", "'"))
            case "dollar":
                yield Token("''", string=text[len(match["tag"]) : -len(match["tag"])])
            case "quoted":
                yield Token(text, name=text[1:-1].replace('""', '"'))
            case "word":
                yield Token(text.lower(), name=text.lower())
            case "other":
                yield Token(text)


def _comment_end(source: str, position: int) -> int:
    """Comments nest."""
    depth = 1
    while depth and (match := _COMMENT.search(source, position)) is not None:
        depth += 1 if match.group() == "/*" else -1
        position = match.end()
    return position if not depth else len(source)


_QUIET = {"debug", "log", "info", "notice", "warning"}
_WRITES = {"insert", "update", "delete", "merge", "truncate", "copy"}
_CALLS = {"notify", "pg_notify", "perform", "execute", "call"}
_LOCKING = {"for", "key"}


def acts(source: str, *, row: bool) -> str | None:
    """The first word with which a BEFORE trigger's function does more than change its row; None if none.

    It raises, writes, calls, or drops the row (`row` triggers only). What is done by functions that an
    expression calls is not seen.
    """
    words = [token.text for token in tokens(source)]
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word == "raise" and after not in _QUIET:
            return "RAISE"
        if row and word == "return" and after == "null":
            return "RETURN NULL"
        if word in _WRITES | _CALLS and before not in _LOCKING and before != ".":
            return word.upper()
    return None
