"""What the texts of functions name, so that the application role may use it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.model.name import Name
from tenantry.model.schema import Executed, Function
from tenantry.planning.executed import executed, relations_named, schemas_named, sequences_named
from unit.planning.shop import SALES, STORES, shop
from unit.schemas import TENANTS, name, schema

FOUND = schema(
    TENANTS, STORES, replace(SALES, name=Name("Old Shop", "sales")),
    sequences=frozenset({name("numbers"), Name("seq", "it's")}),
    functions=(
        Function(name=Name("api", "f"), signature="api.f()", owner="owner", language="sql", security_definer=False,
                 returns_table=None, source=""),
    ),
)  # fmt: skip


def text(source: str) -> Executed:
    return Executed(signature="f()", source=source)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("SELECT nextval('numbers')", [name("numbers")]),
        ("SELECT CurrVal ( 'public.NUMBERS'::regclass)", [name("numbers")]),
        ("SELECT nextval('seq.\"it''s\"')", [Name("seq", "it's")]),
        ("SELECT nextval('elsewhere.numbers')", []),
        ("-- nextval('numbers')\nSELECT 1 /* nextval('numbers')\n */", []),
        ("SELECT nextval('not a name')", []),
    ],
)
def test_sequences(source: str, names: list[Name]) -> None:
    assert list(sequences_named(FOUND, text(source))) == names


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("SELECT api.f()", ["api"]),
        ('SELECT * FROM "Old Shop".sales', ["Old Shop"]),
        ("SELECT nowhere.f(), row.column", []),
        ('SELECT "API".f()', []),
        ("SELECT API . f()", ["api"]),
    ],
)
def test_schemas(source: str, names: list[str]) -> None:
    """Where there is something of the user's; a column of a row is not taken for a schema."""
    assert list(schemas_named(FOUND, text(source))) == names


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("INSERT INTO stores VALUES (1)", [("INSERT", name("stores"))]),
        ("update only public.stores SET x = 1", [("UPDATE", name("stores"))]),
        ("DELETE FROM stores", [("DELETE", name("stores"))]),
        (
            'SELECT 1 FROM stores JOIN "Old Shop".sales',
            [("SELECT", name("stores")), ("SELECT", Name("Old Shop", "sales"))],
        ),
        ("SELECT 1 FROM nothing", []),
        ("MERGE INTO stores USING x", [("SELECT", name("stores"))]),
    ],
)
def test_relations(source: str, names: list[tuple[str, Name]]) -> None:
    """With the privilege that the statement takes."""
    assert list(relations_named(FOUND, text(source))) == names


def test_the_first_on_the_search_path_is_meant() -> None:
    both = replace(FOUND, sequences=frozenset({name("n"), Name("seq", "n")}), search_path=("seq", "public"))
    assert list(sequences_named(both, text("SELECT nextval('n')"))) == [Name("seq", "n")]


def test_what_is_run() -> None:
    """What the tables that tenants write run, and the views that they read; not what shared tables do."""

    def runs(table: str) -> tuple[Executed, ...]:
        return (Executed(signature=f"{table}()"),)

    context = shop(sales=replace(SALES, executes=runs("sales")))
    assert [(table.name, one.signature) for table, one in executed(context, iter(()))] == [("sales", "sales()")]
    products = next(one for one in context.schema.tables.values() if one.name.name == "products")
    context = shop(products=replace(products, executes=runs("products")))
    assert not list(executed(context, iter(())))
