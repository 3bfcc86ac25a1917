"""What else can happen to a move: another one beside it, a source that has lost its slot or the switch, sessions that
end, a tenant that is renamed."""

from __future__ import annotations

import psycopg
import pytest

from daily import daily
from moves.conftest import COMPARING, Pair, left, rows_of
from servers import Database, wait_until
from tenantry import list_moves, list_tenants, rename_tenant
from tenantry.errors import Interrupted, Refused, TenantryError
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.pg(">=15")]
MINE = "firm_id = (SELECT id FROM firms WHERE slug = 'two')"


def stop() -> None:
    raise Interrupted("stopped by the test")


def begun(pair: Pair, slug: str = "two") -> None:
    """A move that was interrupted after the copy."""
    with pytest.raises(Interrupted):
        pair.move(slug, at=[(COMPARING, stop)])


def test_two_moves(pair: Pair) -> None:
    """A move that ends leaves a replica identity that another one needs: UPDATE works for every tenant all the time. The
    last one restores it."""
    dump = pair.source.dump()
    updates = "UPDATE moves SET quantity = quantity; UPDATE notes SET text = text; UPDATE places SET code = code"
    begun(pair)
    begun(pair, "one")
    pair.source.execute(updates)
    pair.abort("two")
    pair.source.execute(updates)
    pair.move("one")
    pair.source.execute(updates)
    pair.target.execute(updates)
    assert left(pair.source, pair.target) == []
    assert pair.source.dump() == dump


@pytest.mark.nightly
def test_the_slot_is_gone(pair: Pair) -> None:
    """As after a standby has taken over, or once max_slot_wal_keep_size has made it invalid: the move is undone."""
    begun(pair)
    (move,) = list_moves(Target(pair.source.dsn))
    pair.target.execute(f"ALTER SUBSCRIPTION {move.object_name} DISABLE")
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    wait_until(lambda: pair.source.rows(active, [move.object_name]) == [(False,)])
    pair.source.execute("SELECT pg_drop_replication_slot(%s)", [move.object_name])
    with pytest.raises(Refused, match="is lost: changes that the target does not have are gone") as caught:
        pair.move("two")
    assert "--abort" in caught.value.remedy
    pair.abort("two")
    assert left(pair.source, pair.target) == []


def test_the_source_has_lost_the_switch(pair: Pair) -> None:
    """As after a restore, or a failover to a standby that did not have it: rows that were written at the target since
    are not deleted."""
    with pytest.raises(Interrupted):
        pair.move("two", at=[("rows removed", stop)])
    pair.target.execute("UPDATE notes SET text = 'at the target'")
    before = rows_of(pair.target, "two")
    pair.source.execute("UPDATE tenantry.moves SET state = 'begun'")
    for act in (pair.move, pair.abort):
        with pytest.raises(Refused, match="The target has recorded that 'two' is there, and the source has not"):
            act("two")
        assert rows_of(pair.target, "two") == before
    pair.source.execute("UPDATE tenantry.moves SET state = 'switched'")
    pair.move("two")
    assert rows_of(pair.target, "two") == before
    assert left(pair.source, pair.target) == []


@pytest.mark.nightly
@pytest.mark.parametrize(
    "session", daily(["tenantry % comparison", "tenantry % move", "logical replication apply worker"])
)
def test_a_session_ends(session: str, pair: Pair) -> None:
    """While rows are compared, on either side: the tenant writes on, and the same command completes the move."""
    for database in (pair.source, pair.target):

        def end(database: Database = database) -> None:
            ended = database.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database() AND (application_name LIKE %(name)s OR backend_type LIKE %(name)s)",
                {"name": session},
            )
            assert ended or "worker" in session

        try:
            pair.move("two", at=[("and all rows are compared", end)])
        except (TenantryError, psycopg.OperationalError):
            pair.source.execute(f"UPDATE notes SET text = 'meanwhile' WHERE {MINE}")
            assert [one.state for one in list_moves(Target(pair.source.dsn))] == ["begun"]
        else:
            assert "worker" in session
            break
    else:
        pair.move("two")
    assert left(pair.source, pair.target) == []


@pytest.mark.nightly
def test_the_tenant_is_renamed(pair: Pair) -> None:
    """The new slug moves with its row; both name the move, and afterwards the source says where the tenant is by it."""
    begun(pair)
    rename_tenant(Target(pair.source.dsn), pair.spec, "two", "zwei")
    pair.move("zwei")
    assert pair.target.rows("SELECT slug FROM firms") == [("zwei",)]
    assert [one.slug for one in list_tenants(Target(pair.source.dsn), pair.spec)] == ["one", "three", "zwei"]
    assert left(pair.source, pair.target) == []


@pytest.mark.nightly
def test_it_dies_right_before_its_end(pair: Pair) -> None:
    """The source knows that all is done, and the target does not: the same command ends the move there, too."""
    pair.move("two")
    columns = "id, side, run, tenant, slug, location, server, state"
    (row,) = pair.source.rows(f"SELECT {columns} FROM tenantry.moves")
    pair.target.execute(
        f"INSERT INTO tenantry.moves ({columns}) VALUES (%s, 'target', %s, %s, %s, %s, %s, 'switched')",
        [row[0], *row[2:7]],
    )
    assert pair.move("two").rows == 0
    assert list_moves(Target(pair.target.dsn)) == ()
    with pytest.raises(Refused, match="is no longer here"):
        pair.move("two")
