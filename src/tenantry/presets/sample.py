"""The types of sample data, and of the result of loading it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Row = tuple[Any, ...]

PLANTED = 3
"""The number of rows that are planted of each kind of fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One faulty row, planted on request.

    `kind` is a name such as "conflicts"; `table` and `key` (its `id`) identify the row; `detail` describes the fault.
    """

    kind: str
    table: str
    key: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSample:
    """What was loaded: the number of rows of each table (planted ones included), and every planted fault."""

    preset: str
    seed: int
    rows: Mapping[str, int]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTable:
    """The rows of one table; they are read once, and before those of the table after it."""

    name: str
    columns: tuple[str, ...]
    rows: Iterable[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """The faults, and the rows that contain them, which come after the table's others."""

    faults: list[Fault] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, table: str, row: Row) -> int:
        """Add a row, whose first value is its `id`; returns the id."""
        self.rows.setdefault(table, []).append(row)
        return int(row[0])

    def after(self, table: str, rows: Iterable[Row]) -> Iterator[Row]:
        """The table's rows with the planted ones after them."""
        yield from rows
        yield from self.rows.get(table, ())


class SampleRows(Protocol):
    """The rows of a preset; equal arguments give equal rows."""

    planted: Planted

    def __init__(self, rows: int, seed: int, faults: Collection[str]) -> None: ...

    def tables(self) -> Iterator[SampleTable]:
        """The tables in the order in which they are to be loaded (children may come before their parents)."""
