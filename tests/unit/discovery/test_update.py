"""A spec that a person has written gets what is new, and keeps every line."""

from __future__ import annotations

import pytest

from tenantry.discovery.proposal import Background
from tenantry.discovery.update import Update, by_keys, one_line, update
from tenantry.errors import UsageError
from tenantry.model.schema import Table
from tenantry.model.spec import Spec
from unit.discovery.answering import proposed
from unit.planning.shop import PRODUCTS, SALES, STORES
from unit.schemas import TENANTS, name, schema, table

SPEC = """# Ours.
[tenant]
table = "tenants"

[[table]]
name = "stores"
paths = [["tenant_id"]]
"""
USERS, NOTES = table("users", "tenant_id > tenants"), table("notes", "tenant_id > tenants", "created_by? > users")


def updated(text: str, *tables: Table) -> Update:
    background = Background(schema=schema(TENANTS, *tables), proposal=proposed(*tables), tenants=())
    return update(text, Spec.parse(text), background)


def test_what_is_new() -> None:
    """A block for each table, at the end; once more there is nothing."""
    found = updated(SPEC, STORES, SALES, PRODUCTS)
    assert {one.part.name for one in found.added} == {"sales", "products"}
    assert [one.part.name for one in found.undecided] == ["products"]
    whole = SPEC + found.addition
    assert [part.name for part in Spec.parse(whole).table] == ["stores", "products", "sales"]
    again = updated(whole, STORES, SALES, PRODUCTS)
    assert (again.addition, again.added, again.differences) == ("", (), ())


def test_what_a_person_has_decided_otherwise() -> None:
    """It is said, and stays; what discover leaves open is answered by whatever they say."""
    text = SPEC.replace('paths = [["tenant_id"]]', "shared = true") + '[[table]]\nname = "products"\nshared = "write"\n'
    (difference,) = updated(text, STORES, PRODUCTS).differences
    assert (difference.table, difference.written, difference.proposed) == (
        STORES.name, "shared = true", 'paths = [["tenant_id"]]',
    )  # fmt: skip


def test_references() -> None:
    """Those of new tables are added; of tables that are there it is said that discover would write them."""
    found = updated(SPEC, STORES, USERS, NOTES)
    assert [one.child for one in found.references] == ["notes.created_by"]
    assert "crosses = true" in found.addition
    known = (
        SPEC
        + '[[table]]\nname = "users"\npaths = [["tenant_id"]]\n[[table]]\nname = "notes"\npaths = [["tenant_id"]]\n'
    )
    found = updated(known, STORES, USERS, NOTES)
    assert found.references == ()
    (difference,) = found.differences
    assert difference.proposed == '[[reference]] from = "notes.created_by" crosses = true'
    said = known + '[[reference]]\nfrom = "notes.created_by"\ncrosses = true\n'
    assert updated(said, STORES, USERS, NOTES).differences == ()


def test_tables_in_a_list() -> None:
    """There is no end at which a block could be added."""
    text = 'table = [{ name = "stores", shared = true }]\n[tenant]\ntable = "tenants"\n'
    with pytest.raises(UsageError, match="New tables cannot be added to the spec"):
        updated(text, STORES, PRODUCTS)


def test_a_tenant_table_that_is_made() -> None:
    """Nothing points at it yet: a new table waits for a person, with the paths that its keys suggest."""
    said = Spec.parse(SPEC)
    found = by_keys(
        said, schema(STORES, SALES, PRODUCTS, table("alembic_version", "version_num text")), name("tenants")
    )
    parts = {one.part.name: one.part for one in found.decisions.values()}
    assert parts["sales"].paths == ((("store_id",),),)
    assert parts["products"].paths == ()
    assert parts["alembic_version"].shared is True
    assert [one for one, part in parts.items() if part.undecided is None] == ["alembic_version"]


def test_a_block_in_a_line() -> None:
    assert one_line('# why\n[[table]]\nname = "a"\n\nshared = true\n') == '[[table]] name = "a" shared = true'
