"""Settings that any session may change say nothing by themselves, and names are found where they should be."""

from __future__ import annotations

import psycopg
import pytest

from security.depot import APPLICATION, LEGACY, OWNER, Depot
from servers import Database
from tenantry.steps.introspection import with_search_path

pytestmark = [pytest.mark.server, pytest.mark.differs]

EMPTIED = "set_config('app.tenant_id', '', true)"
TOKEN = """
SELECT encode(sha256(convert_to(concat(value, pg_current_xact_id()), 'UTF8')), 'hex') FROM tenantry.secret
"""


@pytest.mark.parametrize("setting", ["filling", "adopting"])
@pytest.mark.parametrize("user", [APPLICATION, LEGACY])
def test_a_setting_takes_back_nothing(depot: Depot, user: str, setting: str) -> None:
    """What the session writes is written; nor does it undo what a foreign key's cascade writes as the owner."""
    with depot.session(user, 1) as session:
        session.execute(f"SET LOCAL tenantry.{setting} = 'on'; UPDATE lots SET note = 'mine' WHERE id = 1")
        session.execute("UPDATE lots SET id = 5 WHERE id = 1")
    assert depot.database.rows("SELECT note FROM lots WHERE id = 5") == [("mine",)]
    assert depot.database.rows("SELECT lot_id FROM alerts WHERE id = 1") == [(5,)]
    assert depot.database.rows("SELECT lot_id FROM moves WHERE id = 1") == [(5,)]


def test_what_was_seen_once_is_worth_nothing(depot: Depot) -> None:
    """The secret cannot be read, and what is made of it is of one transaction."""
    for user in (APPLICATION, LEGACY):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), depot.session(user, 1) as session:
            session.execute("SELECT * FROM tenantry.secret")
    ((token,),) = depot.database.rows(TOKEN)
    with depot.session(APPLICATION, 1) as session:
        session.execute(f"SET LOCAL tenantry.adopting = '{token}'; UPDATE lots SET note = 'mine' WHERE id = 1")
    assert depot.database.rows("SELECT note FROM lots WHERE id = 1") == [("mine",)]


def test_nothing_is_left_behind(depot: Depot) -> None:
    """Once the statement is over, the session's own triggers and statements find no token."""
    with depot.session(APPLICATION, 1) as session:
        session.execute("INSERT INTO moves (id, shop_id, lot_id, bin_id) VALUES (9, 1, 3, NULL)")
        assert session.execute("SELECT current_setting('tenantry.adopting', true)").fetchone() == ("",)


def test_the_owner_fills(depot: Depot) -> None:
    """A session with the rights of the table's owner can say that it fills: nothing but the tenant changes."""
    for user in (OWNER, "postgres"):
        with depot.session(user) as session:
            session.execute(
                "SET LOCAL tenantry.filling = 'on'; UPDATE lots SET note = 'no', tenant_id = 3 WHERE id = 20"
            )
        assert depot.database.rows("SELECT note, tenant_id FROM lots WHERE id = 20") == [("of south", 3)]
        depot.database.execute("UPDATE lots SET tenant_id = 2 WHERE id = 20")


@pytest.mark.parametrize("parent", ["lot_id", "box_id", "tag_id"])
def test_a_reference_is_compared_by_its_rows(depot: Depot, parent: str) -> None:
    """A session that has emptied its tenant by the time that a reference is looked at does not get past it."""
    for ending in (f"RETURNING {EMPTIED}", f"RETURNING {EMPTIED}, set_config('tenantry.filling', 'on', true)"):
        depot.refuses(
            APPLICATION, 2, f"INSERT INTO moves (id, shop_id, {parent}, bin_id) VALUES (9, 2, 1, NULL) {ending}"
        )
    assert depot.database.rows("SELECT count(*) FROM moves") == [(2,)]


EVIL = """
CREATE TEMPORARY TABLE log (what text);
CREATE TEMPORARY TABLE loot (who name);
GRANT ALL ON pg_temp.log, pg_temp.loot TO PUBLIC;
CREATE FUNCTION pg_temp.evil() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO pg_temp.loot VALUES (current_user); RETURN NEW; END';
CREATE TRIGGER evil BEFORE INSERT ON pg_temp.log FOR EACH ROW EXECUTE FUNCTION pg_temp.evil();
"""


@pytest.mark.parametrize(("user", "lot", "logged"), [
    (APPLICATION, 3, [("lots3",)]), (LEGACY, 3, [("lots3",)]), (LEGACY, 20, [("alerts20",), ("lots20",)]),
])  # fmt: skip
def test_a_temporary_table_does_not_stand_before_the_users_own(
    depot: Depot, user: str, lot: int, logged: list[tuple[str]]
) -> None:
    """In an update of ours the user's triggers run as the owner, and find the user's tables, not the writer's."""
    with depot.session(user, 1 if user == APPLICATION else None) as session:
        session.execute(EVIL)
        session.execute(f"INSERT INTO moves (id, shop_id, lot_id, bin_id) VALUES (9, 1, {lot}, NULL)")
        assert session.execute("SELECT who FROM loot").fetchall() == []
    assert depot.database.rows("SELECT what FROM log ORDER BY 1") == logged


@pytest.mark.parametrize(("path", "found"), [
    (("public",), "pg_catalog, public, pg_temp"),
    (("pg_temp", "public"), "pg_catalog, public, pg_temp"),
    (("pg_temp_3", "$user", "public"), "pg_catalog, public, pg_temp"),
    (("public", "pg_catalog"), "public, pg_catalog, pg_temp"),
    (("Odd, schema", 'a"b'), 'pg_catalog, "Odd, schema", "a""b", pg_temp'),
    ((), "pg_catalog, pg_temp"),
])  # fmt: skip
def test_every_path_ends_in_pg_temp(database: Database, path: tuple[str, ...], found: str) -> None:
    """Where the user places pg_catalog, it stays; temporary objects come last, wherever the user has them."""
    with database.connect() as session:
        session.execute("CREATE TEMPORARY TABLE log ()")
        session.execute(with_search_path(path).as_string(None).join(("SELECT ", "")))
        assert session.execute("SHOW search_path").fetchone() == (found,)
