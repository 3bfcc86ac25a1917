"""Distribute, on plain PostgreSQL, with partitioned tables: the form that a distributed engine asks for, and exactly
back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import psycopg
import pytest

from acceptance.distributed import DISTRIBUTE, Depot, assert_back, assert_sound, refused_by_citus
from acceptance.kill_targets import Subject
from acceptance.round_trip import checksums
from servers import Database
from stronger_locks import unnamed_locks
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import ExitStatus, Refused
from tenantry.execution.events import Event, StepEvent
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server
CONTRACT = MigrateOptions(until=Phase.CONTRACT, force=True, backup=BackupKind.NONE)


@pytest.mark.differs
def test_there_and_back(fleet: Depot) -> None:
    """Three levels, a default partition, one without partitions, another order of columns; keys, indexes and triggers
    of all and of one; names, comments, marks and storage parameters."""
    dump, rows = fleet.database.dump(), checksums(fleet.database)
    fleet.distribute()
    assert migrate(fleet.target, fleet.spec, DISTRIBUTE).applied == 0, "a second run finds everything in force"
    assert refused_by_citus(fleet.target, fleet.spec) == set()
    assert_sound(fleet, fleet.spec)
    doubled = """
      SELECT indrelid::regclass::text, array_agg(indexrelid::regclass::text) FROM pg_index WHERE indisunique AND indrelid >= 16384
      GROUP BY indrelid, (SELECT array_agg(k ORDER BY k) FROM unnest(indkey::int2[]) k), indpred::text, indexprs::text
      HAVING count(*) > 1"""
    assert fleet.database.rows(doubled) == [], "no index is kept twice"
    assert_back(fleet, dump)
    assert checksums(fleet.database) == rows


def test_no_lock_but_those_taken_ahead(fleet: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """On any partition, there and back."""
    more = unnamed_locks(monkeypatch)
    fleet.distribute()
    rollback(fleet.target, RollbackOptions())
    assert more == set()


def test_two_tenants_may_use_one_id_and_then_there_is_no_way_back(fleet: Depot) -> None:
    fleet.distribute()
    fleet.database.execute("INSERT INTO trips (firm_id, id, day, port_id) VALUES (1, 6, '2024-12-07', 2)")
    with pytest.raises(Refused) as refusal:
        rollback(fleet.target, RollbackOptions())
    assert "Trips, all" in str(refusal.value)
    assert "(6,2024-12-07)" in str(refusal.value)


def test_rows_keep_to_their_tenant(fleet: Depot) -> None:
    """From partitioned tables and to them, in old partitions and in a new one."""
    fleet.distribute()
    fleet.database.execute("CREATE TABLE trips_27 PARTITION OF trips FOR VALUES FROM ('2027-10-01') TO ('2027-11-01')")
    for statement in (
        "INSERT INTO trips (firm_id, id, day, port_id) VALUES (1, 5000, '2025-05-01', 1)",
        "INSERT INTO trips (firm_id, id, day, port_id) VALUES (1, 5000, '2027-10-05', 1)",
        "INSERT INTO trips (firm_id, id, day, port_id, carrier) VALUES (1, 5000, '2027-10-05', 2, 'a bike')",
        "INSERT INTO loads (firm_id, trip_id, trip_day) VALUES (1, 6, '2024-12-07')",
        "INSERT INTO events (firm_id, load_id, at, trip_id, trip_day) SELECT firm_id, id, 9, 5000, '2024-12-07' FROM loads LIMIT 1",
    ):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            fleet.database.execute(statement)


class Writing:
    """Writers that name each row's tenant, and one that tries to refer to another tenant's trip all the time."""

    def __init__(self, fleet: Depot) -> None:
        self.fleet, self.stop = fleet, threading.Event()
        self.written, self.refused, self.longest = 0, 0, 0.0
        self.failures: list[str] = []
        self.going_back = False

    def write(self, number: int) -> None:
        with self.fleet.database.connect() as connection:
            for at in count(number * 1_000_000):
                # Eight leave the phase a processor.
                if self.stop.wait(0.02):
                    return
                began, values = time.monotonic(), {"at": at, "days": at % 800, "port": 1 + at % 6}
                values["firm"] = 1 + values["port"] % 2
                try:
                    with connection.transaction():
                        connection.execute(
                            "WITH trip AS (INSERT INTO trips (firm_id, id, day, port_id, code)"
                            " VALUES (%(firm)s, %(at)s, date '2024-12-01' + %(days)s, %(port)s, 'new ' || %(at)s)"
                            " RETURNING id, day), load AS (INSERT INTO loads (firm_id, trip_id, trip_day)"
                            " SELECT %(firm)s, id, day FROM trip RETURNING id)"
                            " INSERT INTO events (firm_id, load_id, at, trip_id, trip_day)"
                            " SELECT %(firm)s, load.id, 1, trip.id, trip.day FROM load, trip", values,
                        )  # fmt: skip
                        connection.execute("UPDATE trips SET note = 'x' || id WHERE id = %(at)s", values)
                        self.written += 1
                except psycopg.Error as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                self.longest = max(self.longest, time.monotonic() - began)

    def cross(self) -> None:
        """Never let through. It ends the writers once nothing of the phase is applied any more."""
        insert = "INSERT INTO loads (firm_id, trip_id, trip_day) VALUES (1, 6, '2024-12-07')"
        with self.fleet.database.connect() as connection:
            # With pauses: it takes the locks of both tables in another order than the writers, who are eight.
            while not self.stop.wait(0.01):
                try:
                    with connection.transaction(force_rollback=True):
                        connection.execute(insert)
                        self.failures.append("a row refers to another tenant's")
                except psycopg.errors.ForeignKeyViolation:
                    self.refused += 1
                left = connection.execute("SELECT count(*) FROM tenantry.steps WHERE phase = 'distribute'").fetchone()
                connection.commit()
                if self.going_back and left == (0,):
                    self.stop.set()


def test_writers_go_on_and_no_row_refers_to_another_tenants(fleet: Depot) -> None:
    """Through the phase and back: no statement fails, none waits longer than locks are waited for."""
    dump = fleet.database.dump()
    migrate(fleet.target, fleet.spec, CONTRACT)
    writing = Writing(fleet)
    with ThreadPoolExecutor(9) as threads:
        running = [threads.submit(writing.write, number) for number in range(1, 9)] + [threads.submit(writing.cross)]
        try:
            fleet.distribute()
            written, writing.going_back = writing.written, True
            rollback(fleet.target, RollbackOptions())
        finally:
            writing.stop.set()
        for one in running:
            one.result()
    print(f"{writing.written} written, {writing.refused} refused, the longest took {writing.longest:.3f} s")
    assert writing.failures == []
    assert min(written, writing.written - written, writing.refused) > 0
    assert writing.longest < 2.0 + 1.0
    assert fleet.database.dump() == dump


@pytest.mark.nightly
def test_as_the_owner(subject: Callable[..., Subject]) -> None:
    """Who is no superuser, and is held to the policies that it makes."""
    one = subject("fleet", owned=True)
    one.killing.complete("migrate")
    one.killing.complete("rollback")
    one.assert_original()


@pytest.mark.nightly
def test_many_partitions(database: Database, role: Callable[..., str]) -> None:
    """Two hundred: one transaction replaces a key on all of them."""
    database.execute("""
      CREATE TABLE firms (id int PRIMARY KEY, slug text NOT NULL UNIQUE); INSERT INTO firms VALUES (1, 'a'), (2, 'b');
      CREATE TABLE trips (id int, day int, firm_id int NOT NULL REFERENCES firms, code text, PRIMARY KEY (id, day), UNIQUE (code, day))
        PARTITION BY LIST (day);
      DO $$ BEGIN FOR n IN 1..200 LOOP
        EXECUTE format('CREATE TABLE trips_%s PARTITION OF trips FOR VALUES IN (%s)', n, n);
      END LOOP; END $$;
      CREATE TABLE loads (id int PRIMARY KEY, trip int, day int, FOREIGN KEY (trip, day) REFERENCES trips);
      INSERT INTO trips SELECT n, 1 + n % 200, 1 + n % 2, n FROM generate_series(1, 4000) n;
      INSERT INTO loads SELECT id, id, day FROM trips;
    """)
    spec = Spec.parse(
        f'[tenant]\ntable = "firms"\ncolumn = "firm_id"\n[application]\nrole = "{role(create=False, name="app")}"\n'
        '[[table]]\nname = "trips"\npaths = [["firm_id"]]\n[[table]]\nname = "loads"\npaths = [[["trip", "day"]]]\n'
    )
    target, dump, held = Target(database.dsn), database.dump(), list[tuple[float, str]]()

    def see(event: Event) -> None:
        if isinstance(event, StepEvent):
            held.append((event.lock_held or 0.0, f"{event.step.table}: {event.step.title}"))

    migrate(target, spec, DISTRIBUTE, see)
    rollback(target, RollbackOptions(), see)
    print("milliseconds under locks, the longest:", sorted(held)[-3:])
    assert database.dump() == dump


def test_partitions_come_and_go_meanwhile(fleet: Depot) -> None:
    """One that is attached has all keys, and keeps its rows on the way back; one that was detached goes back by
    itself; one that was dropped is no obstacle."""
    attach = "CREATE TABLE trips_27 PARTITION OF trips FOR VALUES FROM ('2027-10-01') TO ('2027-11-01')"
    detach = 'ALTER TABLE trips DETACH PARTITION "Trips 26"; ALTER TABLE events DETACH PARTITION events_1'
    drop = "ALTER TABLE trips_25 DETACH PARTITION trips_late; DROP TABLE trips_late"
    fleet.database.execute("DELETE FROM events; DELETE FROM trips WHERE day >= '2025-07-01'")
    expected = fleet.database.server.create(f"{fleet.database.name}_expected", template=fleet.database.name)
    for statement in (attach, detach, drop):
        expected.execute(statement)
    if expected.server.major < 15:
        # There DETACH drops the keys of a partition that refer to a partitioned table; a rollback restores them.
        expected.execute(
            "ALTER TABLE events_1 ADD CONSTRAINT events_trip FOREIGN KEY (trip_id, trip_day) REFERENCES trips DEFERRABLE;"
            'ALTER TABLE "Trips 26" ADD CONSTRAINT trips_before FOREIGN KEY (before, before_day) REFERENCES trips;'
            'ALTER TABLE "Trips 26" ADD CONSTRAINT trips_carrier FOREIGN KEY (carrier, year) REFERENCES carriers'
            " ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE"
        )
    fleet.distribute()
    fleet.database.execute(attach)
    fleet.database.execute("INSERT INTO trips (firm_id, id, day, port_id) VALUES (1, 9, '2027-10-05', 2)")
    assert migrate(fleet.target, fleet.spec, DISTRIBUTE).exit_status is ExitStatus.DONE
    assert_sound(fleet, fleet.spec)
    fleet.database.execute(detach)
    fleet.database.execute(drop)
    found = rollback(fleet.target, RollbackOptions()).findings
    assert {one.name for one in found if one.severity.serious} <= {"schema-differs"}, "one has come since"
    try:
        assert fleet.database.dump() == expected.dump()
    finally:
        expected.server.drop(expected)
    assert fleet.database.rows("SELECT id FROM trips_27") == [(9,)]


@pytest.mark.nightly
@pytest.mark.parametrize("options", [{"preserve_data": True}, {"tables": ("trips",)}, {"tables": ("papers",)}], ids=str)
def test_a_part_goes_back_and_comes_again(fleet: Depot, options: dict[str, Any]) -> None:
    dump = fleet.database.dump()
    fleet.distribute()
    assert rollback(fleet.target, RollbackOptions(**options)).exit_status is ExitStatus.DONE
    fleet.distribute()
    assert_sound(fleet, fleet.spec)
    assert_back(fleet, dump)


@pytest.mark.nightly
def test_tables_and_columns_are_renamed_meanwhile(fleet: Depot) -> None:
    dump = fleet.database.dump()
    fleet.distribute()
    fleet.database.execute(
        'ALTER TABLE trips RENAME TO voyages; ALTER TABLE "Trips 26" RENAME TO voyages_26;'
        "ALTER TABLE voyages RENAME COLUMN id TO number; ALTER TABLE events RENAME COLUMN trip_id TO voyage;"
        "ALTER TABLE voyages RENAME COLUMN carrier TO who; ALTER TABLE papers RENAME COLUMN title TO heading"
    )
    found = rollback(fleet.target, RollbackOptions()).findings
    assert [(one.name, one.message) for one in found if one.severity.serious] == []
    fleet.database.execute(
        'ALTER TABLE voyages RENAME TO trips; ALTER TABLE voyages_26 RENAME TO "Trips 26";'
        "ALTER TABLE trips RENAME COLUMN number TO id; ALTER TABLE events RENAME COLUMN voyage TO trip_id;"
        "ALTER TABLE trips RENAME COLUMN who TO carrier; ALTER TABLE papers RENAME COLUMN heading TO title"
    )
    assert fleet.database.dump() == dump
