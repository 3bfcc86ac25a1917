"""The CSV file that says whose rows are: read whole, or refused with its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tenantry.errors import UsageError
from tenantry.planning.assignments import read_assignments
from unit.schemas import table

LINES = table("lines", "number")
PLACE = "tenantry.toml: [[table]] 'lines' assign"
TWO = replace(LINES, primary_key=("id", "number"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lines.csv"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("id,number,tenant\n1,2,north\n3,4,south\n", (("1", "2", "north"), ("3", "4", "south"))),
        ("tenant,number,id\nnorth,2,1\n", (("1", "2", "north"),)),
        ('\ufeffid,number,tenant\n1,"2\n",a\n', (("1", "2\n", "a"),)),
        ("id,number,tenant\n", ()),
    ],
)
def test_rows(file: Path, text: str, rows: tuple[tuple[str, ...], ...]) -> None:
    """The key's values in the key's order, whatever the file's is, then the tenant."""
    file.write_text(text, encoding="utf-8")
    assert read_assignments(file, TWO, PLACE) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "the header"),
        (b"id,tenant\n1,a\n", "must be id, number, tenant"),
        (b"id,number,tenant,tenant\n1,2,a,b\n", "the header"),
        (b"id,number,tenant\n1,2,a\n1,2\n", "line 3 of"),
        (b'id,number,tenant\n"1,2,a\n', "is not CSV"),
        (b"id,number,tenant\n1,2,\xff\n", "is not CSV"),
    ],
)
def test_what_does_not_fit(file: Path, text: bytes, words: str) -> None:
    file.write_bytes(text)
    with pytest.raises(UsageError) as found:
        read_assignments(file, TWO, PLACE)
    assert found.value.message.startswith(f"{PLACE}: ")
    assert words in found.value.message


def test_no_file(file: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_assignments(file, LINES, PLACE)


def test_rows_without_a_name(file: Path) -> None:
    """Without a primary key no row of a file can be told from another one."""
    with pytest.raises(UsageError, match="no primary key"):
        read_assignments(file, replace(LINES, primary_key=()), PLACE)
