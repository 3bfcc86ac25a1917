"""A tenant table that cannot be one, and one that no foreign key leads to: no tenants are merged without a word."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tenantry.model.spec import Assign

discovering = importlib.import_module("tests.discovery.discovering")
discover, part = discovering.discover, discovering.part

pytestmark = pytest.mark.server

FIRMS = """
CREATE TABLE goods (id int PRIMARY KEY, {});
CREATE TABLE moves (id int PRIMARY KEY, good int NOT NULL REFERENCES goods);
CREATE TABLE rates (code text PRIMARY KEY);
"""
UNFIT = [
    ("CREATE TABLE tenants (id int NOT NULL UNIQUE, slug text);", "tenant int REFERENCES tenants (id)"),
    ("CREATE TABLE tenants (region text, id int, PRIMARY KEY (region, id));",
     "region text, tenant int, FOREIGN KEY (region, tenant) REFERENCES tenants"),
    ("CREATE TABLE companies (id numeric PRIMARY KEY, slug text);", "company numeric REFERENCES companies"),
]  # fmt: skip


@pytest.mark.parametrize(("tenants", "column"), UNFIT, ids=["unique", "two columns", "numeric"])
def test_a_tenant_table_that_cannot_be_one(database: Any, tenants: str, column: str) -> None:
    """It is named, with the reason; what leads to it is for a person to decide, and what does not is the default's."""
    database.execute(tenants + FIRMS.format(column))
    proposal = discover(database)
    name = tenants.split()[2]
    assert {one.part.name for one in proposal.undecided} == {name, "goods", "moves"}
    assert f"{name} has the name of a tenant table, and cannot be it" in proposal.reasons[0]
    assert part(proposal, "rates").assign == Assign(tenant="default")


def test_a_word_that_means_something_else(database: Any) -> None:
    """An account that nothing refers to, with a key of two columns, keeps no business from being the first tenant."""
    database.execute("CREATE TABLE accounts (bank text, number int, PRIMARY KEY (bank, number));")
    proposal = discover(database)
    assert not proposal.undecided
    assert part(proposal, "accounts").assign == Assign(tenant="default")


KEYLESS = """
CREATE TABLE {0} (id int PRIMARY KEY, slug text UNIQUE);
INSERT INTO {0} VALUES (1, 'north'), (2, 'south');
CREATE TABLE goods (id int PRIMARY KEY, {1} int NOT NULL, name text);
CREATE TABLE prefs (id int PRIMARY KEY, {1} varchar(10) NOT NULL);
CREATE TABLE moves (id int PRIMARY KEY, good int NOT NULL);
INSERT INTO goods SELECT g, 1 + g % 2 FROM generate_series(1, 20) g;
INSERT INTO prefs SELECT g, (1 + g % 2)::text FROM generate_series(1, 10) g;
INSERT INTO moves SELECT g, 1 + g % 20 FROM generate_series(1, 30) g;
"""


@pytest.mark.parametrize(("table", "column"), [("tenants", "tenant_id"), ("companies", "company_id")])
def test_columns_without_any_foreign_key(database: Any, table: str, column: str) -> None:
    """Those that are called after the tenant table, and have its key's type, are paths; other tables are undecided."""
    database.execute(KEYLESS.format(table, column))
    proposal = discover(database)
    assert (proposal.spec.tenant.table, proposal.spec.tenant.column) == (table, column)
    assert part(proposal, "goods").paths == (((column,),),)
    assert {one.part.name for one in proposal.undecided} == {"prefs", "moves"}


def test_values_that_name_no_tenant(database: Any) -> None:
    """Such a column may be something else: a person decides."""
    database.execute(KEYLESS.format("tenants", "tenant_id") + "UPDATE goods SET tenant_id = 7 WHERE id > 15")
    proposal = discover(database)
    assert {one.part.name for one in proposal.undecided} == {"goods", "prefs", "moves"}


def test_no_column_is_called_after_it(database: Any) -> None:
    """Then the business that is there is the first tenant."""
    database.execute(
        "CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE); CREATE TABLE goods (id int PRIMARY KEY)"
    )
    proposal = discover(database)
    assert part(proposal, "goods").assign == Assign(tenant="default")
