"""Reads SQL and PL/pgSQL text: tokens, and statements that depend on a table's columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tenantry.model.name import Name

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
    """A word in lower case, a quoted identifier, or a symbol; `name` is the name that it stands for, `string` its
    text."""

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
    """The first word by which a BEFORE trigger's function does more than change its row; None if there is none.

    It raises, writes, calls, or discards the row (`row` triggers only). What functions called in expressions do is not
    seen.
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


_BEFORE_RELATION = {"from", "join", "into", "update", "only", "using", "copy", "table", ","}
_BEFORE_STAR = {"select", ",", ".", "distinct", "all", "returning"}
_VERBS = {"insert", "select", "with", "copy", "update", "delete", "merge"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """`place` is where it was found: a function, or the role that ran it."""

    place: str
    tokens: tuple[Token, ...]

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens)

    def after(self, *words: str) -> Iterator[int]:
        """The positions after each occurrence of `words`."""
        found = self.words
        for position in range(len(found) - len(words) + 1):
            if found[position : position + len(words)] == words:
                yield position + len(words)

    def word(self, position: int) -> str:
        return self.tokens[position].text if 0 <= position < len(self.tokens) else ""

    def relation(self, position: int) -> tuple[str | None, str, int] | None:
        """Schema, name and end of a relation's name that begins here."""
        if self.word(position) == "only":
            position += 1
        if position >= len(self.tokens) or (name := self.tokens[position].name) is None:
            return None
        if self.word(position + 1) == "." and position + 2 < len(self.tokens):
            second = self.tokens[position + 2].name
            if second is not None:
                return name, second, position + 3
        return None, name, position + 1

    def stars(self) -> Iterator[int]:
        """Where `*` stands for columns: not in count(*), a product, or EXISTS (SELECT *)."""
        for position, token in enumerate(self.tokens):
            before = self.word(position - 1)
            harmless = before == "select" and self.word(position - 2) == "(" and self.word(position - 3) == "exists"
            if token.text == "*" and before in _BEFORE_STAR and not harmless:
                yield position


@dataclass(frozen=True, slots=True)
class Relations:
    """Tables that are looked for by name; a name without a schema means those of every schema."""

    names: Mapping[str, tuple[Name, ...]]

    @classmethod
    def of(cls, names: Iterable[Name]) -> Relations:
        found: dict[str, tuple[Name, ...]] = {}
        for name in sorted(names):
            found[name.name] = (*found.get(name.name, ()), name)
        return cls(found)

    def at(self, passage: Passage, position: int) -> tuple[Name, ...]:
        """Which of them is named here."""
        read = passage.relation(position)
        if read is None:
            return ()
        schema, name, _ = read
        return tuple(found for found in self.names.get(name, ()) if schema in (None, found.schema))

    def mentioned(self, passage: Passage) -> list[Name]:
        """Each mention as a relation, in order."""
        found: list[Name] = []
        for position in range(1, len(passage.tokens)):
            if passage.word(position - 1) in _BEFORE_RELATION:
                found.extend(self.at(passage, position))
        return found


def passages(place: str, source: str) -> Iterator[Passage]:
    """The statements of a text, and those in its strings, as for EXECUTE."""
    statement: list[Token] = []
    for token in tokens(source):
        if token.string is not None and (token.string.split() or [""])[0].lower() in _VERBS:
            yield from passages(place, token.string)
        if token.text == ";":
            yield Passage(place=place, tokens=tuple(statement))
            statement = []
        else:
            statement.append(token)
    if statement:
        yield Passage(place=place, tokens=tuple(statement))
