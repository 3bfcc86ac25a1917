"""Writes a person's choice between two ways of a table into their spec, and leaves all else of the file as it was."""

from __future__ import annotations

from typing import Any

import tomlkit

from tenantry.errors import UsageError, nearest
from tenantry.model.name import Name, quoted, split
from tenantry.model.spec import Spec, TablePart


def choose(text: str, spec: Spec, path: str) -> str:
    """The `text` of the spec, in which `path`, as table.column, alone says whose the table's rows are: its other paths
    become references that may lead to another tenant's row.

    Several columns of one key are joined by commas. Raises UsageError where the spec has no such table or path.
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
                f"{table}: the key {','.join(first)} has several columns, and a [[reference]] one",
                remedy="Correct the rows, or drop the foreign key.",
            )
        reference = tomlkit.table()
        reference["from"] = f"{part.name}.{quoted(first[0])}"
        reference["crosses"] = True
        if "reference" not in document:
            document.append("reference", tomlkit.aot())
        document["reference"].append(reference)
    changed = tomlkit.dumps(document)
    # What is written is read once more before anybody relies on it.
    Spec.parse(changed, path=spec.path)
    return changed


def _hops(path: tuple[tuple[str, ...], ...]) -> list[str | list[str]]:
    return [hop[0] if len(hop) == 1 else list(hop) for hop in path]


def _parsed(path: str, home: str) -> tuple[Name, tuple[str, ...]]:
    """table.column, or schema.table.column."""
    first, *others = path.split(",")
    *name, column = split(first)
    if len(name) not in (1, 2):
        raise UsageError(f"{path!r} is not table.column", remedy="Write it as the list of conflicts does.")
    return Name(*name) if len(name) == 2 else Name(home, name[0]), (column, *(split(one)[0] for one in others))


def _part(spec: Spec, table: Name, home: str) -> tuple[int, TablePart]:
    for place, part in enumerate(spec.table):
        if Name.parse(part.name, schema=home) == table:
            return place, part
    raise UsageError(f"{spec.path or 'The spec'} has no [[table]] of {table}", remedy="`tenantry discover --update`.")
