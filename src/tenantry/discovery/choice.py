"""Writes a person's decisions into the spec, and leaves the rest of the file unchanged."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

import tomlkit

from tenantry.errors import UsageError, nearest
from tenantry.model.name import Name, quoted, split
from tenantry.model.spec import Spec

PLACEHOLDER = re.compile(r"(^[ \t]*)?[^\s={,]+\s*=\s*\"(tenantry-[0-9a-f]{24})\"", re.MULTILINE)


class SpecEditor:
    """The text of a spec, into which decisions are written; the rest of it is unchanged."""

    def __init__(self, text: str, spec: Spec) -> None:
        self.spec = spec
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._document: Any = tomlkit.parse(text)
        self._places = {Name.parse(part.name, schema=spec.schemas[0]): place for place, part in enumerate(spec.table)}
        self._crossing = {_parsed(one.child, spec.schemas[0]) for one in spec.reference if one.crosses}
        self._replaced: dict[str, dict[str, Any]] = {}
        self._default = spec.tenant.default

    def choose(self, path: str) -> None:
        """Let `path`, as table.column, alone determine the owner of the table's rows: its other paths become references
        that may lead to another tenant's row.

        The columns of a key of several columns are joined by commas. Raises UsageError if the spec has no such table or
        path.
        """
        table, columns = _parsed(path, self.spec.schemas[0])
        place = self._place(table)
        part = self.spec.table[place]
        firsts = [tuple(one[0]) for one in part.paths]
        if columns not in firsts:
            named = ",".join(columns)
            raise UsageError(
                f"{table} has no path that begins with {named}{nearest(named, map(','.join, firsts))}",
                remedy=f"Choose one of {', '.join(','.join(one) for one in firsts) or 'none: it has no paths'}.",
            )
        written = self._document["table"][place]
        written["paths"] = [[*_hops(one)] for one in part.paths if tuple(one[0]) == columns]
        written.pop("undecided", None)
        written.pop("children", None)
        for first in dict.fromkeys(firsts):
            if first == columns or (table, first) in self._crossing:
                continue
            if len(first) > 1:
                raise UsageError(
                    f"{table}: the key {','.join(first)} has several columns, and a [[reference]] can have only one",
                    remedy="Correct the rows, or drop the foreign key.",
                )
            self.let_cross(f"{part.name}.{quoted(first[0])}")

    def write(self, table: Name, keys: Mapping[str, Any], *, default: str | None = None) -> None:
        """The table is no longer undecided, and has these keys in its part (None removes a key). `default` is the slug
        that [tenant] gets, unless it has one.

        Raises UsageError if the spec has no such table.
        """
        part = self._document["table"][self._place(table)]
        new: dict[str, Any] = {}
        for key, value in keys.items():
            if value is None:
                part.pop(key, None)
            elif key in part:
                part[key] = _value(value)
            else:
                new[key] = _value(value)
        # tomlkit adds to a block after the comments that belong to the next one: new lines replace a placeholder.
        if new and "undecided" in part:
            self._replace(part, "undecided", new)
        else:
            part.pop("undecided", None)
            part.update(new)
        if default is not None and self._default is None:
            self._default = default
            tenant = self._document["tenant"]
            self._replace(tenant, "table", {"default": default, "table": str(tenant["table"])})

    def let_cross(self, column: str) -> None:
        """Add a [[reference]] from the column, as table.column, that may lead to another tenant's row."""
        reference = tomlkit.table()
        reference["from"] = column
        reference["crosses"] = True
        if "reference" not in self._document:
            self._document.append("reference", tomlkit.aot())
        self._document["reference"].append(reference)
        self._crossing.add(_parsed(column, self.spec.schemas[0]))

    def text(self) -> str:
        """The text with all decisions. Raises UsageError if it is not a spec."""
        changed = PLACEHOLDER.sub(self._replacement, tomlkit.dumps(self._document))
        # The result is parsed once more before it is used.
        Spec.parse(changed, path=self.spec.path)
        return changed

    def _place(self, table: Name) -> int:
        if table not in self._places:
            raise UsageError(
                f"{self.spec.path or 'The spec'} has no [[table]] for {table}",
                remedy="Run `tenantry discover --update`.",
            )
        return self._places[table]

    def _replace(self, part: Any, key: str, values: dict[str, Any]) -> None:
        """Put a placeholder in the place of a key's value, with the text that is to replace it."""
        mark = f"tenantry-{secrets.token_hex(12)}"
        part[key] = mark
        self._replaced[mark] = values

    def _replacement(self, found: re.Match[str]) -> str:
        values = self._replaced.get(found[2])
        if values is None:
            return found[0]
        lines = [tomlkit.dumps({key: value}).strip() for key, value in values.items()]
        indent = found[1]
        return ", ".join(lines) if indent is None else indent + self._newline.join(lines)


def _value(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    table.update(value)
    return table


def _hops(path: tuple[tuple[str, ...], ...]) -> list[str | list[str]]:
    return [hop[0] if len(hop) == 1 else list(hop) for hop in path]


def _parsed(path: str, home: str) -> tuple[Name, tuple[str, ...]]:
    """table.column, or schema.table.column."""
    first, *others = path.split(",")
    *name, column = split(first)
    if len(name) not in (1, 2):
        raise UsageError(f"{path!r} is not table.column", remedy="Write it as `tenantry conflicts` shows it.")
    return Name(*name) if len(name) == 2 else Name(home, name[0]), (column, *(split(one)[0] for one in others))
