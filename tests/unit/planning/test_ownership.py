"""Who owns what, where tables stand on each other."""

from itertools import pairwise

import pytest

from tenantry.errors import UsageError
from tenantry.model.name import Name
from tenantry.model.schema import Column, ForeignKey, Schema, Table, Unique
from tenantry.model.spec import Spec, TablePart, TenantPart
from tenantry.planning import resolve

LONG = 1200


def table(name: str, *parents: str) -> Table:
    columns = ("id", *(f"{parent}_id" for parent in parents))
    return Table(
        name=Name("public", name),
        columns=tuple(Column(name=column, type="integer", base_type="integer", not_null=True) for column in columns),
        primary_key=("id",),
        uniques=(Unique(name=f"{name}_pkey", columns=("id",), constraint=True, primary=True),),
        foreign_keys=tuple(
            ForeignKey(
                name=f"{name}_{parent}",
                columns=(f"{parent}_id",),
                parent=Name("public", parent),
                parent_columns=("id",),
            )
            for parent in parents
        ),
    )


def schema(*tables: Table) -> Schema:
    return Schema(
        version=180000, database="shop", user="owner", schemas=("public",), tables={one.name: one for one in tables}
    )


def part(name: str, parent: str) -> TablePart:
    return TablePart(name=name, paths=((f"{parent}_id",),))


def spec(*parts: TablePart) -> Spec:
    return Spec(tenant=TenantPart(table="tenants", slug="id"), table=parts)


def test_a_long_chain_below_an_undecided_table() -> None:
    """Each table of it is undecided because the one above it is, however many there are."""
    names = [f"t{number:04}" for number in range(LONG)]
    chain = [table(name, parent) for parent, name in pairwise(names)]
    parts = [part(name, parent) for parent, name in pairwise(names)]
    undecided = TablePart(name=names[0], undecided="nobody has said")
    found = resolve(spec(undecided, *parts), schema(table("tenants"), table(names[0]), *chain))
    assert not list(found.owned)
    assert found.undecided[Name("public", names[1])] == f"public.{names[0]}, which it needs, is undecided"
    assert len(found.undecided) == LONG


def test_a_table_that_comes_first_by_name_learns_of_it_too() -> None:
    """What stands on a table that is found to be undecided later is looked at again; what does not, is not touched."""
    tables = (table("tenants"), table("z"), table("y", "z"), table("x", "y"), table("a", "x"), table("b", "tenants"))
    found = resolve(
        spec(
            TablePart(name="z", undecided="?"), part("y", "z"), part("x", "y"), part("a", "x"), part("b", "tenants"),
        ),
        schema(*tables),
    )  # fmt: skip
    assert [owned.table.name for owned in found.owned] == ["b"]
    assert found.undecided[Name("public", "a")] == "public.x, which it needs, is undecided"
    assert {name.name for name in found.undecided} == {"a", "x", "y", "z"}


def test_all_that_does_not_fit_is_named() -> None:
    """Each entry of the spec, with what to do about it; of one alone, its own sentence."""
    tables = (table("tenants"), table("a", "tenants"), table("b", "tenants"))
    wrong = TablePart(name="b", paths=(("tenant_id",),))
    with pytest.raises(UsageError) as several:
        resolve(spec(part("a", "tenants"), part("aa", "tenants"), wrong), schema(*tables))
    assert several.value.message == "the spec: 2 entries do not fit the database"
    assert ["'aa'" in line or "'b'" in line for line in several.value.details] == [True, True]
    with pytest.raises(UsageError, match=r"the table public\.aa does not exist") as one:
        resolve(spec(part("a", "tenants"), part("aa", "tenants")), schema(*tables))
    assert not one.value.details


def test_a_wrong_tenant_table_beside_other_errors() -> None:
    """What was found before is named with it."""
    with pytest.raises(UsageError) as found:
        resolve(spec(part("aa", "tenants")), schema(table("a")))
    assert len(found.value.details) == 2
    assert "the table public.tenants does not exist" in found.value.details[1]
