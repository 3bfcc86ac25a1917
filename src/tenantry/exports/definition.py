"""An index's definition, split into its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tenantry.model.name import quoted

_TOKEN = re.compile(r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|[(),]|[^\"'(),]+")
_CLAUSE = re.compile(r"\A(?: INCLUDE \((?P<include>.*?)\))?(?P<nulls> NULLS NOT DISTINCT)?(?: WITH \(.*?\))?"
                     r"(?: TABLESPACE (?:\w+|\"(?:[^\"]|\"\")*\"))?(?: WHERE (?P<where>.*))?\Z", re.DOTALL)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """`keys`: each the name of a column, or, as `expression`, SQL. `where` is SQL; None: the index is over all rows."""

    keys: tuple[Key, ...]
    include: tuple[str, ...] = ()
    where: str | None = None
    nulls_not_distinct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    text: str
    expression: bool


def read_definition(rest: str, columns: tuple[str | None, ...]) -> Definition | None:
    """`rest`: pg_get_indexdef's text after `USING method (`. `columns`: the keys' columns, None for an expression, if
    they are known. None if the text cannot be parsed."""
    depth, parts, position = 0, [""], 0
    for token in _TOKEN.findall(rest):
        if token == ")" and depth == 0:
            break
        depth += {"(": 1, ")": -1}.get(token, 0)
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
        position += len(token)
    clause = _CLAUSE.match(rest[position + 1 :])
    if clause is None or not rest[position : position + 1]:
        return None
    keys = tuple(_keys((part.strip() for part in parts), columns or (None,) * len(parts)))
    include = tuple(name.strip().strip('"') for name in (clause["include"] or "").split(",") if name.strip())
    return Definition(keys=keys, include=include, where=clause["where"], nulls_not_distinct=bool(clause["nulls"]))


def _keys(texts: Iterator[str], columns: tuple[str | None, ...]) -> Iterator[Key]:
    for text, column in zip(texts, columns, strict=False):
        plain = column is not None and text == quoted(column)
        yield Key(text=column if plain and column is not None else text, expression=not plain)
