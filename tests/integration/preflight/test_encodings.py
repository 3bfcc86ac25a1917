"""A database whose texts are of no encoding: what cannot be read is refused before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from conftest import Command
from operator_runs import operated
from servers import Database, Server
from tenantry import MigrateOptions, migrate, rollback
from tenantry.errors import Refused
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec

pytestmark = pytest.mark.server

SCHEMA = """
SET client_encoding = 'SQL_ASCII';
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE, name text);
CREATE TABLE items (id integer PRIMARY KEY, tenant integer NOT NULL REFERENCES tenants, name text);
CREATE TABLE moves (id integer PRIMARY KEY, item integer NOT NULL REFERENCES items);
INSERT INTO tenants VALUES (1, 'north', 'North'), (2, 'caf{}', E'Caf\\351');
INSERT INTO items VALUES (1, 1, 'plain'), (2, 2, E'na\\357ve');
INSERT INTO moves VALUES (1, 1), (2, 2);
"""
SPEC = """
[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "items"
paths = [["tenant"]]
[[table]]
name = "moves"
paths = [["item"]]
"""


@pytest.fixture
def ascii(server: Server, database: Database) -> Iterator[Database]:
    """An empty database of the encoding SQL_ASCII."""
    name = f"{database.name}_ascii"
    server.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    made = Database(server=server, name=name)
    yield made
    server.drop(made)


@pytest.mark.parametrize("slug", ["e", "\u00e9"])
def test_slugs_that_can_be_read(ascii: Database, role: Callable[..., str], slug: str) -> None:
    """Whatever the other texts are, of tenants as of others."""
    ascii.load(SCHEMA.format(slug))
    spec = Spec.parse(SPEC.format(role=role(create=False)))
    target = operated(ascii, spec)
    dump = ascii.dump()
    migrate(target, spec, MigrateOptions(until=Phase.CONTRACT))
    rollback(target)
    assert ascii.dump() == dump


def test_slugs_that_cannot(ascii: Database, role: Callable[..., str], command: Callable[[str], Command]) -> None:
    """No command says that it helps to run it again."""
    ascii.load(SCHEMA.format("").replace("'caf'", "E'caf\\351'"))
    text = SPEC.format(role=role(create=False))
    spec = Spec.parse(text)
    with pytest.raises(Refused, match="SQL_ASCII"):
        migrate(operated(ascii, spec), spec, MigrateOptions(until=Phase.EXPAND))
    assert ascii.rows("SELECT to_regnamespace('tenantry')") == [(None,)]
    run = command(ascii.dsn)
    (run.folder / "tenantry.toml").write_text("version = 1\n" + text)
    for arguments in (["migrate"], ["migrate", "--dry-run"], ["tenants", "list"]):
        said = run(*arguments)
        assert said.status in (2, 4)
        assert "not valid UTF-8" in said.stderr
        assert "same command" not in said.stderr
    ascii.execute("UPDATE tenants SET slug = 'cafe' WHERE id = 2")
    assert run("migrate", "--until", "contract").status == 0
    ascii.execute("UPDATE tenants SET name = 'Cafe' WHERE id = 2")
    assert run("tenants", "list").status == 0


def test_names_of_tables_that_cannot_be_read(
    ascii: Database, role: Callable[..., str], command: Callable[[str], Command]
) -> None:
    """Nothing can be said of them, and nothing is done."""
    ascii.load(SCHEMA.format("e") + "DO $$ BEGIN EXECUTE E'CREATE TABLE na\\357ve (id integer)'; END $$")
    run = command(ascii.dsn)
    (run.folder / "tenantry.toml").write_text("version = 1\n" + SPEC.format(role=role(create=False)))
    said = run("migrate")
    assert said.status == 2
    assert "not valid UTF-8" in said.stderr
    assert "same command" not in said.stderr
