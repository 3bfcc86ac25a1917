"""There and back: the schema dump is byte for byte what it was, and so is every value of the user's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from servers import Database
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind, Ours
from tenantry.model.spec import Spec
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import Target, connect
from tenantry.presets import PRESETS, load, spec_path
from tenantry.workflow import MigrateOptions, RollbackOptions, migrate, rollback

pytestmark = pytest.mark.server


def checksums(database: Database, columns: dict[str, list[str]] | None = None) -> dict[str, tuple[int, str]]:
    """Per table the number of rows and a checksum of the user's columns, whatever the order of the rows."""
    found = {}
    with database.connect() as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text"
            " NOT IN ('pg_catalog', 'information_schema', 'tenantry') GROUP BY 1"
        ).fetchall()
        for table, names in tables:
            row = sql.SQL("ROW({})::text").format(
                sql.SQL(", ").join(map(sql.Identifier, (columns or {}).get(table, names)))
            )
            query = sql.SQL(
                "SELECT count(*), coalesce(sum(('x' || substr(md5({}), 1, 15))::bit(60)::bigint), 0)::text FROM {}"
            ).format(row, sql.SQL(table))
            found[table] = connection.execute(query).fetchone()
    return found


def columns(database: Database) -> dict[str, list[str]]:
    return {
        table: names
        for table, names in database.rows(
            "SELECT c.oid::regclass::text, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text"
            " NOT IN ('pg_catalog', 'information_schema', 'tenantry') GROUP BY 1"
        )
    }


def everything_default(database: Database, role: str) -> Spec:
    """A spec that gives every row of every table to one default tenant."""
    with connect(Target(database.dsn), purpose="test") as connection:
        schema = read_schema(connection, ("*",), ours=Ours())
    schemas = list(schema.schemas)
    tables = [
        f'[[table]]\nname = {str(table.name)!r}\nassign = {{ tenant = "default" }}'
        for table in schema.tables.values()
        if table.kind is not Kind.FOREIGN and table.partition_of is None and not table.inherits
    ]
    head = f'schemas = {schemas}\n[tenant]\ntable = "public.tenantry_tenants"\ncreate = true\ndefault = "default"\n[application]\nrole = "{role}"\n'
    return Spec.parse(head + "\n".join(tables))


def there_and_back(
    database: Database, spec: Spec, until: Phase = Phase.CONTRACT, *, force: bool = False
) -> None:
    dump, names, rows = database.dump(), columns(database), checksums(database)
    target = Target(database.dsn)
    migrate(target, spec, MigrateOptions(until=until, force=force))
    again = migrate(target, spec, MigrateOptions(until=until, force=force))
    assert again.applied == 0, "a second run finds everything in force"
    there = checksums(database, names)
    tenants = Name.parse(spec.tenant.table, schema=spec.schemas[0]).name
    assert {table: there[table] for table in rows if tenants not in table} == {
        table: row for table, row in rows.items() if tenants not in table
    }
    rollback(target, RollbackOptions())
    assert database.dump() == dump
    assert checksums(database) == rows


@pytest.mark.parametrize("until", list(Phase))
@pytest.mark.parametrize("preset", PRESETS)
def test_presets(
    preset: str, until: Phase, template: Callable[..., Database], role: Callable[..., str]
) -> None:
    """Each preset comes back from every phase."""

    def build(database: Database) -> None:
        with database.connect() as connection:
            load(connection, preset=preset, rows=2000, seed=1)

    database = template(f"preset {preset}", build)
    spec = Spec.read(spec_path(preset))
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    there_and_back(database, spec.model_copy(update={"application": application}), until)


@pytest.mark.parametrize("name", ["northwind", "chinook", "adventureworks"])
def test_real_databases(name: str, realdb: Callable[[str], Database], role: Callable[..., str]) -> None:
    """Real databases come back, all rows having been one default tenant's."""
    database = realdb(name)
    there_and_back(database, everything_default(database, role(create=False, name="app")), force=True)
