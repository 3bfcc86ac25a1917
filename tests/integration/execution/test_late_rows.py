"""Rows whose tenant shows only once a fill has had its last look."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.errors import ExitStatus
from tenantry.execution.events import Event, FillFinished
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

SHOP = """
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE NOT NULL);
INSERT INTO tenants VALUES (1, 'one'), (2, 'two');
CREATE TABLE stores (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
INSERT INTO stores VALUES (1, 1), (2, 2);
CREATE TABLE sales (id int PRIMARY KEY, store_id int NOT NULL REFERENCES stores);
INSERT INTO sales SELECT n, 1 + n % 2 FROM generate_series(1, 100) n;
"""
SPEC = """
version = 1
[tenant]
table = "tenants"
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "sales"
paths = [["store_id"]]
"""


def at_the_end(database: Database, statements: str) -> Callable[[Event], None]:
    """The application writes, once, when the fill of sales has had its last look."""
    written: list[bool] = []

    def observe(event: Event) -> None:
        if isinstance(event, FillFinished) and event.relation.name == "sales" and not written:
            written.append(True)
            database.execute(statements)

    return observe


def filled(database: Database, statements: str) -> ExitStatus:
    database.execute(SHOP)
    options = MigrateOptions(until=Phase.BACKFILL, backup=BackupKind.NONE)
    return migrate(Target(database.dsn), Spec.parse(SPEC), options, at_the_end(database, statements)).exit_status


def test_a_row_that_comes_after_the_last_look(database: Database) -> None:
    """It has no tenant, and one can be derived: the fill goes on for it, and nobody is asked to decide."""
    trigger = 'TRIGGER "~tenantry_assign"'
    late = (
        f"BEGIN; ALTER TABLE sales DISABLE {trigger}; INSERT INTO sales VALUES (101, 1);"
        f" ALTER TABLE sales ENABLE ALWAYS {trigger}; COMMIT"
    )
    assert filled(database, late) is ExitStatus.DONE
    assert database.rows("SELECT tenant_id FROM sales WHERE id = 101") == [(1,)]
    assert database.rows("SELECT count(*) FROM sales WHERE tenant_id IS NULL") == [(0,)]
