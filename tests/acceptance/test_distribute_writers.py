"""Eight writers of any schema through the phase distribute and back, and isolation attempts in between."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from acceptance.distributed import business, distributed
from acceptance.distributed_variants import VARIANTS
from acceptance.general_writers import Writers, assert_within_tenants
from acceptance.isolation_attempts import Attempts
from acceptance.round_trip import checksums
from daily import daily
from servers import Database, wait_until
from tenantry import MigrateOptions, RollbackOptions, discover, migrate, rollback
from tenantry.discovery.proposal import Undecided
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import PRESETS

pytestmark = pytest.mark.server
CONTRACT = MigrateOptions(until=Phase.CONTRACT, force=True, backup=BackupKind.NONE)
DISTRIBUTE = MigrateOptions(until=Phase.DISTRIBUTE, prepare=True, force=True, backup=BackupKind.NONE)
SMALL = (
    "a cycle", "self references", "several paths, and several keys on the same columns", "MATCH FULL", "deferrable keys",
    "the tenant in keys of the user's", "a table of one row per tenant", "two keys for the same columns",
    "a mixed table whose tenant has a default", "shared tables with everything",
)  # fmt: skip
SENTINELS = ("00000000-0000-0000-0000-000000000000", "0")


def sentinel(database: Database) -> str | None:
    found = database.rows("SELECT 1 FROM tenantry.steps WHERE key LIKE 'sentinel_row:%' AND state = 'done'")
    if not found:
        return None
    kinds = database.rows("SELECT key FROM tenantry.steps WHERE key LIKE 'sentinel_row:%'")
    table = kinds[0][0].partition(":")[2]
    return str(database.rows(f"SELECT id::text FROM {table} WHERE id::text = ANY (%s)", [list(SENTINELS)])[0][0])


def through(database: Database, spec: Spec, *, attempts: bool = True) -> None:
    target, dump, rows = Target(database.dsn), database.dump(), checksums(database)
    migrate(target, spec, CONTRACT)
    writers, tables = Writers.on(database, spec), distributed(target, spec)
    print(f"{len(writers.work)} rows of {len({one.table for one, *_ in writers.work})} of {len(tables.columns)} tables are"
          f" copied; {len(writers.crossings)} copies would cross")  # fmt: skip
    assert writers.work
    with writers:
        wait_until(lambda: writers.written["rows"] > 20 or writers.failures)
        migrate(target, spec, DISTRIBUTE)
        assert assert_within_tenants(database, tables, spec) > 0
        refused, written = writers.written["refused"], writers.written["rows"]
        wait_until(lambda: writers.written["rows"] > written + 20 or writers.failures)
        written = writers.written["rows"]
        writers.going_back.set()
        rollback(target, RollbackOptions())
    print(f"{dict(writers.written)}, the longest took {writers.longest:.2f} s ({writers.slowest})")
    assert writers.failures[:20] == []
    assert writers.written["rows"] > written
    assert refused > 0 or not writers.crossings
    assert writers.longest < 2.0 + 1.5
    writers.remove()
    assert database.dump() == dump
    assert checksums(database) == rows
    if attempts:
        migrate(target, spec, DISTRIBUTE)
        tried = Attempts(database, spec, sentinel(database)).all()
        print(f"{tried} times a tenant saw its own rows")
        assert tried > 0


@pytest.mark.parametrize("name", daily(SMALL))
def test_small_schemas(name: str, database: Database, role: Callable[..., str]) -> None:
    variant = VARIANTS[name]
    variant.build(database)
    through(database, variant.spec(role(create=False, name="app")))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.nightly
def test_presets(preset: str, template: Callable[..., Database], role: Callable[..., str]) -> None:
    through(*business(preset, template, role))


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["northwind", "adventureworks"])
def test_real_databases(name: str, realdb: Callable[[str], Database], role: Callable[..., str]) -> None:
    """As discover proposes them."""
    database = realdb(name)
    spec = Spec.parse(discover(Target(database.dsn), undecided=Undecided.DEFAULT).text)
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    through(database, spec.model_copy(update={"application": application}))
