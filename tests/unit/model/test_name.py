"""Names are read as SQL reads them and written as SQL writes them, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.errors import UsageError
from tenantry.model.name import LONGEST, Name, index_name, object_name, quoted, shortened, split

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=70)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Sales", ("sales",)),
        ("public.Sales", ("public", "sales")),
        ('"Sales"', ("Sales",)),
        (' a . "b.c" ', ("a", "b.c")),
        ('"a""b"', ('a"b',)),
        ("Größe", ("größe",)),
    ],
)
def test_read(text: str, parts: tuple[str, ...]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize("text", ["", " ", "a b", "a.", ".a", '"a', '""', 'a"b"', "a..b"])
def test_no_names(text: str) -> None:
    with pytest.raises(UsageError, match="is not a name"):
        split(text)


def test_schemas() -> None:
    assert Name.parse("sales", schema="shop") == Name("shop", "sales")
    assert Name.parse("old.sales", schema="shop") == Name("old", "sales")
    with pytest.raises(UsageError, match="more parts than a schema and a table"):
        Name.parse("a.b.c", schema="shop")


@given(TEXTS, TEXTS)
def test_what_is_written_reads_back(schema: str, name: str) -> None:
    assert Name.parse(str(Name(schema, name)), schema="other") == Name(schema, name)


@pytest.mark.parametrize(
    ("name", "written"), [("sales", "sales"), ("Sales", '"Sales"'), ("a b", '"a b"'), ('"', '""""'), ("1a", '"1a"')]
)
def test_quoted_only_where_it_must_be(name: str, written: str) -> None:
    assert quoted(name) == written


def test_in_statements() -> None:
    """Quoted whole, as an identifier and within a literal."""
    hostile = Name("public", "a'; \"x")
    assert hostile.identifier.as_string(None) == '"public"."a\'; ""x"'
    assert hostile.regclass.as_string(None) == '\'"public"."a\'\'; ""x"\'::pg_catalog.regclass'
    assert hostile.oid.as_string(None) == 'pg_catalog.to_regclass(\'"public"."a\'\'; ""x"\')'


@given(TEXTS)
def test_no_name_is_longer_than_postgresql_has_it(name: str) -> None:
    made = (
        shortened(name * 3),
        object_name("balances", name, name * 2),
        index_name(Name("s", name), name, ending="key").name,
    )
    assert all(0 < len(one.encode()) <= LONGEST for one in made)


def test_shortened_names_stay_apart() -> None:
    assert shortened("x" * LONGEST) == "x" * LONGEST
    assert shortened("x" * 64) != shortened("x" * 65)


def test_names_of_objects() -> None:
    """Nobody has to quote them; two tables never share one, however their names could be cut."""
    assert object_name("balances", "public", "movements") == "balances_public__movements"
    pairs = [
        ("a", "b_c"),
        ("a_b", "c"),
        ("a__b", "c"),
        ("a", "_b"),
        ("A", "b_c"),
        ("a", "b c"),
        ("a", "b-c"),
        ("a", "é"),
    ]
    made = {object_name("balances", *pair) for pair in pairs}
    assert len(made) == len(pairs)
    assert all(quoted(one) == one for one in made)


def test_names_of_indexes() -> None:
    """The column group_id of user has another one than id of user_group."""
    made = {
        index_name(Name("s", table), *columns, ending="key").name
        for table, columns in (("user", ("group_id",)), ("user_group", ("id",)), ("user", ("group", "id")),
                               ("user__group", ("id",)), ("user", ("_group", "id")), ("user_", ("group", "id")))
    }  # fmt: skip
    assert len(made) == 6
    assert index_name(Name("s", "user"), "id", ending="idx") == Name("s", "tenantry_user__id_idx")
