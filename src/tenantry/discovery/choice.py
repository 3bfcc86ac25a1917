"""Writes a person's choice between two paths of a table into the spec, and leaves the rest of the file unchanged."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

import tomlkit

from tenantry.errors import UsageError, nearest
from tenantry.model.name import Name, quoted, split
from tenantry.model.spec import Spec, TablePart


def choose(text: str, spec: Spec, path: str) -> str:
    """The `text` of the spec in which `path`, as table.column, alone determines the owner of the table's rows: its
    other paths become references that may lead to another tenant's row.

    The columns of a key of several columns are joined by commas. Raises UsageError if the spec has no such table or
    path.
    """
    home = spec.schemas[0]
    table, columns = _parsed(path, home)
    place, part = _part(spec, table, home)
    firsts = [tuple(one[0]) for one in part.paths]
    if columns not in firsts:
        named = ",".join(columns)
        raise UsageError(
            f"{table} has no path that begins with {named}{nearest(named, map(','.join, firsts))}",
            remedy=f"Choose one of {', '.join(','.join(one) for one in firsts) or 'none: it has no paths'}.",
        )
    document = tomlkit.parse(text)
    written: Any = document["table"][place]
    written["paths"] = [[*_hops(one)] for one in part.paths if tuple(one[0]) == columns]
    written.pop("undecided", None)
    written.pop("children", None)
    said = {_parsed(one.child, home) for one in spec.reference if one.crosses}
    for first in dict.fromkeys(firsts):
        if first == columns or (table, first) in said:
            continue
        if len(first) > 1:
            raise UsageError(
                f"{table}: the key {','.join(first)} has several columns, and a [[reference]] can have only one",
                remedy="Correct the rows, or drop the foreign key.",
            )
        _append_crossing(document, f"{part.name}.{quoted(first[0])}")
    changed = tomlkit.dumps(document)
    # The result is parsed once more before it is used.
    Spec.parse(changed, path=spec.path)
    return changed


def write(text: str, spec: Spec, table: Name, keys: Mapping[str, Any], *, default: str | None = None) -> str:
    """The `text` of the spec in which the table is no longer undecided, with these keys in its part (None removes a
    key); `default` is the slug that [tenant] gets.

    Raises UsageError if the spec has no such table.
    """
    place, _ = _part(spec, table, spec.schemas[0])
    document = tomlkit.parse(text)
    part: Any = document["table"][place]
    new: dict[str, Any] = {}
    for key, value in keys.items():
        if value is None:
            part.pop(key, None)
        elif key in part:
            part[key] = _value(value)
        else:
            new[key] = _value(value)
    # tomlkit adds to a block after the comments that belong to the next one. So the new lines replace a placeholder.
    marks: list[tuple[str, dict[str, Any]]] = []
    if new and "undecided" in part:
        marks.append(_marked(part, "undecided", new))
    else:
        part.pop("undecided", None)
        part.update(new)
    if default is not None:
        tenant: Any = document["tenant"]
        marks.append(_marked(tenant, "table", {"default": default, "table": str(tenant["table"])}))
    changed = tomlkit.dumps(document)
    newline = "\r\n" if "\r\n" in text else "\n"
    for mark, values in marks:
        lines = [tomlkit.dumps({key: value}).strip() for key, value in values.items()]
        alone = re.search(rf"^[ \t]*[^\s={{,]+\s*=\s*\"{mark}\"", changed, re.MULTILINE) is not None
        between = (newline if alone else ", ").join(lines)
        changed = re.sub(rf"[^\s={{,]+\s*=\s*\"{mark}\"", lambda _, between=between: between, changed)  # type: ignore[misc]
    # The result is parsed once more before it is used.
    Spec.parse(changed, path=spec.path)
    return changed


def reference_crosses(text: str, column: str) -> str:
    """The `text` of a spec with a [[reference]] from the column, as table.column, that may lead to another tenant's
    row."""
    document = tomlkit.parse(text)
    _append_crossing(document, column)
    return tomlkit.dumps(document)


def _append_crossing(document: Any, column: str) -> None:
    reference = tomlkit.table()
    reference["from"] = column
    reference["crosses"] = True
    if "reference" not in document:
        document.append("reference", tomlkit.aot())
    document["reference"].append(reference)


def _marked(part: Any, key: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A placeholder in the place of a key's value, with the text that is to replace it."""
    mark = f"tenantry-{secrets.token_hex(12)}"
    part[key] = mark
    return mark, values


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


def _part(spec: Spec, table: Name, home: str) -> tuple[int, TablePart]:
    for place, part in enumerate(spec.table):
        if Name.parse(part.name, schema=home) == table:
            return place, part
    raise UsageError(
        f"{spec.path or 'The spec'} has no [[table]] for {table}", remedy="Run `tenantry discover --update`."
    )
