"""What the catalog shows is enforced, or it is said that it is not; and what is said to be done about it does it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from checks.haulage import isolated_haulage, validated
from servers import Database, wait_until
from tenantry.errors import ExitStatus
from tenantry.model.finding import Finding, Severity

pytestmark = [pytest.mark.server, pytest.mark.differs("checks/sql/enforcement.sql")]
__all__ = ["isolated_haulage"]

REPLICA = """DO $$ DECLARE one text; BEGIN
  SELECT tgname INTO one FROM pg_trigger JOIN pg_constraint c ON c.oid = tgconstraint
    WHERE tgrelid = 'drivers'::regclass AND c.conname = 'drivers_plate_fkey' LIMIT 1;
  EXECUTE format('ALTER TABLE drivers ENABLE REPLICA TRIGGER %I', one); END $$"""


def of(database: Database, *names: str) -> list[Finding]:
    return [one for one in validated(database).findings if one.name in names]


@pytest.mark.parametrize(
    ("statement", "keys"),
    [
        ("ALTER TABLE drivers DISABLE TRIGGER ALL", {"drivers_plate_fkey"}),
        ("ALTER TABLE plates DISABLE TRIGGER ALL", {"drivers_plate_fkey", "plates_depot_fkey"}),
        (REPLICA, {"drivers_plate_fkey"}),
        (
            "ALTER TABLE trips_2025 DISABLE TRIGGER ALL",
            {"tenantry_trips_depot_fkey", "tenantry_trips_truck_fkey", "trips_depot_fkey", "trips_truck_fkey"},
        ),
    ],
    ids=["the children's", "the parents'", "for replicas alone", "a partition's"],
)  # fmt: skip
def test_keys_that_are_switched_off(isolated_haulage: Database, statement: str, keys: set[str]) -> None:
    """Each is an error, until the statements that are its remedy have run."""
    isolated_haulage.execute(statement)
    found = of(isolated_haulage, "foreign-key-disabled")
    assert {finding.message.split()[3] for finding in found} == keys
    assert {finding.severity for finding in found} == {Severity.ERROR}
    for finding in (*found, *of(isolated_haulage, "trigger-disabled")):
        isolated_haulage.execute(finding.remedy.removeprefix("As a superuser: ").removesuffix("."))
    assert of(isolated_haulage, "foreign-key-disabled", "trigger-disabled") == []


def test_keys_into_partitions(database: Database) -> None:
    """A key to a partitioned table looks at each partition from there."""
    database.execute("""
        CREATE TABLE firms (id int PRIMARY KEY, slug text UNIQUE);
        CREATE TABLE lots (id int PRIMARY KEY, firm int NOT NULL REFERENCES firms) PARTITION BY RANGE (id);
        CREATE TABLE lots_1 PARTITION OF lots FOR VALUES FROM (0) TO (9);
        CREATE TABLE moves (id int PRIMARY KEY, lot int NOT NULL REFERENCES lots);
        ALTER TABLE lots_1 DISABLE TRIGGER ALL;
    """)
    spec = '[tenant]\ntable = "firms"\n[[table]]\nname = "lots"\npaths = [["firm"]]\n[[table]]\nname = "moves"\npaths = [["lot"]]'
    found = [one for one in validated(database, spec).findings if one.name == "foreign-key-disabled"]
    assert {str(finding.table): finding.message.split()[3] for finding in found} == {
        "public.lots": "lots_firm_fkey", "public.moves": "moves_lot_fkey",
    }  # fmt: skip
    for finding in found:
        database.execute(finding.remedy.removeprefix("As a superuser: ").removesuffix("."))
    assert [one.name for one in validated(database, spec).findings if one.name == "foreign-key-disabled"] == []


def test_rows_that_came_in_meanwhile_are_counted(isolated_haulage: Database) -> None:
    isolated_haulage.execute("""
        ALTER TABLE plates DISABLE TRIGGER ALL; DELETE FROM plates WHERE plate IN ('p1', 'p2')
    """)
    verdict = validated(isolated_haulage)
    assert {(one.name, str(one.table), one.count) for one in verdict.findings} >= {
        ("foreign-key-disabled", "public.drivers", 2),
        ("dangling-reference", "public.drivers", 2),
    }
    assert verdict.exit_status is ExitStatus.FINDINGS


def test_triggers_of_ours_that_do_not_always_fire(isolated_haulage: Database) -> None:
    """What turns on all that was turned off takes ALWAYS from them."""
    isolated_haulage.execute("ALTER TABLE drivers DISABLE TRIGGER ALL; ALTER TABLE drivers ENABLE TRIGGER ALL")
    assert [
        (one.name, str(one.table)) for one in validated(isolated_haulage).findings if one.severity is Severity.ERROR
    ] == [("not-in-force", "public.drivers")]


@pytest.mark.pg(">= 18")
def test_a_key_of_the_users_that_is_not_enforced(isolated_haulage: Database) -> None:
    """What would validate it is not said of it: that is refused."""
    isolated_haulage.execute("""
        ALTER TABLE plates ADD country text REFERENCES countries NOT ENFORCED;
        ALTER TABLE drivers ALTER CONSTRAINT drivers_plate_fkey NOT ENFORCED
    """)
    found = of(isolated_haulage, "foreign-key-not-enforced", "foreign-key-not-valid")
    assert {(one.name, one.severity, str(one.table)) for one in found} == {
        ("foreign-key-not-enforced", Severity.WARNING, f"public.{table}") for table in ("plates", "drivers")
    }
    for finding in found:
        isolated_haulage.execute(finding.remedy.removesuffix("."))
    assert of(isolated_haulage, "foreign-key-not-enforced", "foreign-key-not-valid") == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER ROLE {role} SET session_replication_role = replica",
        "ALTER ROLE {role} IN DATABASE {database} SET session_replication_role = 'REPLICA'",
        "ALTER DATABASE {database} SET session_replication_role = replica",
        "CREATE FUNCTION quiet() RETURNS int LANGUAGE sql SET session_replication_role = replica AS 'SELECT 1'",
    ],
    ids=["a role", "a role here", "the database", "a function"],
)
def test_sessions_that_look_at_no_key(isolated_haulage: Database, role: Callable[..., str], statement: str) -> None:
    isolated_haulage.execute(statement.format(role=role(name="loader"), database=isolated_haulage.name))
    (finding,) = of(isolated_haulage, "triggers-switched-off")
    assert finding.severity is Severity.ERROR
    isolated_haulage.execute(finding.remedy.removesuffix("."))
    assert of(isolated_haulage, "triggers-switched-off") == []


def test_sessions_of_other_databases_are_not_ours(isolated_haulage: Database, role: Callable[..., str]) -> None:
    """Nor is a role that says what all do."""
    loader = role(name="loader")
    isolated_haulage.execute(
        f"ALTER ROLE {loader} IN DATABASE postgres SET session_replication_role = replica;"
        f" ALTER ROLE {loader} SET session_replication_role = local"
    )
    assert of(isolated_haulage, "triggers-switched-off") == []


def test_a_server_that_looks_at_no_key(isolated_haulage: Database) -> None:
    current = "SELECT setting FROM pg_settings WHERE name = 'session_replication_role'"
    server = isolated_haulage.server
    try:
        server.execute("ALTER SYSTEM SET session_replication_role = replica")
        server.execute("SELECT pg_reload_conf()")
        wait_until(lambda: isolated_haulage.rows(current) == [("replica",)])
        (finding,) = of(isolated_haulage, "triggers-switched-off")
        assert "ALTER SYSTEM RESET" in finding.remedy
    finally:
        server.execute("ALTER SYSTEM RESET session_replication_role")
        server.execute("SELECT pg_reload_conf()")
        wait_until(lambda: isolated_haulage.rows(current) == [("origin",)])
    assert of(isolated_haulage, "triggers-switched-off") == []
