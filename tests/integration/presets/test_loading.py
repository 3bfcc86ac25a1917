"""What a preset is asked for, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from servers import Database
from tenantry.errors import Refused, UsageError
from tenantry.model.spec import Spec
from tenantry.presets import PRESETS, fault_kinds, load, schema, spec_path

TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


@pytest.mark.server
@pytest.mark.parametrize("preset", PRESETS)
def test_loads_on_every_version(database: Database, preset: str) -> None:
    with database.connect() as connection:
        load(connection, preset=preset, rows=500, faults="all")
    assert database.rows("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == [(0,)]
    never_analyzed = f"{TABLES} AND reltuples < 0"
    assert database.rows(never_analyzed) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_schema_can_be_made_without_rows(database: Database, new_database: Any, preset: str) -> None:
    filled = new_database()
    database.load(schema(preset))
    with filled.connect() as connection:
        load(connection, preset=preset, rows=10)
    assert database.dump() == filled.dump()


@pytest.mark.parametrize("preset", PRESETS)
def test_spec_names_every_table_and_constraint(database: Database, preset: str) -> None:
    database.load(schema(preset))
    spec = Spec.read(spec_path(preset))
    tables = {name for (name,) in database.rows(TABLES)}
    unique = {
        (table, name)
        for table, name in database.rows(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'u'"
        )
    }
    columns = {
        (table, column)
        for table, column in database.rows("""
            SELECT conrelid::regclass::text, attname FROM pg_constraint
            JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
            WHERE contype = 'f'
        """)
    }
    assert {part.name for part in spec.table} | {spec.tenant.table} == tables
    assert {(part.name, name) for part in spec.table for name in part.unique} <= unique
    assert {(part.name, path[0][0]) for part in spec.table for path in part.paths} <= columns
    assert {tuple(child.split(".")) for part in spec.table for child in part.children} <= columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "estoke"}, "the preset 'estoke' does not exist; did you mean \"estoque\"?"),
        ({"faults": ["orphan"]}, "the preset estoque has no fault 'orphan'; did you mean \"orphans\"?"),
        (
            {"preset": "enterprise", "faults": ["negativ-stock"]},
            "the preset enterprise has no fault 'negativ-stock'; did you mean \"negative-stock\"?",
        ),
        ({"rows": 0}, "the number of rows is 0; it must be at least 1"),
    ],
)
def test_wrong_wishes_are_named(database: Database, options: dict[str, Any], message: str) -> None:
    with database.connect() as connection, pytest.raises(UsageError) as caught:
        load(connection, **{"preset": "estoque", "rows": 10, **options})
    assert caught.value.message == message
    assert database.rows(TABLES) == []


@pytest.mark.parametrize("ask", [fault_kinds, schema, spec_path])
def test_unknown_preset_is_named_everywhere(ask: Any) -> None:
    with pytest.raises(UsageError, match="the preset 'estoke' does not exist"):
        ask("estoke")


@pytest.mark.parametrize("taken", ["TABLE escolas ()", "FUNCTION marca_ultima_atualizacao() RETURNS int RETURN 1"])
def test_what_is_there_is_left_alone(database: Database, taken: str) -> None:
    """Nothing is changed where a name of the preset is taken, be it only the last one made."""
    database.execute(f"CREATE {taken}")
    before = database.dump()
    with database.connect() as connection, pytest.raises(Refused, match="already exists"):
        load(connection, preset="estoque", rows=10)
    assert database.dump() == before


def test_loads_into_the_transaction_of_the_caller(database: Database) -> None:
    with database.connect(autocommit=False) as connection:
        connection.execute("SELECT 1")
        load(connection, preset="estoque", rows=10)
        connection.rollback()
    assert database.rows("SELECT to_regclass('escolas')") == [(None,)]
