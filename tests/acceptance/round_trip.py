"""A migration there and back, and what is compared: the dump, and each table's rows."""

from __future__ import annotations

import pytest
from psycopg import sql

from acceptance.distributed import refused_by_citus
from acceptance.general_writers import Writers
from operator_runs import Operating, assert_no_superuser, operated
from servers import Database, wait_until
from tenantry import MigrateOptions, RollbackOptions, migrate, plan, rollback, validate
from tenantry.errors import ExitStatus
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target


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


class Further:
    """Whether the round trips until contract go on to the phase distribute, and whether eight writers are at work
    meanwhile: a fixture sets it."""

    wanted = False
    writers = False


REFUSALS = {
    "inheritance", "generated", "exclusion", "shared-reference", "outside-reference", "membership",
    "view-on-key", "restrictive-policy", "permissive-policy", "policy-subquery", "mixed-reference", "invalid-index",
}  # fmt: skip
"""What the phase distribute refuses of the databases here."""


def _distribute(target: Target, spec: Spec) -> None:
    """The phase distribute, unless it is refused for what a database has."""
    found = plan(target, spec, until=Phase.DISTRIBUTE).findings
    refused = {one.name.removeprefix("distribute-refuses-") for one in found if one.refuses and not one.forcible}
    print("distribute is refused for:" if refused else "distribute is not refused", *sorted(refused))
    if refused:
        assert refused <= REFUSALS
        return
    options = MigrateOptions(until=Phase.DISTRIBUTE, prepare=True, force=True)
    migrate(target, spec, options)
    assert migrate(target, spec, options).applied == 0
    assert refused_by_citus(target, spec) == set()
    assert [one for one in validate(target, spec).findings if one.name in ("not-in-force", "altered")] == []


def _with_writers(database: Database, target: Target, spec: Spec) -> None:
    """The phase distribute and the whole way back while eight writers are at work, where rows can be copied at all."""
    writers = Writers.on(database, spec)
    if not writers.work:
        pytest.skip("no row can be copied here")
    with writers:
        wait_until(lambda: writers.written["rows"] > 20 or writers.failures)
        _distribute(target, spec)
        written = writers.written["rows"]
        wait_until(lambda: writers.written["rows"] > written + 20 or writers.failures)
        writers.going_back.set()
        rollback(target, RollbackOptions())
    assert writers.failures[:20] == []
    print(f"{dict(writers.written)}, the longest took {writers.longest:.2f} s ({writers.slowest})")
    assert writers.longest < 2.0 + 1.5
    writers.remove()


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
    if Further.writers and until is Phase.CONTRACT:
        _with_writers(database, target, spec)
    else:
        if Further.wanted and until is Phase.CONTRACT:
            _distribute(target, spec)
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
