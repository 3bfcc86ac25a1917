"""A gigabyte of big values: there, with the automatic backup, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import ExitStatus
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

ROWS = 2000
SCHEMA = """
CREATE TABLE tenants (id int PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'north'), (2, 'south');
CREATE TABLE shops (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
INSERT INTO shops VALUES (1, 1), (2, 2);
CREATE TABLE scans (id int PRIMARY KEY, shop_id int NOT NULL REFERENCES shops, page bytea);
ALTER TABLE scans ALTER page SET STORAGE EXTERNAL;
INSERT INTO scans SELECT n, 1 + n % 2, decode(repeat(md5(n::text), 32768), 'hex') || convert_to(n::text, 'UTF8')
FROM generate_series(1, {rows}) n;
"""
SPEC = """
[tenant]
table = "tenants"
column = "tenant_id"

[application]
role = "{role}"

[[table]]
name = "shops"
paths = [["tenant_id"]]

[[table]]
name = "scans"
paths = [["shop_id"]]
"""


def test_toast(database: Database, role: Callable[..., str]) -> None:
    """Every value is what it was, the fill rewrites none of them, and the dump is the same."""
    database.execute(SCHEMA.format(rows=ROWS))
    query = "SELECT id, length(page), md5(page) FROM scans ORDER BY id"
    before, dump = hashlib.sha256(repr(database.rows(query)).encode()).digest(), database.dump()
    size = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'scans'::regclass"
    ((toast,),) = database.rows(size)
    assert toast > ROWS * 500_000
    spec, target = Spec.parse(SPEC.format(role=role(create=False, name="app"))), Target(database.dsn)
    assert migrate(target, spec, MigrateOptions()).rows == ROWS
    assert database.rows(size) == [(toast,)], "a new version of a row keeps its big values"
    result = rollback(target, RollbackOptions())
    assert result.exit_status is ExitStatus.DONE, result.findings
    assert database.dump() == dump
    assert hashlib.sha256(repr(database.rows(query)).encode()).digest() == before
