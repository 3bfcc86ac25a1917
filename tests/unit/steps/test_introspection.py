"""Queries by which steps recognise themselves, and how texts are put into functions."""

from __future__ import annotations

import pytest
from psycopg import sql

from tenantry.steps.introspection import (
    body,
    column_definition,
    constraint_definition,
    exists,
    hand_over,
    identifiers,
    index_definition,
    unchanged,
    with_search_path,
)  # fmt: skip
from unit.schemas import name
from unit.steps.examples import texts

HOSTILE = name('it\'s "x"')


@pytest.mark.parametrize("query", [
    column_definition(HOSTILE, "it's"), constraint_definition(HOSTILE, "it's", validated=True), index_definition(HOSTILE),
])  # fmt: skip
def test_names_are_literals(query: sql.Composed) -> None:
    """Whatever is in them, and of a table that is gone the query has no row."""
    text = query.as_string(None)
    assert 'pg_catalog.to_regclass(\'"public"."it\'\'s ""x"""\')' in text
    assert exists(query).as_string(None) == f"SELECT EXISTS ({text})"


def test_no_text_ends_a_body() -> None:
    """The tag is one that the text has not, however many it has."""
    many = "".join(f"$tenantry_{number}$" for number in range(50))
    for text in ("a", "$tenantry$", f"$tenantry$ {many}"):
        whole = body(sql.SQL(text)).as_string(None)
        tag = whole[: whole.index("$", 1) + 1]
        assert whole == f"{tag}{text}{tag}"
        assert tag not in text


@pytest.mark.parametrize(
    ("search_path", "path"),
    [
        ((), "pg_catalog, pg_temp"),
        (("public", "Shop"), 'pg_catalog, public, "Shop", pg_temp'),
        (("$user", "public", "pg_temp_3"), "pg_catalog, public, pg_temp"),
        (("public", "pg_catalog"), "public, pg_catalog, pg_temp"),
    ],
)
def test_where_the_users_functions_find_what_they_name(search_path: tuple[str, ...], path: str) -> None:
    """As in the application, but for temporary tables, which come last."""
    assert f"set_config('search_path', '{path}', true)" in with_search_path(search_path).as_string(None)


def test_handing_over() -> None:
    """The owner may create in our schema for that moment alone, and only where it is another one than us."""
    statements = hand_over(sql.SQL("FUNCTION f()"), "o'wner")
    assert texts(statements) == [
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "o\'wner"',
        'ALTER FUNCTION f() OWNER TO "o\'wner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "o\'wner"',
    ]
    assert {one.when.as_string(None) for one in statements if one.when} == {"SELECT current_user <> 'o''wner'"}


def test_columns() -> None:
    assert identifiers(("a", 'b"')).as_string(None) == '"a", "b"""'
    assert identifiers(("a",), sql.SQL("row")).as_string(None) == 'row."a"'
    assert unchanged(("a",), sql.SQL("NEW"), sql.SQL("OLD")).as_string(None) == (
        'ROW(NEW."a")::record OPERATOR(pg_catalog.*=) ROW(OLD."a")::record'
    )
