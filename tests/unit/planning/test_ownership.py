"""Who owns what, where tables stand on each other."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tenantry.errors import UsageError
from tenantry.model.name import Name
from tenantry.model.ownership import Ownership
from tenantry.model.schema import Column, Kind, Table
from tenantry.model.spec import Spec, TablePart, TenantPart
from tenantry.planning import resolve
from unit.planning.shop import PRODUCTS, SALES, SALES_PART, STORES, STORES_PART
from unit.schemas import TENANTS, plan_context, schema, spec, table, unique

LONG = 1200


def chained(called: str, *parents: str) -> Table:
    return table(called, *(f"{parent}_id > {parent}" for parent in parents))


def part(name: str, parent: str) -> TablePart:
    return TablePart(name=name, paths=((f"{parent}_id",),))


def of(*parts: TablePart) -> Spec:
    return Spec(tenant=TenantPart(table="tenants", slug="id"), table=parts)


def test_a_long_chain_below_an_undecided_table() -> None:
    """Each table of it is undecided because the one above it is, however many there are."""
    names = [f"t{number:04}" for number in range(LONG)]
    chain = [chained(name, parent) for parent, name in pairwise(names)]
    parts = [part(name, parent) for parent, name in pairwise(names)]
    undecided = TablePart(name=names[0], undecided="nobody has said")
    found = resolve(of(undecided, *parts), schema(chained("tenants"), chained(names[0]), *chain))
    assert not list(found.owned)
    assert found.undecided[Name("public", names[1])] == f"public.{names[0]}, which it needs, is undecided"
    assert len(found.undecided) == LONG


def test_a_table_that_comes_first_by_name_learns_of_it_too() -> None:
    """What stands on a table that is found to be undecided later is looked at again; what does not, is not touched."""
    tables = (
        chained("tenants"),
        chained("z"),
        chained("y", "z"),
        chained("x", "y"),
        chained("a", "x"),
        chained("b", "tenants"),
    )
    found = resolve(
        of(
            TablePart(name="z", undecided="?"), part("y", "z"), part("x", "y"), part("a", "x"), part("b", "tenants"),
        ),
        schema(*tables),
    )  # fmt: skip
    assert [owned.table.name for owned in found.owned] == ["b"]
    assert found.undecided[Name("public", "a")] == "public.x, which it needs, is undecided"
    assert {name.name for name in found.undecided} == {"a", "x", "y", "z"}


def test_all_that_does_not_fit_is_named() -> None:
    """Each entry of the spec, with what to do about it; of one alone, its own sentence."""
    tables = (chained("tenants"), chained("a", "tenants"), chained("b", "tenants"))
    wrong = TablePart(name="b", paths=(("tenant_id",),))
    with pytest.raises(UsageError) as several:
        resolve(of(part("a", "tenants"), part("aa", "tenants"), wrong), schema(*tables))
    assert several.value.message == "the spec: 2 entries do not fit the database"
    assert ["'aa'" in line or "'b'" in line for line in several.value.details] == [True, True]
    with pytest.raises(UsageError, match=r"the table public\.aa does not exist") as one:
        resolve(of(part("a", "tenants"), part("aa", "tenants")), schema(*tables))
    assert not one.value.details


def test_a_wrong_tenant_table_beside_other_errors() -> None:
    """What was found before is named with it."""
    with pytest.raises(UsageError) as found:
        resolve(of(part("aa", "tenants")), schema(chained("a")))
    assert len(found.value.details) == 2
    assert "the table public.tenants does not exist" in found.value.details[1]


def test_all_that_hangs_on_an_undecided_table_waits_for_it() -> None:
    """Along paths and children, whatever the order; it is not called misspelt."""
    found = resolve(
        spec(
            'lots paths = [["tenants"]]\nundecided = "who knows"', 'moves paths = [["lots"]]',
            'notes paths = [["moves"]]', 'boxes children = ["notes.boxes"]',
        ),
        schema(
            TENANTS, table("lots", "tenants > tenants"), table("moves", "lots > lots"),
            table("notes", "moves > moves", "boxes > boxes"), table("boxes"),
        ),
    )  # fmt: skip
    assert {name.name: why for name, why in found.undecided.items()} == {
        "lots": "who knows",
        "moves": "public.lots, which it needs, is undecided",
        "notes": "public.moves, which it needs, is undecided",
        "boxes": "public.notes, which it needs, is undecided",
    }
    assert not list(found.owned)


def resolved(said: Spec, *tables: Table, tenants: Table | None = TENANTS) -> Ownership:
    return plan_context(said, *tables, tenants=tenants).ownership


def refusal(said: Spec, *tables: Table, tenants: Table | None = TENANTS) -> str:
    with pytest.raises(UsageError) as found:
        resolved(said, *tables, tenants=tenants)
    return " ".join((found.value.message, found.value.remedy, *found.value.details))


def test_what_nobody_names_is_undecided() -> None:
    """But for the tenant table, partitions and heirs, which follow, and foreign tables."""
    leaf = replace(STORES, name=Name("public", "stores_1"), partition_of=STORES.name)
    heir = replace(SALES, name=Name("public", "old_sales"), inherits=(SALES.name,))
    far = replace(PRODUCTS, kind=Kind.FOREIGN)
    found = resolved(spec(STORES_PART), replace(STORES, kind=Kind.PARTITIONED), leaf, SALES, heir, far)
    assert dict(found.undecided) == {SALES.name: "the spec has no entry for it"}
    assert found.heirs == {leaf.name: STORES.name}
    assert found.of(leaf.name) == found.of(STORES.name)


def test_the_tenant_column() -> None:
    """The user's own where the path is one column to the tenant's key; another name where the part says so."""
    (owned,) = resolved(spec(STORES_PART), STORES).owned
    assert (owned.has_own_column, owned.column) == (True, "tenant_id")
    (_, owned) = resolved(spec(STORES_PART, SALES_PART + '\ncolumn = "shop"'), STORES, SALES).owned
    assert (owned.has_own_column, owned.column) == (False, "shop")


@pytest.mark.parametrize(
    ("stores", "words"),
    [
        (table("stores", "tenant_id text"), "is of type text, but the tenant key of type integer"),
        (table("stores", "tenant_id"), "already has a column 'tenant_id'"),
    ],
)
def test_a_column_of_that_name(stores: Table, words: str) -> None:
    """It is not taken for ours; what an earlier migration left is."""
    said = spec('stores assign = { tenant = "a" }')
    assert words in refusal(said, stores)
    kept = plan_context(said, table("stores", "tenant_id"), preserved=frozenset({stores.name}))
    assert [owned.has_own_column for owned in kept.ownership.owned] == [False]


def test_a_column_of_an_heir() -> None:
    """It would be merged with ours, and keep its values."""
    heir = replace(table("kiosks", "tenant_id"), inherits=(STORES.name,))
    assert "public.kiosks already has a column" in refusal(
        spec('stores assign = { tenant = "a" }'), table("stores"), heir
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('sales_1 paths = [["store_id"]]', "public.sales_1 is part of public.sales"),
        ('far paths = [["store_id"]]', "is a foreign table"),
        ('tenants assign = { tenant = "a" }', "this is the tenant table itself"),
        ('sales paths = [["store_id"]]\nunique = ["sales_pkey"]', "has no unique constraint or index 'sales_pkey'"),
        ('sales paths = [["store_id"]]\nunique = ["number_kee"]', 'did you mean "number_key"'),
        ('sales paths = [["store_id"]]\nunique = ["code_key"]', "a foreign key depends on code_key"),
        ('sales assign = { column = "cod" }', "has no column 'cod'"),
        (
            'sales assign = { column = "computed" }',
            "which has no value yet when the trigger assigns a new row",
        ),
        ('sales paths = [["store_id"]]\norphans = "default"', "[tenant] default is missing"),
    ],
)
def test_what_a_table_cannot_be(said: str, words: str) -> None:
    computed = Column(name="computed", type="text", base_type="text", generated="s")
    sales = table(
        "sales", "store_id > stores", "number", "code",
        uniques=(unique("id", name="sales_pkey", primary=True), unique("number"), unique("code", referenced=True)),
    )  # fmt: skip
    sales = replace(sales, kind=Kind.PARTITIONED, columns=(*sales.columns, computed))
    leaf = replace(SALES, name=Name("public", "sales_1"), partition_of=SALES.name)
    far = replace(SALES, name=Name("public", "far"), kind=Kind.FOREIGN)
    assert words in refusal(spec(STORES_PART, said), STORES, sales, leaf, far)


def test_two_parts_about_one_table() -> None:
    """However they are written."""
    assert "has two entries" in refusal(spec(STORES_PART, "public.stores shared = true"), STORES)


def test_a_generated_tenant_column() -> None:
    """Its expression alone gives a row its tenant: no fill can give it another one."""
    computed = replace(STORES.columns[1], generated="s")
    stores = replace(STORES, columns=(STORES.columns[0], computed))
    assert [owned.has_own_column for owned in resolved(spec(STORES_PART), stores).owned] == [True]
    said = spec(STORES_PART + '\norphans = "quarantine"')
    assert "is a generated column, so only its expression" in refusal(said, stores)


def test_an_heir_of_two() -> None:
    """It has the tenant column of one owned table, and cannot serve two."""
    heir = replace(table("kiosks"), inherits=(STORES.name, SALES.name))
    assert "inherits from it and from" in refusal(spec(STORES_PART, SALES_PART), STORES, SALES, heir)


@pytest.mark.parametrize(
    ("tenants", "words"),
    [
        (None, "the table public.tenants does not exist"),
        (replace(TENANTS, uniques=()), "is neither the primary key nor unique"),
        (replace(TENANTS, uniques=(unique("id", partial=True),)), "is neither the primary key nor unique"),
        (table("tenants", "code text"), "has no column 'slug'"),
        (
            replace(
                TENANTS, columns=(replace(TENANTS.columns[0], type="money", base_type="money"), TENANTS.columns[1])
            ),
            "is of type money; a tenant key is uuid, an integer or text",
        ),
    ],
)
def test_what_cannot_be_the_tenant_table(tenants: Table | None, words: str) -> None:
    assert words in refusal(spec(STORES_PART), STORES, tenants=tenants)


def test_tenants_that_have_to_be_there() -> None:
    """Those of assign and those declared, each once; the quarantine only where a table has it."""
    said = spec('notes assign = { tenant = "a" }', STORES_PART, tenant='rows = [{ slug = "b" }, { slug = "a" }]')
    found = resolved(said, table("notes"), STORES).tenant
    assert (found.slugs, found.quarantine, found.default) == (("a", "b"), None, None)
    said = spec(STORES_PART, SALES_PART + '\norphans = "quarantine"')
    assert resolved(said, STORES, SALES).tenant.quarantine == "quarantine"


@pytest.mark.parametrize(
    ("listings", "words"),
    [
        ('listings paths = [["tenant_id"]]', ""),
        ("listings shared = true", "public.listings is not an owned table"),
        ('listings paths = [["tenant_id"]]\norphans = "shared"', "would link to no tenant"),
    ],
)
def test_memberships(listings: str, words: str) -> None:
    """A link table has to belong to tenants whole, with one foreign key to the table."""
    link = table("listings", "tenant_id > tenants", "product_id > products")
    said = spec(listings, 'products membership = "listings"')
    if words:
        assert words in refusal(said, link, PRODUCTS)
        return
    (member,) = resolved(said, link, PRODUCTS).members
    assert (member.link, member.columns, member.own_columns) == (link.name, ("product_id",), ("id",))
    twice = table("listings", "tenant_id > tenants", "product_id > products", "other_id > products")
    assert "has (product_id), (other_id)" in refusal(said, twice, PRODUCTS)
    assert "and has none" in refusal(said, table("listings", "tenant_id > tenants"), PRODUCTS)
    waiting = spec('listings paths = [["tenant_id"]]\nundecided = "?"', 'products membership = "listings"')
    assert "which it needs, is undecided" in resolved(waiting, link, PRODUCTS).undecided[PRODUCTS.name]


def test_accepted_findings_name_tables_that_are_there() -> None:
    """But for the tenant table, which may be yet to be made."""
    accept = '[[accept]]\ncheck = "x"\ntable = "{}"\nreason = "so it is"'
    assert 'did you mean "public.stores"' in refusal(spec(STORES_PART, more=accept.format("store")), STORES)
    assert list(resolved(spec(STORES_PART, more=accept.format("tenants")), STORES).owned)
