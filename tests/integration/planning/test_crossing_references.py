"""References that may cross tenants: who entered an invoice may be another tenant's user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tenantry import validate
from tenantry.errors import Refused
from tenantry.model.finding import Severity
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

SCHEMA = """
CREATE TABLE users (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE customers (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE invoices (id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers,
  entered_by integer REFERENCES users, approved_by integer REFERENCES users);
INSERT INTO users VALUES (1, 1), (2, 2);
INSERT INTO customers VALUES (1, 1), (2, 2);
INSERT INTO invoices VALUES (1, 1, 1, 1), (2, 2, 1, 2);
"""
TABLES = """
[[table]]
name = "users"
paths = [["tenant_id"]]
[[table]]
name = "customers"
paths = [["tenant_id"]]
[[table]]
name = "invoices"
paths = [["customer_id"]]
"""
CROSSES = '[[reference]]\nfrom = "invoices.entered_by"\ncrosses = true\n'


def test_refused_without_the_word(business: Callable[..., Any]) -> None:
    """A reference to another tenant's row is refused before anything is changed."""
    shop = business(SCHEMA, TABLES)
    with pytest.raises(Refused, match=r"public\.invoices has 1 reference across tenants"):
        shop.migrate(Phase.CONTRACT)
    assert shop.rows("SELECT attname FROM pg_attribute WHERE attrelid = 'invoices'::regclass AND attnum > 4") == []


def test_a_reference_that_crosses(business: Callable[..., Any]) -> None:
    """It goes on as it was, the other references are held; each tenant sees its own rows; rollback is exact."""
    shop = business(SCHEMA, TABLES + CROSSES)
    before = shop.database.dump("--schema-only")
    shop.migrate(Phase.CONTRACT)
    assert shop.rows("SELECT id, tenant_id FROM invoices ORDER BY id") == [(1, 1), (2, 2)]
    with shop.connect() as session:
        session.execute(f"SET LOCAL ROLE {shop.application}; SET LOCAL app.tenant_id = '2'")
        # The user who entered it is not seen, and yet it can be named.
        query = "SELECT i.id, u.id FROM invoices i LEFT JOIN users u ON u.id = i.entered_by"
        assert session.execute(query).fetchall() == [(2, None)]
        session.execute("INSERT INTO invoices (id, customer_id, entered_by) VALUES (3, 2, 1)")
    shop.refuses(
        f"SET LOCAL ROLE {shop.application}; SET LOCAL app.tenant_id = '2';"
        " INSERT INTO invoices (id, customer_id, approved_by) VALUES (4, 2, 1)",
        psycopg.errors.ForeignKeyViolation,
    )
    result = validate(shop.target, shop.spec)
    assert not [finding for finding in result.findings if finding.severity is not Severity.INFO]
    shop.rollback()
    assert shop.database.dump("--schema-only") == before


@pytest.mark.parametrize("refers", ["(12, 2, 1)", "(12, NULL, 2)"], ids=["a tenant's row", "a row that all share"])
def test_refused_before_anything_is_changed(business: Callable[..., Any], refers: str) -> None:
    """Where the tables' own columns hold the tenant already, and no row of theirs is to be filled: the census asks all the same, and
    a row that all share may not refer to one tenant's either."""
    shop = business(
        f"""
        CREATE TABLE places (id integer PRIMARY KEY, tenant_id integer REFERENCES tenants);
        CREATE TABLE lots (id integer PRIMARY KEY, tenant_id integer REFERENCES tenants, place_id integer REFERENCES places);
        INSERT INTO places VALUES (1, 1), (2, 2), (3, NULL);
        INSERT INTO lots VALUES (10, 1, 1), (11, 2, 2), {refers};
        """,
        """
        [[table]]
        name = "places"
        paths = [["tenant_id"]]
        orphans = "shared"
        [[table]]
        name = "lots"
        paths = [["tenant_id"]]
        orphans = "shared"
        """,
    )
    before = shop.database.dump()
    with pytest.raises(Refused, match=r"public\.lots has 1 reference across tenants"):
        shop.migrate(Phase.ISOLATE)
    assert shop.database.dump("--exclude-schema=tenantry") == before
    assert shop.rows("SELECT to_regclass('tenantry.steps') IS NULL OR NOT EXISTS (SELECT FROM pg_policy)") == [(True,)]
