"""Hazard 7: a constant fill that touches no row, and the tables that it cannot be used on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tenantry.errors import UsageError
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]

NOTES = """
CREATE TABLE notes (id integer PRIMARY KEY, text text);
INSERT INTO notes SELECT n FROM generate_series(1, 1000) AS n;
"""
CONSTANT = """
[[table]]
name = "notes"
assign = { tenant = "south" }
"""
DOMAIN = """
CREATE DOMAIN tenant_number AS integer CHECK (VALUE > 0);
CREATE TABLE tenants (id tenant_number PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'north'), (2, 'south');
"""
HEIR = (
    NOTES
    + """
CREATE TABLE old_notes ({}) INHERITS (notes);
INSERT INTO old_notes (id) SELECT n FROM generate_series(1001, 1010) AS n;
"""
)
ROW_TYPE = (
    NOTES
    + """
CREATE TABLE revisions (id integer, before notes);
INSERT INTO revisions SELECT id, n FROM notes AS n WHERE id <= 10;
"""
)
SHARED = """
[[table]]
name = "revisions"
shared = true
"""
NODE = "SELECT pg_relation_filenode('notes')"
TENANTS_OF_ROWS = "SELECT tenant_id, count(*) FROM notes GROUP BY 1"


def test_shows_the_hazard(business: Business) -> None:
    """A column of the domain's type rewrites the table while nobody may even read it."""
    shop = business(NOTES, CONSTANT, tenants=DOMAIN)
    node = shop.rows(NODE)
    shop.execute("ALTER TABLE notes ADD COLUMN owner tenant_number DEFAULT 2")
    assert shop.rows(NODE) != node


def test_key_of_a_domain_type(business: Business) -> None:
    """The tenant column has the domain's base type: no row is touched, and the foreign key of contract holds all the same."""
    shop = business(NOTES, CONSTANT, tenants=DOMAIN)
    before, node = shop.database.dump(), shop.rows(NODE)
    shop.migrate(Phase.ISOLATE)
    assert shop.rows(NODE) == node
    assert shop.rows(TENANTS_OF_ROWS) == [(2, 1000)]
    assert shop.rows("SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'notes'::regclass"
                     " AND attname = 'tenant_id'") == [("integer",)]  # fmt: skip
    shop.migrate(Phase.CONTRACT)
    shop.refuses("INSERT INTO notes VALUES (0, '', 3)", psycopg.errors.ForeignKeyViolation)
    shop.rollback()
    assert shop.database.dump() == before


def test_heir(business: Business) -> None:
    """A table that inherits gets the column, its rows the constant, and what is written into it later as well."""
    shop = business(HEIR.format(""), CONSTANT)
    before = shop.database.dump()
    shop.migrate(Phase.ENFORCE)
    shop.execute("INSERT INTO old_notes (id) VALUES (2000)")
    assert shop.rows(TENANTS_OF_ROWS) == [(2, 1011)]
    assert shop.rows("SELECT DISTINCT attnotnull FROM pg_attribute WHERE attname = 'tenant_id' AND attrelid IN"
                     " ('notes'::regclass, 'old_notes'::regclass)") == [(True,)]  # fmt: skip
    shop.rollback()
    assert shop.database.dump() == before


def test_heir_that_owns_the_column_shows_the_hazard(business: Business) -> None:
    """ALTER TABLE merges the heir's own column, whose rows keep what they had: NULL, or somebody else's meaning."""
    shop = business(HEIR.format("tenant_id integer"), CONSTANT)
    shop.execute("ALTER TABLE notes ADD COLUMN tenant_id integer DEFAULT 2")
    assert (None, 10) in shop.rows(TENANTS_OF_ROWS)


def test_heir_that_owns_the_column(business: Business) -> None:
    """The user's own column of that name in an heir is not ours to fill, and could not be told from ours on the way
    back: another name is asked for, and then all goes well."""
    shop = business(HEIR.format("tenant_id integer"), CONSTANT)
    before = shop.database.dump()
    with pytest.raises(UsageError, match=r"public\.old_notes already has a column 'tenant_id'"):
        shop.migrate(Phase.ENFORCE)
    assert shop.database.dump() == before
    other = shop.spec.model_copy(update={"tenant": shop.spec.tenant.model_copy(update={"column": "owner_id"})})
    again = type(shop)(database=shop.database, spec=other, application=shop.application)
    again.migrate(Phase.ENFORCE)
    assert shop.rows("SELECT owner_id, count(*) FROM notes GROUP BY 1") == [(2, 1010)]
    again.rollback()
    assert shop.database.dump() == before


def test_row_type_shows_the_hazard(business: Business) -> None:
    """A table whose row type is a column elsewhere refuses a column with a default."""
    shop = business(ROW_TYPE, CONSTANT + SHARED)
    shop.refuses("ALTER TABLE notes ADD COLUMN tenant_id integer DEFAULT 2", psycopg.errors.FeatureNotSupported)


def test_row_type(business: Business) -> None:
    """The column comes without the constant, and is filled in place."""
    shop = business(ROW_TYPE, CONSTANT + SHARED)
    before = shop.database.dump()
    shop.migrate(Phase.CONTRACT)
    assert shop.rows(TENANTS_OF_ROWS) == [(2, 1000)]
    assert shop.rows("SELECT (before).id, (before).text FROM revisions WHERE id = 7") == [(7, None)]
    shop.rollback()
    assert shop.database.dump() == before


def test_old_application_after_isolate(business: Business, role: Callable[..., str]) -> None:
    """By then the column's default is the setting, of which the old application knows nothing: the trigger still has
    the constant, until contract."""
    clerk = role(name="clerk")
    shop = business(NOTES, CONSTANT)
    shop.execute(f"GRANT SELECT, INSERT ON notes TO {clerk}")
    application = shop.spec.application.model_copy(update={"legacy_roles": (clerk,)})
    old = type(shop)(database=shop.database, application=shop.application,
                     spec=shop.spec.model_copy(update={"application": application}))  # fmt: skip
    old.migrate(Phase.ISOLATE)
    with shop.connect(user=clerk) as session:
        session.execute("INSERT INTO notes VALUES (-1, 'old')")
        assert session.execute("SELECT tenant_id FROM notes WHERE id = -1").fetchone() == (2,)
    old.migrate(Phase.CONTRACT)
    with shop.connect(user=clerk) as session, pytest.raises(psycopg.Error):
        session.execute("INSERT INTO notes VALUES (-2, 'old')")
