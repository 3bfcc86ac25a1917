"""How a row finds its tenant, as SQL: names quoted, each comparison by the foreign key's own operator."""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from tenantry.model.ownership import Hop
from tenantry.steps.derivation import ByChildren, ByPath, ByRows, BySlug, ByText, Source, derived
from unit.schemas import EQUAL, name
from unit.steps.examples import BY_STORE, SALES, STORES, TENANT, TENANTS, TO_PRODUCT, TO_STORE

ROW = sql.Identifier("new")


def text(source: Source) -> str:
    return source.expression(ROW).as_string(None)


def test_one_hop() -> None:
    assert text(BY_STORE) == (
        '(SELECT "hop1"."tenant_id" FROM "public"."stores" AS "hop1"'
        ' WHERE "hop1"."id" OPERATOR("pg_catalog".=) "new"."store_id")'
    )


def test_the_tenants_key_itself() -> None:
    """Nothing is looked up: the row has it."""
    direct = Hop(columns=("owner_id",), parent=TENANTS, parent_columns=("id",), operators=(EQUAL,))
    assert text(ByPath(hops=(direct,), column=None)) == '"new"."owner_id"'


def test_several_hops() -> None:
    """The last join is left out where the hop's own column is the key; where several rows may match, one is taken."""
    desk = replace(TO_STORE, parent=name("desks"))
    to_tenant = Hop(columns=("tenant_id",), parent=TENANTS, parent_columns=("id",), operators=(EQUAL,))
    whole = text(ByPath(hops=(desk, to_tenant), column=None))
    assert whole.startswith('(SELECT "hop1"."tenant_id" FROM "public"."desks" AS "hop1" WHERE')
    joined = text(ByPath(hops=(desk, TO_PRODUCT), column="tenant_id"))
    assert 'JOIN "public"."products" AS "hop2" ON "hop2"."id" OPERATOR("pg_catalog".=) "hop1"."product_id"' in joined
    assert "LIMIT 1" not in joined
    assert text(ByPath(hops=(replace(desk, unique=False),), column="t")).endswith("ORDER BY 1 LIMIT 1)")


def test_a_row_whose_parent_is_not_there() -> None:
    """Its own key refuses it, as before, and not the NOT NULL of ours; but in a replica's sessions, where no key does."""
    certain = text(replace(BY_STORE, certain=True))
    assert certain.startswith("coalesce((SELECT")
    assert "current_setting('session_replication_role') <> 'replica'" in certain


def test_children() -> None:
    """One that knows its tenant; by its own paths, where it has some, and not by what the parent gave it."""
    source = ByChildren(table=name("lines"), columns=("sale_id",), own_columns=("id",), operators=(EQUAL,), column="t")
    assert text(source) == (
        '(SELECT child."t" FROM "public"."lines" AS child WHERE "new"."id" OPERATOR("pg_catalog".=) "child"."sale_id"'
        ' AND child."t" IS NOT NULL LIMIT 1)'
    )
    told = text(replace(source, told=(BY_STORE,)))
    assert 'WHERE "hop1"."id" OPERATOR("pg_catalog".=) "child"."store_id"' in told
    assert "told.tenant IS NOT NULL LIMIT 1" in told


def test_words() -> None:
    """A slug is a literal; a text of the user's sees the row under its table's name, and may be a slug or a key."""
    assert "tenant.\"slug\"::text = 'it''s'" in text(BySlug(tenant=TENANT, slug="it's"))
    column = text(ByText(tenant=TENANT, table=SALES, column='a"b'))
    assert '(SELECT ("new"."a""b")::text AS given)' in column
    assert 'ORDER BY tenant."slug"::text = said.given DESC LIMIT 1' in column
    assert '(SELECT (lower(sales.code)) FROM (SELECT "new".*) AS "sales")' in text(
        ByText(tenant=TENANT, table=SALES, text="lower(sales.code)")
    ).replace("SELECT (SELECT (", "(SELECT (")


def test_the_rows_of_a_file() -> None:
    """By all columns of the key, as text."""
    source = ByRows(tenant=TENANT, assigned=name("assigned"), columns=("a", "b"))
    assert 'WHERE assigned."key1" = "new"."a"::text AND assigned."key2" = "new"."b"::text' in text(source)


def test_the_first_that_ends_in_a_tenant() -> None:
    assert derived((BY_STORE,), ROW) == BY_STORE.expression(ROW)
    both = derived((BY_STORE, BySlug(tenant=TENANT, slug="a")), ROW).as_string(None)
    assert both.startswith("COALESCE((SELECT")
    assert STORES.identifier.as_string(None) in both
