from __future__ import annotations

from pathlib import Path

import pytest

import tenantry.postgres
from tenantry.postgres.queries import read_queries


def test_queries_have_their_names(tmp_path: Path) -> None:
    """A query reaches from its name to the next; what stands before the first name is left out."""
    file = tmp_path / "some.sql"
    file.write_text("-- Licence\n\n-- name: one\nSELECT 1\n\n-- name: two\n-- why\nSELECT\n  '-- name'\n")
    assert read_queries(file) == {"one": b"SELECT 1", "two": b"-- why\nSELECT\n  '-- name'"}


def test_a_name_is_given_once(tmp_path: Path) -> None:
    """The second query of a name would hide the first, and is refused."""
    file = tmp_path / "some.sql"
    file.write_text("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n")
    with pytest.raises(ValueError, match="twice"):
        read_queries(file)


def test_queries_are_ascii() -> None:
    """Not every encoding of a database has other characters, in comments neither."""
    package = Path(tenantry.__path__[0])
    files = [file for file in package.rglob("*.sql") if "presets" not in file.parts]
    assert len(files) > 10
    assert [file.name for file in files if not file.read_bytes().isascii()] == []


@pytest.mark.parametrize("name", ["catalog", "connect", "locks"])
def test_files_are_in_the_package(name: str) -> None:
    """Each reader finds its file, and no query in it is empty."""
    queries = read_queries(Path(tenantry.postgres.__path__[0]) / "sql" / f"{name}.sql")
    assert queries
    assert all(queries.values())
