"""There and back: the schema dump is byte for byte what it was, and so is every value of the user's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from daily import daily, nightly
from operating import Operating, assert_no_superuser, operated
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, discover, migrate, rollback, validate
from tenantry.discovery.proposal import Undecided
from tenantry.errors import ExitStatus
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import PRESETS, load, spec_path

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
    return dict(
        database.rows(
            "SELECT c.oid::regclass::text, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text"
            " NOT IN ('pg_catalog', 'information_schema', 'tenantry') GROUP BY 1"
        )
    )


def discovered(database: Database, role: str, tenant_table: str | None = None, default: str | None = None) -> Spec:
    """The spec that discover proposes, tables that no path reaches being the default tenant's.

    `default` is the tenant that a person names where the tenant table is too special for a new row.
    """
    found = discover(Target(database.dsn), tenant_table=tenant_table, undecided=Undecided.DEFAULT)
    text = found.text if default is None else found.text.replace('"default"', f'"{default}"')
    spec = Spec.parse(text)
    assert not [table.name for table in spec.table if table.undecided], found.text
    application = spec.application.model_copy(update={"role": role})
    return spec.model_copy(update={"application": application})


def there_and_back(
    database: Database, spec: Spec, until: Phase = Phase.CONTRACT, *, force: bool = False, valid: bool = False
) -> None:
    """Migrate, migrate again, validate if it is to be `valid`, and roll back."""
    target = operated(database, spec)
    dump, names, rows = database.dump(), columns(database), checksums(database)
    migrate(target, spec, MigrateOptions(until=until, force=force))
    again = migrate(target, spec, MigrateOptions(until=until, force=force))
    assert again.applied == 0, "a second run finds everything in force"
    if valid:
        assert validate(target, spec).exit_status is ExitStatus.DONE
    there = checksums(database, names)
    tenants = Name.parse(spec.tenant.table, schema=spec.schemas[0]).name
    assert {table: there[table] for table in rows if tenants not in table} == {
        table: row for table, row in rows.items() if tenants not in table
    }
    rollback(target, RollbackOptions())
    assert database.dump() == dump
    assert checksums(database) == rows
    if Operating.wanted:
        assert_no_superuser(database)


def _load(database: Database, preset: str) -> None:
    with database.connect() as connection:
        load(connection, preset=preset, rows=2000, seed=1)


WHOLE = pytest.param(Phase.CONTRACT, marks=pytest.mark.differs)


@pytest.mark.parametrize("until", daily([WHOLE, Phase.ENFORCE, Phase.EXPAND, Phase.BACKFILL, Phase.ISOLATE]))
@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str, until: Phase, template: Callable[..., Database], role: Callable[..., str]) -> None:
    """Each preset comes back from every phase."""

    database = template(f"preset {preset}", lambda database: _load(database, preset))
    spec = Spec.read(spec_path(preset))
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    there_and_back(database, spec.model_copy(update={"application": application}), until, valid=until is Phase.CONTRACT)


REAL = {
    "northwind": ("northwind", None, None),
    "chinook": ("chinook", None, None),
    "chinook by employee": ("chinook", "employee", "2"),
    "adventureworks": ("adventureworks", None, None),
    "adventureworks by territory": ("adventureworks", "sales.salesterritory", "Northwest"),
}


DAILY = ("northwind", "chinook by employee", "adventureworks by territory")


@pytest.mark.parametrize("name", [name if name in DAILY else nightly(name) for name in REAL])
def test_real_databases(name: str, realdb: Callable[[str], Database], role: Callable[..., str]) -> None:
    """discover, migrate, rollback: real databases come back."""
    source, tenant_table, default = REAL[name]
    database = realdb(source)
    if tenant_table == "sales.salesterritory":
        database.execute(
            "INSERT INTO person.countryregion (countryregioncode, name) VALUES ('US', 'United States');"
            "INSERT INTO sales.salesterritory (name, countryregioncode, \"group\") VALUES ('Northwest', 'US', 'America')"
        )
    spec = discovered(database, role(create=False, name="app"), tenant_table, default)
    there_and_back(database, spec, force=True)


def test_discovered_estoque(template: Callable[..., Database], role: Callable[..., str]) -> None:
    """The proposal for the preset's database works as it stands."""
    database = template("preset estoque", lambda database: _load(database, "estoque"))
    there_and_back(database, discovered(database, role(create=False, name="app")))
