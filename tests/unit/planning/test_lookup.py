"""The words of a spec, looked up in a schema: what is not there is refused with what could be meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tenantry.errors import UsageError
from tenantry.model.name import Name
from tenantry.planning.lookup import Lookup
from unit.planning.shop import SALES, STORES
from unit.schemas import name, schema

SCHEMA = schema(
    STORES, SALES, replace(SALES, name=Name("old", "sales")),
    earlier={name("shops"): name("stores"), name("gone"): None},
    earlier_columns={(SALES.name, "shop_id"): "store_id", (SALES.name, "lost"): None},
)  # fmt: skip
LOOKUP = Lookup(source="tenantry.toml", home="public", schema=SCHEMA)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as found:
        call()
    assert found.value.message.startswith("tenantry.toml: place: ")
    return found.value.message


def test_tables() -> None:
    """Of the first schema unless it is named; as SQL folds names."""
    assert LOOKUP.table("Sales", "place") == SALES
    assert LOOKUP.table("old.sales", "place").name == Name("old", "sales")
    assert 'did you mean "public.stores"' in refused(lambda: LOOKUP.table("store", "place"))
    assert "public.Sales" not in SCHEMA.tables
    assert 'public."Sales"' in refused(lambda: LOOKUP.table('"Sales"', "place"))
    assert "is not a name" in refused(lambda: LOOKUP.table("a b c", "place"))


def test_what_a_table_was_called() -> None:
    """A table that we knew under another name is told from one that never was."""
    assert "was renamed to public.stores" in refused(lambda: LOOKUP.table("shops", "place"))
    assert "was dropped since" in refused(lambda: LOOKUP.table("gone", "place"))


def test_columns() -> None:
    assert LOOKUP.column(SALES, "store_id", "place") == "store_id"
    assert 'did you mean "store_id"' in refused(lambda: LOOKUP.column(SALES, "store", "place"))
    assert "was renamed to 'store_id'" in refused(lambda: LOOKUP.column(SALES, "shop_id", "place"))
    assert "was dropped since" in refused(lambda: LOOKUP.column(SALES, "lost", "place"))


def test_virtual_columns() -> None:
    """They have no value that a trigger could see; those that are stored have."""
    for generated, refuses in (("", False), ("s", False), ("v", True)):
        column = replace(SALES.columns[1], generated=generated)
        sales = replace(SALES, columns=(SALES.columns[0], column))
        if refuses:
            assert "virtual" in refused(lambda sales=sales: LOOKUP.stored(sales, "store_id", "place"))  # type: ignore[misc]
        else:
            assert LOOKUP.stored(sales, "store_id", "place") == "store_id"


def test_a_column_with_its_table() -> None:
    assert LOOKUP.table_column("sales.store_id", "place") == (SALES, "store_id")
    assert LOOKUP.table_column("old.sales.store_id", "place")[0].name == Name("old", "sales")
    assert "is not table.column" in refused(lambda: LOOKUP.table_column("sales", "place"))
