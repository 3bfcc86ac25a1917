"""References that lead from one tenant to another, or from what all share to what is one's: counted before expand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tenantry import MigrateOptions, preview
from tenantry.errors import ExitStatus, Refused
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]

# --- every table has its tenant column, and nothing is to be filled

GIVEN = """
CREATE TABLE people (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE bills (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants,
  written_by integer REFERENCES people);
INSERT INTO people SELECT n, 1 + n % 2 FROM generate_series(1, 10) n;
INSERT INTO bills SELECT n, 1 + n % 2, 1 + (n - 1) % 10 FROM generate_series(1, 40) n;
"""
GIVEN_TABLES = """
[[table]]
name = "people"
paths = [["tenant_id"]]
[[table]]
name = "bills"
paths = [["tenant_id"]]
"""

# --- what has no tenant is everybody's

SHARED = """
CREATE TABLE places (id integer PRIMARY KEY, tenant_id integer REFERENCES tenants);
CREATE TABLE lots (id integer PRIMARY KEY, tenant_id integer REFERENCES tenants, place integer REFERENCES places);
CREATE TABLE kits (id integer PRIMARY KEY, lot integer REFERENCES lots, place integer REFERENCES places);
INSERT INTO places VALUES (1, 1), (2, 2), (3, NULL);
INSERT INTO lots VALUES (10, 1, 1), (11, 2, 2), (12, NULL, 3), (13, 1, 3);
INSERT INTO kits VALUES (20, 10, 1), (21, 12, 3), (22, NULL, 3), (23, 11, NULL);
"""
SHARED_TABLES = """
[[table]]
name = "places"
paths = [["tenant_id"]]
orphans = "shared"
[[table]]
name = "lots"
paths = [["tenant_id"]]
orphans = "shared"
[[table]]
name = "kits"
paths = [["lot"]]
column = "tenant"
orphans = "shared"
"""


@pytest.mark.parametrize(
    ("schema", "tables", "wrong", "named", "right"),
    [
        (GIVEN, GIVEN_TABLES, "UPDATE bills SET written_by = 2 WHERE id IN (1, 3)", "public.bills has 2 references across",
         "UPDATE bills SET written_by = 1 WHERE id IN (1, 3)"),
        (SHARED, SHARED_TABLES, "UPDATE lots SET place = 2 WHERE id = 12", "public.lots has 1 reference across",
         "UPDATE lots SET place = 3 WHERE id = 12"),
        (SHARED, SHARED_TABLES, "UPDATE kits SET place = 2 WHERE id = 22", "public.kits has 1 reference across",
         "UPDATE kits SET place = NULL WHERE id = 22"),
        (SHARED, SHARED_TABLES, "UPDATE kits SET place = 2 WHERE id = 20", "public.kits has 1 reference across",
         "UPDATE kits SET place = 1 WHERE id = 20"),
    ],
    ids=["given", "shared", "shared by its path", "of another"],
)  # fmt: skip
def test_refused_before_expand(
    business: Business, schema: str, tables: str, wrong: str, named: str, right: str
) -> None:
    """By the run and its dry run alike, with the rows; once they are right, it goes through to the end and back."""
    shop = business(schema, tables)
    dump = shop.database.dump()
    shop.execute(wrong)
    foreseen = preview(shop.target, shop.spec, MigrateOptions(until=Phase.CONTRACT))
    assert foreseen.exit_status is ExitStatus.REFUSED
    with pytest.raises(Refused, match=named) as refused:
        shop.migrate(Phase.CONTRACT)
    assert foreseen.refusal is not None
    assert foreseen.refusal.message == refused.value.message
    assert "crosses = true" in refused.value.remedy
    assert "shared = true" in refused.value.remedy
    assert "orphans =" not in refused.value.remedy
    assert "id " in refused.value.details[0]
    assert shop.rows("SELECT to_regnamespace('tenantry')") == [(None,)]
    shop.execute(right)
    shop.migrate(Phase.CONTRACT)
    shop.rollback()
    assert shop.database.dump() == dump


def test_written_between_two_phases(business: Business) -> None:
    """Before isolate nothing keeps an old application from it: the next run names it and changes nothing more."""
    shop = business(SHARED, SHARED_TABLES)
    shop.migrate(Phase.BACKFILL)
    shop.execute("INSERT INTO kits VALUES (30, NULL, 1)")
    before = shop.rows("SELECT count(*) FROM tenantry.journal")
    with pytest.raises(Refused, match=r"public\.kits has 1 reference across"):
        shop.migrate(Phase.ENFORCE)
    assert shop.rows("SELECT count(*) FROM tenantry.journal") == before


def test_rows_that_a_tenants_session_wrote(business: Business) -> None:
    """They have the tenant that it named, although no path leads there, and refer to rows of its own."""
    shop = business(SHARED, SHARED_TABLES)
    shop.migrate(Phase.ISOLATE)
    with shop.connect(user="postgres") as session:
        session.execute(f"SET ROLE {shop.application}; SET app.tenant_id = '2'")
        session.execute("INSERT INTO kits (id, place) VALUES (40, 2)")
    shop.migrate(Phase.CONTRACT)
    assert shop.rows("SELECT tenant FROM kits WHERE id = 40") == [(2,)]
