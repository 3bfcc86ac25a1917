"""Tables that all tenants read and write, such as the sessions of a web framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tenantry import validate
from tenantry.errors import Refused
from tenantry.model.finding import Severity
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

SCHEMA = """
CREATE TABLE sessions (id serial PRIMARY KEY, data text);
CREATE TABLE units (id integer PRIMARY KEY, name text);
CREATE TABLE orders (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
INSERT INTO orders VALUES (1, 1), (2, 2);
INSERT INTO units VALUES (1, 'kg');
"""
TABLES = """
[[table]]
name = "orders"
paths = [["tenant_id"]]
[[table]]
name = "units"
shared = true
[[table]]
name = "sessions"
shared = %s
"""


def granted(shop: Any, privileges: str, table: str) -> None:
    shop.execute(f"CREATE ROLE {shop.application}; GRANT {privileges} ON {table} TO {shop.application}")


def may(shop: Any, table: str) -> list[tuple[Any, ...]]:
    return shop.rows(
        "SELECT privilege_type FROM information_schema.table_privileges"
        f" WHERE grantee = '{shop.application}' AND table_name = '{table}' ORDER BY 1"
    )


WRITING = [("DELETE",), ("INSERT",), ("SELECT",), ("UPDATE",)]


def test_all_tenants_write_it(business: Callable[..., Any]) -> None:
    """The application may write it, its sequence included; validate finds nothing in that; rollback is exact."""
    shop = business(SCHEMA, TABLES % '"write"')
    before = shop.database.dump()
    shop.migrate(Phase.CONTRACT)
    assert may(shop, "sessions") == WRITING
    assert may(shop, "units") == [("SELECT",)]
    for tenant in (1, 2):
        with shop.connect() as session:
            session.execute(f"SET LOCAL ROLE {shop.application}; SET LOCAL app.tenant_id = '{tenant}'")
            session.execute("INSERT INTO sessions (data) VALUES ('x')")
            assert session.execute("UPDATE sessions SET data = 'y'").rowcount == tenant
    result = validate(shop.target, shop.spec)
    assert not [finding for finding in result.findings if finding.severity is not Severity.INFO]
    shop.rollback()
    assert shop.database.dump() == before
    assert shop.rows("SELECT count(*) FROM sessions") == [(2,)]


@pytest.mark.parametrize(
    ("table", "advice"),
    [("sessions", 'shared = "write"'), ("tenants", "another role")],
)
def test_nothing_is_taken_away_in_silence(business: Callable[..., Any], table: str, advice: str) -> None:
    """An application that writes what it is to read only from now on: refused beforehand, and nothing changed; as the
    spec says, or with --force, it goes on."""
    shop = business(SCHEMA, TABLES % "true")
    granted(shop, "SELECT, INSERT, UPDATE, DELETE", table)
    with pytest.raises(Refused, match=f"may write public.{table}") as refusal:
        shop.migrate(Phase.ISOLATE)
    assert advice in refusal.value.remedy + str(refusal.value.details)
    assert may(shop, table) == WRITING
    assert shop.rows("SELECT to_regclass('tenantry.steps') IS NULL OR NOT EXISTS (SELECT FROM pg_policy)") == [(True,)]
    shop.migrate(Phase.ISOLATE, force=True)
    assert may(shop, table) == [("SELECT",)]


def test_what_was_granted_since_stays(business: Callable[..., Any]) -> None:
    """A grant by hand is one finding; migrate does not take it away, and the spec's word makes it right."""
    shop = business(SCHEMA, TABLES % "true")
    shop.migrate(Phase.ISOLATE)
    shop.execute(f"GRANT INSERT ON sessions TO {shop.application}")
    found = [one for one in validate(shop.target, shop.spec).findings if one.severity is not Severity.INFO]
    assert [one.name for one in found] == ["shared-table-writable"]
    assert 'shared = "write"' in found[0].remedy
    shop.migrate(Phase.ISOLATE)
    assert may(shop, "sessions") == [("INSERT",), ("SELECT",)]
    parts = (*shop.spec.table[:-1], shop.spec.table[-1].model_copy(update={"shared": "write"}))
    written = replace(shop, spec=shop.spec.model_copy(update={"table": parts}))
    written.migrate(Phase.ISOLATE)
    assert not [one for one in validate(shop.target, written.spec).findings if one.severity is not Severity.INFO]
    before = shop.rows("SELECT count(*) FROM sessions")
    written.rollback()
    assert may(shop, "sessions") == [("INSERT",)]
    assert shop.rows("SELECT count(*) FROM sessions") == before


def test_what_no_policy_holds_back(business: Callable[..., Any]) -> None:
    """GRANT ALL of before: what goes is told, and no refusal."""
    shop = business(SCHEMA, TABLES % '"write"')
    granted(shop, "ALL", "orders, sessions")
    shop.migrate(Phase.ISOLATE)
    assert may(shop, "orders") == may(shop, "sessions") == WRITING
    shop.refuses(f"SET LOCAL ROLE {shop.application}; TRUNCATE sessions", psycopg.errors.InsufficientPrivilege)
