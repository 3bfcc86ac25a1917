"""The tenants that a spec declares, and the columns of the tenant table that a new one must fill."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from tenantry.errors import UsageError
from tenantry.model.ownership import TenantTable
from tenantry.model.schema import Column
from tenantry.model.spec import TenantPart, is_slug

TEXT = ("text", "character varying", "character", "citext")
NAMES = ("name", "nome", "title", "label", "display_name")
"""Names of a column with the name of a tenant."""


def is_text(column: Column) -> bool:
    """Whether it can contain a slug or a name."""
    return column.base_type.partition("(")[0] in TEXT


def needs_value(column: Column) -> bool:
    """Whether a row without a value for it is refused."""
    return column.not_null and column.default is None and not column.identity and not column.generated


def name_column(columns: Iterable[Column], tenant: TenantTable) -> str | None:
    """The column of the tenant table with its name, if there is one besides the slug."""
    texts = [column.name for column in columns if is_text(column) and column.name != tenant.slug]
    return next((column for column in texts if column.lower() in NAMES), None)


def declared_tenants(part: TenantPart, folder: Path, place: str) -> tuple[tuple[str, str | None], ...]:
    """The slug and the name, None if the slug serves as name, of each tenant that the spec adds: its rows, then those
    of its file.

    `folder` is the folder to which the file's path is relative, `place` its position in the spec. Raises UsageError if
    the file cannot be read, or has a slug that is not valid or occurs twice.
    """
    found = {row.slug: row.name for row in part.rows}
    if part.csv is not None:
        path = folder / part.csv
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                for line, slug, name in _read(csv.DictReader(file, strict=True), path, place):
                    if not is_slug(slug):
                        raise UsageError(f"{place}: line {line} of {path}: {slug!r} is not a valid slug")
                    if slug in found:
                        raise UsageError(f"{place}: line {line} of {path}: the slug {slug!r} occurs twice")
                    found[slug] = name or None
        except OSError as error:
            raise UsageError(f"{place}: cannot read {path}: {error.strerror}") from error
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{place}: {path} is not CSV: {error}") from error
    return tuple(found.items())


def _read(reader: csv.DictReader[str], path: Path, place: str) -> Iterator[tuple[int, str, str]]:
    if sorted(reader.fieldnames or ()) not in (["slug"], ["name", "slug"]):
        raise UsageError(f"{place}: the header of {path} must be slug, or slug and name")
    for row in reader:
        if any(value is None for value in row.values()) or None in row:
            raise UsageError(f"{place}: line {reader.line_num} of {path} has fewer values than the header")
        yield reader.line_num, row["slug"], row.get("name", "")
