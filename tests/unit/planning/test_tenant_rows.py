"""The tenants that a spec declares, in itself and in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tenantry.errors import UsageError
from tenantry.model.ownership import TenantTable
from tenantry.model.schema import Column
from tenantry.model.spec import TenantPart, TenantRowPart
from tenantry.planning.tenant_rows import declared_tenants, is_text, name_column, needs_value
from unit.schemas import name

PART = TenantPart(table="tenants", csv="tenants.csv", rows=(TenantRowPart(slug="north", name="North"),))


def read(folder: Path, text: bytes) -> tuple[tuple[str, str | None], ...]:
    (folder / "tenants.csv").write_bytes(text)
    return declared_tenants(PART, folder, "tenantry.toml: [tenant] csv")


def test_rows_then_file(tmp_path: Path) -> None:
    """An empty name is none."""
    assert read(tmp_path, b"slug\nsouth\n") == (("north", "North"), ("south", None))
    assert read(tmp_path, b"name,slug\nSouth,south\n,east\n") == (
        ("north", "North"), ("south", "South"), ("east", None),
    )  # fmt: skip
    assert declared_tenants(replace_csv(None), tmp_path, "") == (("north", "North"),)


def replace_csv(csv: str | None) -> TenantPart:
    return PART.model_copy(update={"csv": csv})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"slug\nnorth\n", "line 2 of"),
        (b"slug\na\na\n", "the slug 'a' occurs twice"),
        (b"slug\n a\n", "is not a valid slug"),
        (b"slug\n\nb\n b\n", "is not a valid slug"),
        (b"name\nx\n", "must be slug, or slug and name"),
        (b"slug,name\na\n", "has fewer values than the header"),
        (b"slug\na,b\n", "has fewer values than the header"),
        (b'slug\n"a\n', "is not CSV"),
        (b"slug\n\xff\n", "is not CSV"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, text: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=r"tenantry\.toml: \[tenant\] csv: ") as found:
        read(tmp_path, text)
    assert words in found.value.message


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        declared_tenants(PART, tmp_path, "place")


def test_columns_of_the_tenant_table() -> None:
    """The name is in a column that is called so and holds text; a row must give what has no value of itself."""
    tenant = TenantTable(name=name("tenants"), key="id", slug="name", type="uuid")
    text = Column(name="Title", type="character varying(9)", base_type="character varying(9)", not_null=True)
    columns = (Column(name="name", type="text", base_type="text"), text)
    assert name_column(columns, tenant) == "Title"
    assert name_column(columns[:1], tenant) is None
    assert name_column(columns, replace(tenant, slug="Title")) == "name"
    assert is_text(text)
    assert not is_text(replace(text, base_type="uuid"))
    given = ({"default": "'x'"}, {"identity": "a"}, {"generated": "s"}, {"not_null": False})
    assert [needs_value(replace(text, **one)) for one in ({}, *given)] == [True, False, False, False, False]  # type: ignore[arg-type]
