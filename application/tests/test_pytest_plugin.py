"""The pytest plugin: a suite that uses it passes on an isolated database, and is red where the policies are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import application
from servers import Database
from shop import APPLICATION

SUITE = """
import psycopg
import pytest
from tenantry_app.psycopg import TenantConnection
from tenantry_app import current
import os

class Client:
    def __init__(self, name): self.name = name
    def get(self, url):
        from tenantry_app import tenant
        with tenant(self.name), TenantConnection.connect(os.environ["TENANTRY_DSN"]) as connection:
            found = connection.execute("SELECT * FROM orders WHERE id = %s", [int(url.split("/")[-1])]).fetchone()
        return type("Response", (), {"status_code": 200 if found else 404})

@pytest.mark.parametrize("number", range(5))
def test_urls(assert_isolated, number):
    assert_isolated("/orders/1", own=Client("1"), other=Client("2"))

@pytest.mark.parametrize("number", range(10))
def test_rows(as_tenant, number):
    as_tenant("1")
    with TenantConnection.connect(os.environ["TENANTRY_DSN"]) as connection:
        assert len(connection.execute("SELECT * FROM orders").fetchall()) == 3
        as_tenant("2")
        connection.rollback()
        assert len(connection.execute("SELECT * FROM orders").fetchall()) == 2
    assert current().key == "2"

@pytest.mark.parametrize("number", range(5))
def test_operator(as_tenant, operator, number):
    operator.execute("UPDATE orders SET note = 'x'")
    assert operator.execute("SELECT count(*) FROM orders").fetchone() == (5,)
"""


def outcome(shop: Database, folder: Path, user: str = APPLICATION) -> str:
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    source = str(Path(__file__).parents[1] / "src")
    dsn = application(shop).replace(f"user={APPLICATION}", f"user={user}")
    environment = {**os.environ, "TENANTRY_DSN": dsn, "TENANTRY_OPERATOR_DSN": shop.dsn, "PYTHONPATH": source}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # As an entry point would load it, whether it is installed or not.
    plugin = ["-p", "tenantry_app.pytest_plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin], cwd=folder, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


def test_green_and_red(shop: Database, tmp_path: Path) -> None:
    assert "20 passed" in outcome(shop, tmp_path)
    assert "it is a superuser" in (refused := outcome(shop, tmp_path, "postgres"))
    assert "passed" not in refused
    policies = shop.rows("SELECT polname, polrelid::regclass::text FROM pg_policy")
    shop.execute("".join(f"DROP POLICY {policy} ON {table};" for policy, table in policies))
    red = outcome(shop, tmp_path)
    assert "public.customers, public.orders" in red
    assert "passed" not in red


@pytest.mark.nightly
@pytest.mark.parametrize("change", ["DISABLE", "NO FORCE"])
def test_row_security_that_is_off(change: str, shop: Database, tmp_path: Path) -> None:
    shop.execute(f"ALTER TABLE orders {change} ROW LEVEL SECURITY")
    assert "passed" not in outcome(shop, tmp_path)
