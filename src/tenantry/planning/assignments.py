"""The CSV file that assigns rows to tenants if foreign keys do not."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from tenantry.errors import UsageError
from tenantry.model.schema import Table


def read_assignments(path: Path, table: Table, place: str) -> tuple[tuple[str, ...], ...]:
    """For each row the primary key's values as text, then the tenant's slug.

    `place` is the position of the file's name in the spec. Raises UsageError if it cannot be read or does not fit the
    table.
    """
    if not table.primary_key:
        raise UsageError(f"{place}: {table.name} has no primary key, which a CSV file of its rows needs")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return tuple(_rows(csv.DictReader(file, strict=True), (*table.primary_key, "tenant"), path, place))
    except OSError as error:
        raise UsageError(f"{place}: cannot read {path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{place}: {path} is not CSV: {error}") from error


def _rows(reader: csv.DictReader[str], columns: tuple[str, ...], path: Path, place: str) -> Iterator[tuple[str, ...]]:
    if sorted(reader.fieldnames or ()) != sorted(columns):
        raise UsageError(f"{place}: the header of {path} must be {', '.join(columns)}")
    for row in reader:
        if any(row[name] is None for name in columns):
            raise UsageError(f"{place}: line {reader.line_num} of {path} is too short")
        yield tuple(row[name] for name in columns)
