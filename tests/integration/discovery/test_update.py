"""discover --update: a spec that a person has written gets what is new, and stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Command
from servers import Database
from tenantry import discover, discover_update
from tenantry.errors import UsageError
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

SHOP = """
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
CREATE TABLE users (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
CREATE TABLE orders (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
CREATE TABLE units (id int PRIMARY KEY, name text);
CREATE TABLE drafts (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders);
INSERT INTO tenants VALUES (1, 'a'), (2, 'b');
INSERT INTO users VALUES (1, 1), (2, 2);
INSERT INTO orders VALUES (1, 1), (2, 2);
INSERT INTO units VALUES (1, 'kg');
"""
LATER = """
CREATE TABLE order_lines (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders);
CREATE TABLE "Odd ""Name" (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
CREATE TABLE notes (id int PRIMARY KEY, text text);
INSERT INTO order_lines VALUES (1, 1), (2, 2);
INSERT INTO "Odd ""Name" VALUES (1, 1), (2, 2);
DROP TABLE drafts;
"""
SPEC = """# Ours, decided on a Friday.
version = 1
schemas = ["public"]

[tenant]   # the customers
table = "tenants"
column = "tenant_id"

[[table]]
name = "users"
shared = true  # they work for several

[[reference]]
from = "orders.tenant_id"
to = "tenants.id"

[[table]]
name = "orders"
paths = [["tenant_id"]]

[[table]]
name = "units"
shared = true

[[table]]
name = "drafts"
paths = [["order_id"]]"""


def updated(database: Database, path: Path) -> Any:
    spec = Spec.read(path)
    return discover_update(Target(database.dsn), spec, path.read_text())


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_is_new_is_added(
    template: Callable[..., Database], command: Callable[[str], Command], newline: str
) -> None:
    """Each new table gets its block at the end; what was there is there to the byte, and what is gone, or decided otherwise
    than discover would, is said. Once more changes nothing."""
    database = template("update", lambda made: made.load(SHOP + LATER))
    made = command(database.dsn)
    path = made.folder / "tenantry.toml"
    before = SPEC.replace("\n", newline).encode()
    path.write_bytes(before)
    path.chmod(0o640)
    outcome = made("discover", "--update")
    assert outcome.status == 0, outcome.stderr
    after = path.read_bytes()
    assert after.startswith(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert (b"\r" in after) == (newline == "\r\n")
    assert after.count(b"\n") == after.count(newline.encode())
    parts = {part.name: part for part in Spec.read(path).table}
    assert parts["order_lines"].paths == ((("order_id",),),)
    assert parts['"Odd ""Name"'].paths == ((("tenant_id",),),)
    assert parts["notes"].undecided is not None
    assert parts["users"].shared is True
    assert "the table public.drafts does not exist" in outcome.stdout
    assert "public.users: shared = true; discover would write paths" in outcome.stdout
    assert "Added 3 tables" in outcome.stdout
    assert "decide about 1 of them" in outcome.stdout
    again = made("discover", "--update", "--json")
    assert path.read_bytes() == after
    assert json.loads(again.stdout)["added"] == []


def test_a_tenant_table_that_is_made(template: Callable[..., Database], tmp_path: Path) -> None:
    """Where migrate makes the tenant table, nothing points at it: a new table waits for a person, with the paths that its keys
    suggest."""
    database = template("update", lambda made: made.load(SHOP + LATER))
    path = tmp_path / "tenantry.toml"
    path.write_text(
        'version = 1\n[tenant]\ntable = "firms"\ncreate = true\n[[table]]\nname = "orders"\nassign = { tenant = "one" }\n'
    )
    found = updated(database, path)
    path.write_text(path.read_text() + "\n" + found.addition)
    parts = {part.name: part for part in Spec.read(path).table}
    assert parts["order_lines"].paths == ((("order_id",),),)
    assert all(part.undecided for name, part in parts.items() if name != "orders")
    assert set(parts) == {"tenants", "users", "orders", "units", "order_lines", '"Odd ""Name"', "notes"}


def test_tables_in_a_list(template: Callable[..., Database], tmp_path: Path) -> None:
    """A list in one value has no end at which a block could be added: refused, with what to do."""
    database = template("update", lambda made: made.load(SHOP + LATER))
    path = tmp_path / "tenantry.toml"
    path.write_text('table = [{ name = "units", shared = true }]\n[tenant]\ntable = "tenants"\n')
    with pytest.raises(UsageError, match="New tables cannot be added"):
        updated(database, path)


def test_what_discover_has_written_names_all(template: Callable[..., Database], tmp_path: Path) -> None:
    """Beside its own file nothing is new, gone or different."""
    database = template("update", lambda made: made.load(SHOP + LATER))
    path = tmp_path / "tenantry.toml"
    path.write_text(discover(Target(database.dsn)).text)
    found = updated(database, path)
    assert (found.addition, found.gone, found.differences) == ("", (), ())
