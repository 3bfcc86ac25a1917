"""How a trigger function names what is the user's: once as it was, once by what it is called now."""

from __future__ import annotations

from psycopg import sql

from tenantry.model.name import Name
from tenantry.steps.naming import DynamicNames, Renamed, StaticNames, Work, forget, hops_of, source_of, tenant_of
from unit.steps.examples import BY_STORE, SALES, STORES, TENANT, TENANTS, TO_STORE, texts


def test_as_it_was_written() -> None:
    names = StaticNames()
    assert hops_of(names, SALES, (TO_STORE,)) == (TO_STORE,)
    assert tenant_of(names, TENANT) == TENANT
    assert source_of(names, SALES, BY_STORE) == BY_STORE


def test_names_of_now() -> None:
    names = Renamed({(SALES, "store_id"): "shop_id", (STORES, "tenant_id"): "t"})
    source = source_of(names, SALES, BY_STORE)
    assert source == BY_STORE.__class__(hops=(TO_STORE.__class__(
        columns=("shop_id",), parent=STORES, parent_columns=("id",), operators=TO_STORE.operators),), column="t",
    )  # fmt: skip


def test_by_oid_nothing_is_named() -> None:
    """Tables and columns are numbers, each once; what is ours is named: nobody renames it."""
    names = DynamicNames(SALES)
    expression = source_of(names, SALES, BY_STORE).expression(names.new)
    text = names.ask("found", expression).as_string(None)
    assert "stores" not in text
    assert "tenant_id" not in text
    assert "($1)" in text
    assert set(names.known) == {(STORES, None), (SALES, "store_id"), (STORES, "id"), (STORES, "tenant_id")}
    ours = Name("tenantry", "assigned")
    assert (names.table(ours), names.column(ours, "key1")) == (ours, "key1")
    assert len(names.known) == 4


def test_what_is_gone_is_left_out() -> None:
    """A statement whose names are not all there is not run, and one that runs into what is missing is caught."""
    names = DynamicNames(SALES)
    text = names.ask("found", source_of(names, SALES, BY_STORE).expression(names.new)).as_string(None)
    assert "IS NOT NULL AND" in text
    assert text.count("gone := true;") >= 2
    assert "EXCEPTION WHEN undefined_table" in text


def test_a_percent_sign_is_none_of_formats() -> None:
    """The user's texts go through format()."""
    text = DynamicNames(SALES).planned_anew(sql.SQL("SELECT 5 % 3"), sql.SQL("NEW")).as_string(None)
    assert "SELECT 5 %% 3" in text


WORK = Work(
    table=SALES,
    trigger="~t",
    statements=lambda names: names.ask("found", source_of(names, SALES, BY_STORE).expression(names.new)),
)


def test_the_work_is_told_twice() -> None:
    """First with the names as they were, if they stand; else by what is noted of them."""
    text, known = WORK.compose()
    body = text.as_string(None)
    assert '"public"."stores"' in body
    assert body.index('"public"."stores"') < body.index("VARIADIC names")
    assert {(table, column) for _, table, column in known} == {
        (STORES, None), (SALES, "store_id"), (STORES, "id"), (STORES, "tenant_id"),
    }  # fmt: skip
    assert sorted(number for number, *_ in known) == [1, 2, 3, 4]
    cleared, noted, *_ = texts(WORK.remember(Name("tenantry", "f"), known))
    assert cleared == texts([forget(SALES, "~t")])[0]
    assert 'INSERT INTO "tenantry"."names"' in noted
    assert '\'"public"."stores"\'' in noted


def test_work_that_names_nothing() -> None:
    simple = Work(table=SALES, trigger="~t", statements=None)
    text, known = simple.compose()
    assert known == ()
    assert simple.remember(Name("tenantry", "f"), known) == ()
    assert "names" not in text.as_string(None)
    assert "'~t'" in texts([forget(TENANTS, "~t")])[0]
