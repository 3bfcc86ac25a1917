"""A passage: one statement of a function or of a client, read for what depends on a table's columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tenantry.execution.preflight.sql_lexer import Token, tokens
from tenantry.model.name import Name

_BEFORE_RELATION = {"from", "join", "into", "update", "only", "using", "copy", "table", ","}
_BEFORE_STAR = {"select", ",", ".", "distinct", "all", "returning"}
_VERBS = {"insert", "select", "with", "copy", "update", "delete", "merge"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """`place` says where it stands: a function, or the role that ran it."""

    place: str
    tokens: tuple[Token, ...]

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens)

    def after(self, *words: str) -> Iterator[int]:
        """The positions behind each occurrence of `words`."""
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
        """Where `*` stands for the columns of something: not in count(*), a product, or EXISTS (SELECT *)."""
        for position, token in enumerate(self.tokens):
            before = self.word(position - 1)
            harmless = before == "select" and self.word(position - 2) == "(" and self.word(position - 3) == "exists"
            if token.text == "*" and before in _BEFORE_STAR and not harmless:
                yield position


@dataclass(frozen=True, slots=True)
class Relations:
    """Tables to be found by name; without a schema, a name means those of every schema."""

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
    """The statements of a text, and those in its strings, as EXECUTE takes them."""
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
