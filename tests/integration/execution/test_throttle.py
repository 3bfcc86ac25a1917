"""A fill makes way: for replicas that fall behind, and for sessions that wait for its locks."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import pq

from backfill_business import EVERY_ROW_IS_RIGHT, Watcher, assign, build, run
from servers import Database, wait_until
from tenantry.execution.backfill.throttle import Throttle, ThrottleLimits

EPOCH_2000 = 946_684_800


class Replica:
    """A streaming client that says how far it has replayed; it replays nothing."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.connect(autocommit=True) as connection:
            self.at = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0]
        conninfo = f"{database.dsn} application_name=behind replication=true"
        self.connection = pq.PGconn.connect(conninfo.encode())
        result = self.connection.exec_(f"START_REPLICATION PHYSICAL {self.at}".encode())
        assert result.status == pq.ExecStatus.COPY_BOTH, self.connection.error_message
        self.say(self.at)

    def say(self, lsn: str) -> None:
        """A standby status update: written, flushed and replayed until `lsn`."""
        high, low = (int(part, 16) for part in lsn.split("/"))
        at = high << 32 | low
        now = int((time.time() - EPOCH_2000) * 1_000_000)
        self.connection.put_copy_data(struct.pack("!cQQQQB", b"r", at, at, at, now, 0))
        self.connection.flush()
        # What the server sends is read and forgotten, so that it does not wait for us.
        self.connection.nonblocking = 1
        while self.connection.get_copy_data(1)[0] > 0:
            pass

    def catch_up(self) -> None:
        with self.database.connect(autocommit=True) as connection:
            self.say(connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0])

    def close(self) -> None:
        self.connection.finish()


@pytest.fixture
def replica(database: Database) -> Iterator[Replica]:
    """A replica that is level with the server when the test begins."""
    made = Replica(database)
    wait_until(lambda: database.rows("SELECT state FROM pg_stat_replication") == [("streaming",)])
    yield made
    made.close()
    wait_until(lambda: database.rows("SELECT FROM pg_stat_replication") == [])


@contextmanager
def watching(throttle: Throttle, database: Database, workers: list[int]) -> Iterator[None]:
    ended = threading.Event()
    with database.connect(autocommit=True) as connection:
        thread = threading.Thread(target=throttle.watch, args=(connection, workers, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def write(database: Database, megabytes: int) -> None:
    database.execute(
        f"CREATE TABLE IF NOT EXISTS noise (t text); INSERT INTO noise"
        f" SELECT repeat(md5(n::text), 32) FROM generate_series(1, {megabytes} * 1024) n"
    )


@pytest.mark.server
def test_waits_until_the_replica_is_near(database: Database, replica: Replica) -> None:
    """A batch does not run while a replica is too far behind; it is told once, by the replica's name."""
    throttle = Throttle(ThrottleLimits(lag_bytes=1e6, lag_seconds=None))
    told: list[str] = []
    with watching(throttle, database, [0]):
        assert not throttle.admit(0, threading.Event(), told.append)
        write(database, 4)
        wait_until(lambda: throttle._behind is not None)
        admitted = threading.Event()

        def ask() -> None:
            throttle.admit(0, threading.Event(), told.append)
            admitted.set()

        threading.Thread(target=ask).start()
        assert not admitted.wait(1)
        assert [reason.split(" is ")[0] for reason in told] == ["replica behind"]
        replica.catch_up()
        assert admitted.wait(50), "within its patience"


@pytest.mark.server
def test_does_not_wait_for_ever(database: Database, replica: Replica) -> None:
    """A replica that stays behind slows a fill down and does not stop it."""
    build(database, 2_000)
    assign(database)
    write(database, 4)
    watcher = Watcher()
    run(database, watcher=watcher, stripes=1, throttle=Throttle(ThrottleLimits(lag_bytes=1e5, patience=0.3)))
    assert watcher.reasons[0].startswith("replica behind is ")
    assert database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]


@pytest.mark.server
def test_sees_who_waits_for_our_locks(database: Database) -> None:
    """A session that waits for a row of ours is noticed, once for each worker; others' waits are not ours."""
    database.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 2) AS n")
    throttle = Throttle(ThrottleLimits(interval=0.02))
    never = threading.Event()

    def waited_for(holder: psycopg.Connection[tuple[object, ...]]) -> None:
        """The throttle has looked, and looked again, while somebody waited for the holder."""
        holder.execute("SELECT FROM t WHERE n = 1 FOR UPDATE")
        with database.connect() as waiting, ThreadPoolExecutor() as pool:
            change = pool.submit(waiting.execute, "UPDATE t SET n = n WHERE n = 1")
            wait_until(lambda: database.rows("SELECT FROM pg_locks WHERE NOT granted") != [])
            for _ in range(2):
                throttle.seen.clear()
                assert throttle.seen.wait(60)
            holder.rollback()
            change.result()

    with database.connect() as ours, database.connect() as theirs:
        pid = ours.info.backend_pid
        with watching(throttle, database, [pid]):
            waited_for(theirs)
            assert not throttle.admit(pid, never, lambda reason: None)
            waited_for(ours)
            assert throttle.admit(pid, never, lambda reason: None)
            assert not throttle.admit(pid, never, lambda reason: None)
