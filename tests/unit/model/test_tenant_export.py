"""The manifest of one tenant's export, and the names of its files."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tenantry.model.name import Name
from tenantry.model.tenant_export import (
    ExportedReference,
    ExportedTable,
    ExportFile,
    Holding,
    TenantExport,
    file_name,
    is_file_name,
)  # fmt: skip
from unit.schemas import name


@pytest.mark.parametrize(
    "table", [name("sales"), Name("a/b", "../../etc/passwd"), name("é" * 60 + "\n"), name("x" * 90)]
)
def test_names_of_files(table: Name) -> None:
    """Whatever a table is called, none leads out of the folder."""
    for kind in ("table", "reference"):
        made = file_name(7, kind, table)
        assert is_file_name(made)
        assert made.startswith(f"{kind}_007_")


@pytest.mark.parametrize(
    "text",
    [
        "../table_001_a.csv",
        "table_1_a.csv",
        "table_001_.csv",
        "table_001_a.csv\n",
        "manifest.json",
        "table_001_a-b.csv",
    ],
)
def test_names_that_are_none(text: str) -> None:
    assert not is_file_name(text)


def test_sums() -> None:
    """Of all tables' rows, and of all files' bytes."""
    tables = tuple(
        ExportedTable(
            table=name(one), holding=Holding.OWNED, columns=(), rows=rows, file=ExportFile(name=one, bytes=rows)
        )
        for one, rows in (("a", 2), ("b", 3))
    )
    reference = ExportedReference(
        child=name("a"), columns=("x",), parent=name("c"), parent_columns=("id",), types=("integer",), rows=9,
        file=ExportFile(name="c", bytes=10),
    )  # fmt: skip
    whole = TenantExport(
        tenant="north", key="1", run="1", database="shop", postgresql="18", tenantry="0", spec="x",
        exported_at=datetime(2026, 1, 1, tzinfo=UTC), tables=tables, references=(reference,),
    )  # fmt: skip
    assert (whole.rows, whole.bytes, [file.name for file in whole.files]) == (5, 15, ["a", "b", "c"])
