"""Unique constraints and indexes of partitioned tables become per-tenant, and come back."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from daily import daily
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import ExitStatus, TenantryError, UsageError
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

SCHEMA = """
CREATE TABLE firms (id int PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO firms VALUES (1, 'north'), (2, 'south');
CREATE TABLE ports (id int PRIMARY KEY, firm_id int REFERENCES firms);
INSERT INTO ports VALUES (1, 1), (2, 2);
CREATE TABLE trips (
  id int, day date NOT NULL, port_id int REFERENCES ports, code text, PRIMARY KEY (id, day),
  CONSTRAINT code UNIQUE (code, day) DEFERRABLE
) PARTITION BY RANGE (day);
CREATE TABLE trips_a PARTITION OF trips FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY RANGE (day);
CREATE TABLE trips_a1 PARTITION OF trips_a FOR VALUES FROM ('2025-01-01') TO ('2025-07-01');
CREATE TABLE trips_a2 PARTITION OF trips_a DEFAULT;
CREATE TABLE trips_b PARTITION OF trips DEFAULT;
CREATE UNIQUE INDEX lowered ON trips (lower(code), day) INCLUDE (id) WITH (fillfactor = 80) WHERE code <> '';
COMMENT ON CONSTRAINT code ON trips IS 'the code of a trip';
COMMENT ON INDEX lowered IS 'in whatever case';
ALTER INDEX trips_a1_code_day_key RENAME TO "Of A 1";
COMMENT ON INDEX "Of A 1" IS 'the first half';
ALTER TABLE trips_a2 CLUSTER ON trips_a2_code_day_key;
"""
ROWS = "INSERT INTO trips SELECT n, '2025-01-01'::date + n, {port}, 'c' || n FROM generate_series(1, 600) n;"
SPEC = """
[tenant]
table = "firms"
column = "firm_id"
[application]
role = "{role}"
[[table]]
name = "ports"
paths = [["firm_id"]]
{orphans}
[[table]]
name = "trips"
paths = [["port_id"]]
unique = {unique}
{orphans}
"""


UNIQUE = [["code", "lowered"], ["code"], ["lowered"]]


def business(database: Database, role: Callable[..., str], unique: list[str], *, mixed: bool) -> Spec:
    database.execute(SCHEMA)
    port = "1 + n % 2"
    database.execute(ROWS.format(port=f"CASE WHEN n % 5 > 0 THEN {port} END" if mixed else port))
    if not mixed:
        database.execute("ALTER TABLE trips ALTER port_id SET NOT NULL; ALTER TABLE ports ALTER firm_id SET NOT NULL")
    return Spec.parse(
        SPEC.format(
            role=role(create=False, name="app"), unique=str(unique).replace("'", '"'),
            orphans='orphans = "shared"' if mixed else "",
        )
    )  # fmt: skip


def migrated(database: Database, spec: Spec, until: Phase) -> None:
    options = MigrateOptions(until=until, backup=None, prepare=until is Phase.DISTRIBUTE)
    assert migrate(Target(database.dsn), spec, options).exit_status is ExitStatus.DONE


def rolled_back(database: Database) -> None:
    assert rollback(Target(database.dsn), RollbackOptions()).exit_status is ExitStatus.DONE


def allowed(database: Database, *statements: str) -> bool:
    """Whether the statements can be executed together; they change nothing."""
    with database.connect() as connection, connection.transaction(force_rollback=True):
        try:
            for statement in statements:
                connection.execute(statement)
        except psycopg.errors.UniqueViolation:
            return False
    return True


def same_code(*owners: int | None, second: str = "same") -> tuple[str, ...]:
    """Two rows of these tenants, or of all, with the same code, or one that differs in case."""
    return tuple(
        f"INSERT INTO trips (id, day, code) VALUES ({number}, '2025-02-02', '{code}')"
        if owner is None
        else "INSERT INTO trips (id, day, code, port_id, firm_id)"
        f" VALUES ({number}, '2025-02-02', '{code}', {owner}, {owner})"
        for number, owner, code in zip((901, 902), owners, ("same", second), strict=True)
    )


@pytest.mark.parametrize("unique", daily(UNIQUE), ids=" and ".join)
@pytest.mark.parametrize("mixed", daily([True, False]), ids=["mixed", "owned"])
@pytest.mark.parametrize("until", daily([Phase.CONTRACT, Phase.DISTRIBUTE, Phase.ISOLATE], 2), ids=str)
def test_there_and_back(
    database: Database, role: Callable[..., str], unique: list[str], mixed: bool, until: Phase
) -> None:
    """The dump is that of before. From contract on, and for every key from distribute on, two tenants may use the same
    code; nobody may twice."""
    spec = business(database, role, unique, mixed=mixed)
    dump = database.dump()
    migrated(database, spec, until)
    per_tenant = until is Phase.DISTRIBUTE or (until is Phase.CONTRACT and len(unique) == 2)
    assert [allowed(database, *same_code(*owners)) for owners in ((1, 1), (1, 2))] == [False, per_tenant]
    assert not allowed(database, *same_code(1, 1, second="SAME"))
    if mixed:
        assert not allowed(database, *same_code(None, None))
        assert not allowed(database, *same_code(None, None, second="SAME"))
    rolled_back(database)
    assert database.dump() == dump


@pytest.mark.parametrize("mixed", daily([True, False]), ids=["mixed", "owned"])
@pytest.mark.parametrize("until", [Phase.CONTRACT, Phase.DISTRIBUTE], ids=str)
def test_partitions_come_and_go(
    database: Database, new_database: Callable[..., Database], role: Callable[..., str], mixed: bool, until: Phase
) -> None:
    """One that was added since gets its part of the restored index, and one that was detached has its own again."""
    spec = business(database, role, ["code", "lowered"], mixed=mixed)
    change = (
        "CREATE TABLE trips_27 PARTITION OF trips FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');"
        "ALTER TABLE trips DETACH PARTITION trips_a; ALTER TABLE trips_a DETACH PARTITION trips_a2"
    )
    unchanged = new_database()
    business(unchanged, role, [], mixed=mixed)
    unchanged.execute(change)
    migrated(database, spec, until)
    database.execute(change)
    # It names the changes of others.
    assert rollback(Target(database.dsn), RollbackOptions()).exit_status is ExitStatus.FINDINGS
    # The name that PostgreSQL gives a new partition's index was taken by that of an index of tenantry.
    assert database.dump().replace("_idx1", "_idx") == unchanged.dump()


@pytest.mark.parametrize("partitioned", daily([True, False]), ids=["partitioned", "plain"])
@pytest.mark.parametrize("until", [Phase.CONTRACT, Phase.DISTRIBUTE], ids=str)
def test_renamed_meanwhile(
    database: Database, new_database: Callable[..., Database], role: Callable[..., str], partitioned: bool, until: Phase
) -> None:
    """The indexes come back with the present names of columns, tables and partitions, also where they have more than
    columns in them."""
    change = 'ALTER TABLE trips RENAME code TO "Code, new"; ALTER TABLE trips RENAME day TO "on"; ALTER TABLE trips RENAME TO tours;'
    if partitioned:
        change += 'ALTER TABLE trips_a1 RENAME TO "Of tours"'
    unchanged = new_database()
    for one in (database, unchanged):
        spec = business(one, role, ["code", "lowered"], mixed=True)
        if not partitioned:
            one.execute(
                "CREATE TABLE plain (LIKE trips); INSERT INTO plain SELECT * FROM trips; DROP TABLE trips;"
                "ALTER TABLE plain RENAME TO trips; ALTER TABLE trips ADD PRIMARY KEY (id, day),"
                " ADD FOREIGN KEY (port_id) REFERENCES ports, ADD CONSTRAINT code UNIQUE (code, day) DEFERRABLE;"
                "CREATE UNIQUE INDEX lowered ON trips (lower(code), day) INCLUDE (id) WHERE code <> ''"
            )
    unchanged.execute(change)
    migrated(database, spec, until)
    database.execute(change)
    assert rollback(Target(database.dsn), RollbackOptions()).exit_status is ExitStatus.DONE
    assert database.dump() == unchanged.dump()


@pytest.mark.parametrize("mixed", daily([True, False]), ids=["mixed", "owned"])
def test_replica_identity_of_a_partition(database: Database, role: Callable[..., str], mixed: bool) -> None:
    """Updates of a published table go on in each phase."""
    spec = business(database, role, ["code"], mixed=mixed)
    database.execute(
        "DROP INDEX lowered; ALTER TABLE trips DROP CONSTRAINT trips_pkey; ALTER TABLE trips ALTER code SET NOT NULL;"
        "ALTER TABLE trips DROP CONSTRAINT code; CREATE UNIQUE INDEX code ON trips (code, day);"
        "ALTER TABLE trips_a1 REPLICA IDENTITY USING INDEX trips_a1_code_day_idx;"
        "CREATE PUBLICATION first_half FOR TABLE trips_a1"
    )
    dump = database.dump()
    migrated(database, spec, Phase.CONTRACT)
    assert allowed(database, "UPDATE trips SET code = code || '!'", "DELETE FROM trips WHERE day < '2025-02-02'")
    rolled_back(database)
    assert allowed(database, "UPDATE trips SET code = code || '!'", "DELETE FROM trips WHERE day < '2025-02-02'")
    assert database.dump() == dump


def test_a_key_that_refers_to_a_part(database: Database, role: Callable[..., str]) -> None:
    """A foreign key can depend on a partition's part alone: refused before anything is changed."""
    spec = business(database, role, ["lowered", "code"], mixed=False)
    database.execute(
        "ALTER TABLE trips DROP CONSTRAINT code; ALTER TABLE trips ADD CONSTRAINT code UNIQUE (code, day);"
        "CREATE TABLE notes (code text, day date, FOREIGN KEY (code, day) REFERENCES trips_a2 (code, day))"
    )
    with pytest.raises(UsageError, match=r"depends on trips_a2_code_day_key of public\.trips_a2"):
        migrated(database, spec, Phase.CONTRACT)


def test_an_index_that_lacks_parts(database: Database, role: Callable[..., str]) -> None:
    """It holds for no row yet, so that it could not come back as it was."""
    spec = business(database, role, ["lowered", "half"], mixed=False)
    database.execute("CREATE UNIQUE INDEX half ON ONLY trips (code, day, id)")
    with pytest.raises(UsageError, match="half is not valid"):
        migrated(database, spec, Phase.CONTRACT)


def test_behind_a_lock(database: Database, role: Callable[..., str]) -> None:
    """A rollback that gives up while some partitions have their index again is run again."""
    spec = business(database, role, ["code", "lowered"], mixed=True)
    dump = database.dump()
    migrated(database, spec, Phase.CONTRACT)
    there = (
        "SELECT (SELECT count(*) FROM unnest(%s::text[]) AS one(name) WHERE to_regclass(name) IS NOT NULL),"
        " EXISTS (SELECT FROM pg_constraint WHERE conname = 'code')"
    )
    names = [["trips_a2_lower_day_id_idx", '"Of A 1"', "trips_b_code_day_key"]]
    assert database.rows(there, names) == [(0, False)]
    with database.connect() as holder:
        holder.execute("LOCK TABLE trips_b IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(TenantryError):
            rollback(Target(database.dsn), RollbackOptions(lock_timeout=0.1, lock_budget=0.5))
    assert database.rows(there, names) == [(1, False)]
    rolled_back(database)
    assert database.dump() == dump
