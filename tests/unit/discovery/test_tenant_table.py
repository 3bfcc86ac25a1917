"""The tenant table is recognised by its name, or named; what cannot be one is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tenantry.discovery.links import Links
from tenantry.discovery.tenant_table import candidates, column_names, recognise, shown, tenant_part
from tenantry.errors import UsageError
from tenantry.model.name import Name
from tenantry.model.schema import Kind, Table
from unit.schemas import TENANTS, column, name, schema, table, unique


def recognised(*tables: Table, wanted: str | None = None) -> Name | None:
    made = schema(*tables)
    return recognise(made, Links(made), "public", wanted)


@pytest.mark.parametrize("called", ["tenants", "res_companies", "Organizations", "app_empresas", "auth_mandant"])
def test_by_its_name(called: str) -> None:
    """The last word, in the singular, whatever the prefix, the language, and the capitals."""
    assert recognised(table(called), table("users", f"x > {called}")) == name(called)


@pytest.mark.parametrize("called", ["tenant_users", "businesses_of_last_year", "things"])
def test_no_tenants(called: str) -> None:
    assert recognised(table(called), table("users", f"x > {called}")) is None


def test_words_that_often_mean_something_else() -> None:
    """A store is a tenant only where something refers to it, and only where there is no clearer word."""
    assert recognised(table("stores")) is None
    assert recognised(table("stores"), table("sales", "store_id > stores")) == name("stores")
    assert recognised(TENANTS, table("stores", "tenant_id > tenants"), table("sales", "store_id > stores")) == name(
        "tenants"
    )


def test_several() -> None:
    """They are named, with what there is for each."""
    two = (table("companies"), table("organizations"), table("a", "c > companies"), table("b", "o > organizations"))
    with pytest.raises(UsageError, match="Several tables could be") as refused:
        recognised(*two)
    assert len(refused.value.details) == 2
    assert "1 tables lead to it, 1 of them directly, about 1,000 rows" in refused.value.details[0]
    assert recognised(*two, wanted="organizations") == name("organizations")


@pytest.mark.parametrize(
    ("tenants", "problem"),
    [
        (replace(TENANTS, primary_key=()), "its primary key does not have exactly one column"),
        (replace(TENANTS, primary_key=("id", "slug")), "its primary key does not have exactly one column"),
        (replace(TENANTS, columns=(column("id money")[0],)), "its key is not a uuid, an integer or text"),
        (replace(TENANTS, kind=Kind.PARTITIONED), "it is not an ordinary table"),
        (replace(TENANTS, inherits=(name("x"),)), "it is not an ordinary table"),
    ],
)
def test_what_cannot_be_one(tenants: Table, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        recognised(tenants, wanted="tenants")
    assert recognised(tenants, table("a", "t > tenants")) is None
    made = schema(tenants, table("a", "t > tenants"))
    assert [one.problem for one in candidates(made, Links(made))] in ([problem], [])


def test_one_that_there_is_not() -> None:
    with pytest.raises(UsageError, match='did you mean "tenants"'):
        recognised(TENANTS, wanted="tennants")


def part(*tables: Table) -> tuple[str, str, str, str]:
    made = schema(*tables)
    links = Links(made)
    one = tenant_part(made, links, recognise(made, links, "public", None), "public")
    return one.table, one.key, one.slug, one.column


def test_the_columns_that_most_tables_have() -> None:
    """By foreign keys, or by name and type where none is declared."""
    three = [table(one, "owner_id > tenants") for one in ("a", "b")] + [table("c", "tenant_id > tenants")]
    assert part(TENANTS, *three) == ("tenants", "id", "slug", "owner_id")
    assert part(TENANTS, table("a", "tenant_id"), table("b", "company_id")) == ("tenants", "id", "slug", "tenant_id")
    assert part(TENANTS, table("a", "tenant_id text"))[3] == "tenantry_tenant_id"


@pytest.mark.parametrize(
    ("columns", "uniques", "slug"),
    [
        (["name text", "code text"], [], "code"),
        (["name text", "code text"], ["name"], "name"),
        (["Name character varying", "size"], [], "Name"),
        (["size"], [], "id"),
        (["slug uuid"], [], "id"),
    ],
)
def test_the_slug(columns: Iterable[str], uniques: Iterable[str], slug: str) -> None:
    """A text that is called so, rather one that is unique; else the key itself."""
    made = table("tenants", *columns, uniques=tuple(unique(one) for one in uniques))
    assert part(made, table("a", "t > tenants"))[2] == slug


def test_one_that_is_to_be_made() -> None:
    """With names that are free."""
    made = schema(table("a", "tenant_id"), table("tenants_", "x"))
    links = Links(made)
    free = tenant_part(made, links, None, "public")
    assert (free.table, free.create, free.column) == ("tenants", True, "tenantry_tenant_id")
    taken = schema(TENANTS)
    assert tenant_part(taken, Links(taken), None, "public").table == "tenancies"
    names = column_names()
    assert [next(names) for _ in range(4)] == ["tenant_id", "tenantry_tenant_id", "tenant_id_2", "tenant_id_3"]


def test_names_as_the_spec_writes_them() -> None:
    assert shown(name("a"), "public") == "a"
    assert shown(Name("old", "a"), "public") == "old.a"
    assert shown(name("A b"), "public") == '"A b"'
    assert shown(Name("My Shop", "a.b"), "My Shop") == '"a.b"'
