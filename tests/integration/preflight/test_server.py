"""Preflight finds what the server lacks, and who holds the run back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from psycopg import sql

from preflights import SHOP, TABLES, check, named, names, planned, refusals, session
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.server import free_bytes, needed_bytes, server_findings, session_findings
from tenantry.model.finding import Finding
from tenantry.model.plan import Phase
from tenantry.postgres.preflight import read_facts
from tenantry.postgres.server_state import ServerState, Slot, Standby

pytestmark = pytest.mark.server


@contextmanager
def preflight_facts(database: Any) -> Iterator[tuple[Scope, ServerState]]:
    """What a preflight knows, for findings whose limits are too long for a test."""
    with session(database) as connection:
        schema, plan = planned(connection, TABLES)
        facts = read_facts(connection, roles=(), schemas=(), application="")
        yield Scope.of(schema, plan, Phase.ENFORCE), facts


def found_sessions(database: Any, **limits: float) -> list[Finding]:
    with preflight_facts(database) as (scope, facts):
        return list(session_findings(scope, facts, **limits))


# --- connections and space


def test_connections_left_are_counted(database: Any) -> None:
    """More workers than the server has room for refuse the run."""
    database.execute(SHOP)
    assert names(check(database, workers=50)) == set()
    (found,) = named(check(database, workers=100), "connections-left")
    assert found.refuses
    assert found.forcible


def test_the_limit_of_a_role_or_database_counts(database: Any, role: Callable[..., str]) -> None:
    """It is lower than the server's."""
    user = role("LOGIN CONNECTION LIMIT 4")
    database.execute(SHOP)
    assert named(check(database, user=user), "connections-left")
    assert not named(check(database, user=user, workers=0), "connections-left")
    database.execute(
        sql.SQL("ALTER ROLE {0} CONNECTION LIMIT -1; ALTER DATABASE {1} CONNECTION LIMIT 4")
        .format(sql.Identifier(user), sql.Identifier(database.name))
        .as_string(None)
    )
    assert named(check(database, user=user), "connections-left")


def test_disk_space_is_compared(database: Any) -> None:
    """Too little refuses; on this machine the server's own disk is looked at."""
    database.execute(SHOP + "ANALYZE")
    assert refusals(check(database, free_space=1)) == {("disk-space", True)}
    assert names(check(database, free_space=2**40)) == set()
    assert names(check(database, free_space=None)) == set()


def test_disk_space_is_unknown_over_sql(database: Any, role: Callable[..., str]) -> None:
    """A role that may not ask where the data are cannot know; a number from outside helps."""
    user = role("LOGIN")
    database.execute(SHOP + "ANALYZE")
    (found,) = named(check(database, free_space=None, user=user), "disk-space-unknown")
    assert "--free-space" in found.remedy
    assert not named(check(database, free_space=2**40, user=user), "disk-space-unknown")


def test_the_disk_of_another_machine_is_not_looked_at(database: Any) -> None:
    """A folder of the same name here would tell nothing."""
    database.execute(SHOP)
    with preflight_facts(database) as (_, facts):
        assert free_bytes(facts.room, "/tmp") is not None
        assert free_bytes(facts.room, "db.example.org") is None
        assert free_bytes(replace(facts.room, started=0.0), "/tmp") is None


def test_larger_tables_need_more_space(database: Any) -> None:
    """Indexes and fills grow with the rows."""
    database.execute(SHOP + "ANALYZE")
    with preflight_facts(database) as (scope, facts):
        few = needed_bytes(scope, facts.room)
    database.execute("INSERT INTO orders SELECT i, 1 FROM generate_series(101, 20000) i; ANALYZE orders")
    with preflight_facts(database) as (scope, facts):
        assert needed_bytes(scope, facts.room) > few + 20_000 * 40


# --- sessions


def test_a_long_transaction_is_named(database: Any) -> None:
    """With its pid, role and application; a young one is not."""
    database.execute(SHOP)
    with database.connect(application_name="report") as other:
        other.execute("SELECT 1")
        pid = other.info.backend_pid
        (found,) = found_sessions(database, long=0.0, idle=60.0)
        assert found.name == "long-transaction"
        assert f"pid {pid} (postgres, report)" in found.message
        assert str(pid) in found.remedy
        assert found_sessions(database) == []
    assert found_sessions(database, long=0.0, idle=0.0) == []


def test_a_transaction_left_idle_is_named(database: Any) -> None:
    """It keeps its locks, and nobody works on it."""
    database.execute(SHOP)
    with database.connect() as other:
        other.execute("SELECT 1")
        (found,) = found_sessions(database, idle=0.0)
        assert found.name == "idle-in-transaction"


def test_a_session_without_a_transaction_holds_nothing_back(database: Any) -> None:
    """Nor does one in another database."""
    database.execute(SHOP)
    with database.connect(autocommit=True) as other, database.connect(dbname="postgres") as elsewhere:
        other.execute("SELECT 1")
        elsewhere.execute("SELECT 1")
        assert found_sessions(database, long=0.0, idle=0.0) == []


def test_hidden_sessions_are_counted(database: Any, role: Callable[..., str]) -> None:
    """A role without pg_read_all_stats does not see what others do."""
    user = role("LOGIN")
    database.execute(SHOP)
    with database.connect() as other:
        other.execute("SELECT 1")
        (found,) = named(check(database, user=user), "sessions-hidden")
        assert found.count == 1
        database.server.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(user)))
        assert not named(check(database, user=user), "sessions-hidden")


def test_a_prepared_transaction_on_our_tables_refuses(database: Any) -> None:
    """It holds its locks until somebody ends it; elsewhere it only holds back."""
    database.execute(SHOP + "CREATE TABLE apart (id int)")
    with database.connect() as other:
        other.execute("INSERT INTO apart VALUES (1)")
        other.execute("PREPARE TRANSACTION 'it''s one'")
    (found,) = named(check(database), "prepared-transaction")
    assert not found.refuses
    assert "'it''s one'" in found.remedy
    with database.connect() as other:
        other.execute("UPDATE orders SET total = 0 WHERE id = 1")
        other.execute("PREPARE TRANSACTION 'two'")
    assert refusals(check(database)) == {("prepared-transaction", True)}
    with database.connect(autocommit=True) as other:
        other.execute("ROLLBACK PREPARED 'it''s one'")
        other.execute("ROLLBACK PREPARED 'two'")
    assert names(check(database)) == set()


# --- replication


def test_lag_and_forgotten_slots_are_warned_of(database: Any) -> None:
    """Those in time, and slots that are read, are not."""
    standbys = (
        Standby(name="late", state="streaming", bytes=10, seconds=99.0),
        Standby(name="full", state="catchup", bytes=2**30, seconds=None),
        Standby(name="fine", state="streaming", bytes=10, seconds=0.1),
        Standby(name="unseen", state="", bytes=None, seconds=None),
    )
    slots = (
        Slot(name="forgotten", active=False, plugin="", here=False, holds_rows=False, bytes=2**31),
        Slot(name="holding", active=False, plugin="", here=False, holds_rows=True, bytes=0),
        Slot(name="read", active=True, plugin="", here=False, holds_rows=True, bytes=2**31),
        Slot(name="young", active=False, plugin="", here=False, holds_rows=False, bytes=10),
    )
    database.execute(SHOP)
    with preflight_facts(database) as (scope, facts):
        found = list(server_findings(scope, replace(facts, standbys=standbys, slots=slots), 2))
    told = [finding.message for finding in found]
    assert [finding.name for finding in found] == ["replication-lag"] * 2 + ["replication-slot-inactive"] * 2
    assert "99 s" in told[0]
    assert "1 GB" in told[1]
    assert "'forgotten'" in told[2]
    assert "dead rows" in told[3]


def test_slots_are_read_with_the_wal_that_they_keep(database: Any) -> None:
    """A physical slot that nobody reads, as the server shows it."""
    with database.connect(autocommit=True) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('spare', true)")
        try:
            facts = read_facts(connection, roles=(), schemas=(), application="")
        finally:
            connection.execute("SELECT pg_drop_replication_slot('spare')")
    (slot,) = [slot for slot in facts.slots if slot.name == "spare"]
    assert not slot.active
    assert slot.bytes is not None
    assert slot.bytes >= 0


# --- objects


def test_an_invalid_index_is_warned_of(database: Any) -> None:
    """Left over from a build that failed; rebuilt, it is not found."""
    database.execute(SHOP + "INSERT INTO orders VALUES (0, 1, 100)")
    with (
        database.connect(autocommit=True) as connection,
        pytest.raises(Exception, match="could not create unique"),
    ):
        connection.execute('CREATE UNIQUE INDEX CONCURRENTLY "Total" ON orders (total)')
    (found,) = named(check(database), "invalid-index")
    assert 'public."Total"' in found.remedy
    database.execute("DELETE FROM orders WHERE id = 0")
    with database.connect(autocommit=True) as connection:
        connection.execute('REINDEX INDEX CONCURRENTLY "Total"')
    assert names(check(database)) == set()


def test_an_event_trigger_is_warned_of(database: Any) -> None:
    """One that is disabled is not."""
    database.execute(
        SHOP + "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION watch()"
    )
    (found,) = named(check(database), "event-trigger")
    assert "ALTER TABLE" in found.message
    database.execute("ALTER EVENT TRIGGER watch DISABLE")
    assert names(check(database)) == set()
