"""A tenant's session takes no row of another's by writing one that refers to it, whatever is deferred."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from daily import daily
from security.depot import APPLICATION, LEGACY, OWNER, Depot

pytestmark = [pytest.mark.server, pytest.mark.differs]

EMPTIED = "set_config('app.tenant_id', '', true)"
THEFTS = {
    "insert": "INSERT INTO moves (id, shop_id, lot_id, bin_id) VALUES (9, 1, 20, NULL)",
    "several rows": "INSERT INTO moves (id, shop_id, lot_id, bin_id) VALUES (8, 1, 1, NULL), (9, 1, 20, NULL)",
    "update": "UPDATE moves SET lot_id = 20 WHERE id = 1",
    "upsert": "INSERT INTO moves (id, bin_id) VALUES (1, NULL) ON CONFLICT (id) DO UPDATE SET lot_id = 20",
    "without its path": "INSERT INTO moves (id, lot_id, bin_id) VALUES (9, 20, NULL)",
    "emptied": f"INSERT INTO moves (id, shop_id, lot_id, bin_id) VALUES (9, 1, 20, NULL) RETURNING {EMPTIED}",
    "update, emptied": f"UPDATE moves SET lot_id = 20, note = {EMPTIED} WHERE id = 1 RETURNING {EMPTIED}",
    "a key that is deferred": "INSERT INTO moves (id, shop_id, box_id, bin_id) VALUES (9, 1, 20, NULL)",
    "deferred, emptied": f"INSERT INTO moves (id, shop_id, box_id, bin_id) VALUES (9, 1, 20, NULL) RETURNING {EMPTIED}",
    "adopting": "SET LOCAL tenantry.adopting = 'on'; INSERT INTO moves (id, shop_id, box_id, bin_id) VALUES (9, 1, 20, NULL)",
}


DEFERRED = ["", "SET CONSTRAINTS ALL DEFERRED; "]


@pytest.mark.parametrize("theft", THEFTS)
@pytest.mark.parametrize("deferred", DEFERRED, ids=["immediate", "deferred"])
def test_no_row_of_another_tenant(depot: Depot, theft: str, deferred: str) -> None:
    """Neither the row nor what hangs on it changes hands, and the statement does not stand."""
    depot.refuses(APPLICATION, 1, deferred + THEFTS[theft])
    assert depot.tenants("lots", 1, 20) == [1, 2]
    assert (depot.tenants("boxes", 20), depot.tenants("alerts", 20)) == ([2], [2])
    assert depot.database.rows("SELECT id, lot_id FROM moves ORDER BY id") == [(1, 1), (2, 2)]


@pytest.mark.parametrize("theft", THEFTS)
def test_not_for_a_moment(depot: Depot, theft: str) -> None:
    """Before the transaction ends, when nothing has been refused yet, its tenant sees nothing of another's either."""
    with depot.session(APPLICATION, 1) as session:
        session.execute("SET CONSTRAINTS ALL DEFERRED")
        with suppress(psycopg.errors.InsufficientPrivilege), session.transaction():
            session.execute(THEFTS[theft])
        session.execute("SET LOCAL app.tenant_id = '1'")
        for table in ("lots", "boxes", "alerts"):
            assert depot.tenants_in(session, table, 20) == []
        session.rollback()


@pytest.mark.parametrize("deferred", DEFERRED, ids=["immediate", "deferred"])
def test_no_row_by_a_cascade(depot: Depot, deferred: str) -> None:
    """ON DELETE SET DEFAULT writes as the table's owner, and still for the session that deletes."""
    depot.database.execute("DELETE FROM moves WHERE id = 2")
    depot.refuses(APPLICATION, 1, f"{deferred}DELETE FROM bins WHERE id = 1 RETURNING {EMPTIED}")
    assert depot.tenants("bins", 1, 2) == [1, 2]


def test_no_row_by_a_function_of_the_owner(depot: Depot) -> None:
    """What runs as the owner inside the application's session takes nothing either, whether a tenant is named or not."""
    depot.database.execute(f"""
        CREATE FUNCTION sell(shop integer, lot integer) RETURNS void LANGUAGE sql SECURITY DEFINER AS
          'INSERT INTO public.moves (id, shop_id, lot_id, bin_id) VALUES (9, shop, lot, NULL)';
        ALTER FUNCTION sell OWNER TO {OWNER};
    """)
    for tenant in (1, None):
        depot.refuses(APPLICATION, tenant, "SET CONSTRAINTS ALL DEFERRED; SELECT sell(1, 20)")
    assert depot.tenants("lots", 20) == [2]
    with depot.session(APPLICATION) as session:
        session.execute("SELECT sell(1, 3)")
    assert depot.tenants("lots", 3) == [None]


def test_what_waits_is_taken_for_the_tenant_of_the_session(depot: Depot) -> None:
    """A lot without a tenant gets the one that the session names, and nothing but that changes in it."""
    with depot.session(APPLICATION, 1) as session:
        session.execute("INSERT INTO moves (id, shop_id, lot_id, bin_id) VALUES (9, 1, 3, NULL)")
        assert depot.tenants_in(session, "lots", 3) == [1]
    assert (depot.tenants("lots", 3, 4), depot.versions(3)) == ([1, None], [0])
    with depot.session(APPLICATION, 1) as session:
        session.execute(f"INSERT INTO moves (id, shop_id, lot_id, bin_id) VALUES (10, 1, 4, NULL) RETURNING {EMPTIED}")
    assert depot.tenants("lots", 4) == [None]


@pytest.mark.parametrize("user", daily([LEGACY, OWNER, "postgres"]))
def test_a_session_that_names_a_tenant(depot: Depot, user: str) -> None:
    """Whoever it is, it takes nothing that has another; what has none only for the tenant that it names."""
    depot.refuses(user, 1, "INSERT INTO moves (id, shop_id, box_id, bin_id) VALUES (9, 1, 20, NULL)")
    assert depot.tenants("boxes", 20) == [2]
    with depot.session(user, 1) as session:
        session.execute("INSERT INTO moves (id, shop_id, lot_id, bin_id, tenant_id) VALUES (8, 2, 3, NULL, 2)")
        session.execute("INSERT INTO moves (id, shop_id, lot_id, bin_id, tenant_id) VALUES (9, 1, 4, NULL, 1)")
    assert depot.tenants("lots", 3, 4) == [None, 1]


@pytest.mark.parametrize("user", daily([LEGACY, OWNER, "postgres"]))
def test_an_old_application(depot: Depot, user: str) -> None:
    """Until contract, a session that sees all rows and names no tenant has its parents follow, as before isolate."""
    with depot.session(user) as session:
        session.execute("INSERT INTO moves (id, shop_id, lot_id, bin_id) VALUES (8, 1, 3, NULL), (9, 1, 20, NULL)")
    assert (depot.tenants("lots", 3, 20), depot.tenants("alerts", 20)) == ([1, 1], [1])
    assert depot.versions(3, 20) == [0, 0]


def test_a_role_that_sees_nothing(depot: Depot) -> None:
    """A privilege on a table is no right to see its rows: without a tenant such a role takes nothing."""
    depot.database.execute(f"""
        CREATE POLICY everybody ON moves FOR INSERT TO {APPLICATION} WITH CHECK (true);
        DROP POLICY tenantry_floor ON moves;
    """)
    sale = "INSERT INTO moves (id, shop_id, lot_id, bin_id, tenant_id) VALUES (9, 1, {}, NULL, 1)"
    depot.refuses(APPLICATION, None, f"SET CONSTRAINTS ALL DEFERRED; {sale.format(20)}")
    with depot.session(APPLICATION) as session:
        session.execute(sale.format(3))
    assert depot.tenants("lots", 3, 20) == [None, 2]


def test_what_all_share_stays_everybodys(depot: Depot) -> None:
    """A row of a mixed table without a tenant waits for none: referring to it does not take it from the others."""
    with depot.session(APPLICATION, 1) as session:
        session.execute("INSERT INTO moves (id, shop_id, tag_id, bin_id) VALUES (9, 1, 9, NULL)")
    with depot.session(APPLICATION, 2) as session:
        assert session.execute("SELECT id FROM tags").fetchall() == [(9,)]
    assert depot.tenants("tags", 9) == [None]


def test_rows_of_a_third_tenant_do_not_follow(depot: Depot) -> None:
    """A lot that moves takes along what was its tenant's, and not what refers to it by mistake."""
    with depot.session("postgres") as session:
        session.execute("SET CONSTRAINTS ALL DEFERRED; INSERT INTO alerts (id, lot_id, tenant_id) VALUES (9, 20, 3)")
        session.execute("UPDATE lots SET tenant_id = 1 WHERE id = 20")
        assert depot.tenants_in(session, "alerts", 9, 20) == [3, 1]
