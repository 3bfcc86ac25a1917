"""An empty database becomes the target of moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from moves.conftest import HERE, Pair, build, left, rows_of, spec_text
from servers import Database, Server
from tenantry import (
    MigrateOptions,
    MoveOptions,
    RollbackOptions,
    migrate,
    move_tenant,
    preview_move,
    rollback,
    validate,
)
from tenantry.errors import ExitStatus, Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.pg(">=15")]
WITH_QUARANTINE = spec_text().replace('column = "firm_id"', 'column = "firm_id"\nquarantine = "held"\ndefault = "one"')


@pytest.fixture
def empty_database(other_server: Server) -> Iterator[Database]:
    database = other_server.create("empty_target")
    yield database
    other_server.drop(database)


@pytest.mark.differs("tenants/move_init.py")
def test_init(new_database: Callable[..., Database], empty_database: Database, pair: Pair) -> None:
    """The target gets what the source is without its tenants, also where columns were dropped; it is
    migrated as the source is, and rolls back to the same original schema."""
    source = new_database()
    source.execute((HERE / "depots.sql").read_text())
    source.execute("ALTER TABLE items ADD COLUMN first integer; ALTER TABLE items DROP COLUMN first")
    source.execute(
        "ALTER TABLE places ADD COLUMN odd integer; ALTER TABLE places DROP COLUMN odd, ADD COLUMN last text"
    )
    source.execute(
        "INSERT INTO firms (slug) VALUES ('one'), ('two');"
        " INSERT INTO places (firm_id, code) SELECT id, slug FROM firms;"
        " INSERT INTO items (place_id, unit) SELECT id, 'kg' FROM places"
    )
    original = source.dump()
    spec = Spec.parse(WITH_QUARANTINE)
    options = MigrateOptions(until=Phase.DISTRIBUTE, prepare=True, force=True, backup=BackupKind.NONE)
    migrate(Target(source.dsn), spec, options)
    here, there = Target(source.dsn), Target(empty_database.dsn)
    before = rows_of(source, "two")
    empty_database.execute("CREATE TABLE other (id integer)")
    with pytest.raises(Refused, match="The target is not empty: it has"):
        move_tenant(here, spec, "two", there, MoveOptions(init=True))
    empty_database.execute("DROP TABLE other")
    done = move_tenant(here, spec, "two", there, MoveOptions(init=True))
    assert done.rows == sum(map(len, before.values()))
    assert rows_of(empty_database, "two") == before
    slugs = "SELECT slug, id::text FROM firms WHERE slug <> 'two' ORDER BY 1"
    assert empty_database.rows(slugs) == source.rows(slugs), "the default and the quarantine tenant are in both"
    assert empty_database.dump() == source.dump()
    verdict = validate(there, spec)
    assert verdict.exit_status is ExitStatus.DONE, [one for one in verdict.findings if one.severity.serious]
    assert left(source, empty_database) == []
    # The journal knows columns by their numbers, which are others here.
    columns = (
        "SELECT k.relation::text, a.attname, k.name, k.attnum FROM tenantry.columns k"
        " JOIN pg_attribute a ON a.attrelid = k.relation AND a.attnum = k.attnum WHERE k.name <> 'last_value' ORDER BY 1, 2"
    )
    assert [row[:3] for row in empty_database.rows(columns)] == [row[:3] for row in source.rows(columns)]
    assert empty_database.rows(columns) != source.rows(columns)
    move_tenant(there, spec, "two", here)
    assert rows_of(source, "two") == before
    for database in (source, empty_database):
        assert rollback(Target(database.dsn), RollbackOptions()).exit_status is ExitStatus.DONE
        assert database.dump() == original


def test_code_of_others(
    pair: Pair, empty_database: Database, role: Callable[..., str], new_database: Callable[..., Database]
) -> None:  # fmt: skip
    """A check of a shared table that another role owns would run as the operator when its rows are loaded."""
    source, name = new_database(), role(name="owner")
    build(source, firms=("two",))
    source.execute(f"ALTER TABLE units OWNER TO {name}")
    with pytest.raises(Refused, match=f"units belongs to {name}, whose code --init would run as postgres"):
        move_tenant(Target(source.dsn), pair.spec, "two", Target(empty_database.dsn), MoveOptions(init=True))
    assert empty_database.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


def test_a_role_is_missing(pair: Pair, empty_database: Database, role: Callable[..., str]) -> None:
    """Each is named before anything is restored; the same command succeeds once they exist."""
    names = [role(name="reader"), role(name="Chief")]
    pair.source.execute(f'GRANT SELECT ON units TO {names[0]}; ALTER TYPE mood OWNER TO "{names[1]}"')
    source, target = Target(pair.source.dsn), Target(empty_database.dsn)
    with pytest.raises(Refused, match="lacks 2 roles that objects of the source name") as caught:
        move_tenant(source, pair.spec, "two", target, MoveOptions(init=True))
    assert all(name in str(caught.value) for name in names)
    assert empty_database.rows("SELECT to_regclass('units'), to_regnamespace('tenantry')") == [(None, None)]
    for name in names:
        empty_database.server.execute(f'CREATE ROLE "{name}"')
    move_tenant(source, pair.spec, "two", target, MoveOptions(init=True))
    pair.source.execute(f"REVOKE SELECT ON units FROM {names[0]}; ALTER TYPE mood OWNER TO postgres")
    empty_database.execute("ALTER TYPE mood OWNER TO postgres")
    for name in names:
        empty_database.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


def test_an_empty_target_without_init(pair: Pair, empty_database: Database) -> None:
    """The message is about the target, not about each entry of the spec."""
    for act in (preview_move, move_tenant):
        with pytest.raises(Refused, match="The target is not prepared for a move: tenantry has no journal") as caught:
            act(Target(pair.source.dsn), pair.spec, "two", Target(empty_database.dsn))
        assert "--init" in caught.value.remedy
