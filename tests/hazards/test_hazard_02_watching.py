"""Hazard 2: what a trigger does not see: other columns, other triggers, replication, roles without rights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from daily import daily
from tenantry.errors import Refused
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores, note text);
CREATE TABLE lines (id integer PRIMARY KEY, sale_id integer NOT NULL REFERENCES sales, note text);
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO sales VALUES (1, 1), (2, 2);
INSERT INTO lines VALUES (1, 1), (2, 2);
"""
TABLES = """
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "sales"
paths = [["store_id"]]
[[table]]
name = "lines"
paths = [["sale_id", "store_id"]]
"""
MOVE_TO_SOUTH = """
CREATE FUNCTION south() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.store_id := 2; RETURN NEW; END';
CREATE TRIGGER {} BEFORE INSERT OR UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION south()
"""
WRONG = """
SELECT count(*) FROM sales JOIN stores ON stores.id = store_id WHERE sales.tenant_id IS DISTINCT FROM stores.tenant_id
"""


def named(statement: str, name: str) -> str:
    return sql.SQL(statement).format(sql.Identifier(name)).as_string(None)


def test_shows_the_hazard(business: Business) -> None:
    """A trigger on UPDATE OF the path sees no other update; that row may move behind a backfill's back."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.EXPAND)
    shop.execute("""
        DROP TRIGGER "~tenantry_assign" ON sales;
        CREATE TRIGGER naive BEFORE INSERT OR UPDATE OF store_id ON sales
          FOR EACH ROW EXECUTE FUNCTION tenantry."assign_public__sales"();
        UPDATE sales SET note = 'moved' WHERE id = 1
    """)
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = 1") == [(None,)]


def test_every_update_stamps(business: Business) -> None:
    """Whatever an update changes, the new version of the row has its tenant; nothing but the tenant is added."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.EXPAND)
    shop.execute("UPDATE sales SET note = 'moved' WHERE id = 1")
    assert shop.rows("SELECT * FROM sales ORDER BY id") == [(2, 2, None, None), (1, 1, "moved", 1)][::-1]


def test_path_that_is_not_filled_yet(business: Business) -> None:
    """A row whose parent waits for its own tenant waits, too; the backfill goes in order of derivation."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.EXPAND)
    shop.execute("INSERT INTO lines VALUES (3, 2, 'new'); UPDATE lines SET sale_id = 2 WHERE id = 1")
    shop.execute("UPDATE sales SET note = 'x' WHERE id = 2; INSERT INTO lines VALUES (4, 2, 'newer')")
    assert shop.rows("SELECT id, tenant_id FROM lines ORDER BY id") == [(1, None), (2, None), (3, None), (4, 2)]
    shop.migrate(Phase.BACKFILL)
    assert shop.rows("SELECT id, tenant_id FROM lines ORDER BY id") == [(1, 2), (2, 2), (3, 2), (4, 2)]


def test_every_way_of_writing(business: Business) -> None:
    """COPY, ON CONFLICT, and an upsert that updates."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.BACKFILL)
    copying = "COPY sales (id, store_id) FROM STDIN"
    with shop.connect() as session, session.cursor() as cursor, cursor.copy(copying) as copy:
        copy.write_row((3, 1))
        copy.write_row((4, 2))
    shop.execute("""
        INSERT INTO sales (id, store_id) VALUES (5, 2) ON CONFLICT DO NOTHING;
        INSERT INTO sales (id, store_id) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET store_id = excluded.store_id
    """)
    assert shop.rows("SELECT id, tenant_id FROM sales ORDER BY id") == [(1, 2), (2, 2), (3, 1), (4, 2), (5, 2)]


@pytest.mark.pg(">= 15")
def test_merge(business: Business) -> None:
    """MERGE, which inserts and updates."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.BACKFILL)
    shop.execute("""
        MERGE INTO sales USING (VALUES (1, 2), (9, 1)) AS given(id, store) ON sales.id = given.id
        WHEN MATCHED THEN UPDATE SET store_id = given.store
        WHEN NOT MATCHED THEN INSERT (id, store_id) VALUES (given.id, given.store)
    """)
    assert shop.rows("SELECT id, tenant_id FROM sales ORDER BY id") == [(1, 2), (2, 2), (9, 1)]


@pytest.mark.parametrize("name", daily(["zzz", "~", "~tenantry_", "ZZZ"], 2))
def test_users_trigger_comes_first(business: Business, name: str) -> None:
    """What the user's triggers change, ours sees."""
    shop = business(SHOP + named(MOVE_TO_SOUTH, name), TABLES)
    shop.migrate(Phase.EXPAND)
    shop.execute("INSERT INTO sales (id, store_id) VALUES (3, 1); UPDATE sales SET note = 'x' WHERE id = 1")
    assert shop.rows("SELECT id, store_id, tenant_id FROM sales ORDER BY id") == [(1, 2, 2), (2, 2, None), (3, 2, 2)]


@pytest.mark.parametrize("name", ["~~", "~u", "última"])
def test_users_trigger_that_comes_last_is_refused(business: Business, name: str) -> None:
    """Triggers fire in the order of their names' bytes: one that would come after ours has to be renamed first."""
    shop = business(SHOP + named(MOVE_TO_SOUTH, name), TABLES)
    with pytest.raises(Refused, match="fires after ~tenantry_assign"):
        shop.migrate(Phase.EXPAND, force=True)
    assert shop.rows("SELECT to_regclass('tenantry.steps')") == [(None,)]


def test_a_later_trigger_cannot_make_a_row_wrong(business: Business) -> None:
    """One that is made after ours is found by the next run; after that the composite key holds what it changes."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.BACKFILL)
    shop.execute(named(MOVE_TO_SOUTH, "~~late"))
    shop.execute("INSERT INTO sales (id, store_id) VALUES (3, 1)")
    assert shop.rows(WRONG) == [(1,)]
    with pytest.raises(Refused, match="fires after ~tenantry_assign"):
        shop.migrate(Phase.ENFORCE, force=True)
    shop.execute('DROP TRIGGER "~~late" ON sales')
    shop.migrate(Phase.ENFORCE)
    assert shop.rows(WRONG) == [(0,)]
    shop.execute(named(MOVE_TO_SOUTH, "~~late").replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    shop.refuses("INSERT INTO sales (id, store_id) VALUES (4, 1)", psycopg.errors.ForeignKeyViolation)


def test_replication_fires_it(business: Business) -> None:
    """A session that applies another server's changes fires no ordinary trigger; ours it does."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.BACKFILL)
    replica = "SET session_replication_role = replica; INSERT INTO sales (id, store_id) VALUES ({}, 2)"
    shop.execute(replica.format(3))
    shop.execute('ALTER TABLE sales ENABLE TRIGGER "~tenantry_assign"; ' + replica.format(4))
    assert shop.rows("SELECT id, tenant_id FROM sales WHERE id > 2 ORDER BY id") == [(3, 2), (4, None)]


def test_role_that_may_only_insert(business: Business, role: Callable[..., str]) -> None:
    """The trigger reads parents as the table's owner, whatever the writer may read; nobody can call it directly."""
    shop, clerk = business(SHOP, TABLES), role()
    shop.execute(f"GRANT INSERT ON sales TO {clerk}")
    shop.migrate(Phase.ENFORCE)
    with shop.connect(user=clerk) as session:
        session.execute("INSERT INTO sales (id, store_id) VALUES (3, 2)")
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = 3") == [(2,)]
    execute = f"""SELECT has_function_privilege('{clerk}', 'tenantry."assign_public__sales"()', 'execute')"""
    assert shop.rows(execute) == [(False,)]
    shop.execute('ALTER FUNCTION tenantry."assign_public__sales"() SECURITY INVOKER')
    with shop.connect(user=clerk) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("INSERT INTO sales (id, store_id) VALUES (4, 2)")


def test_search_path_of_the_writer_is_not_asked(business: Business) -> None:
    """A writer's own tables, functions and operators of the same names are not what the trigger reads."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.ENFORCE)
    with shop.connect() as session:
        session.execute("""
            CREATE TEMP TABLE stores (id integer, tenant_id integer);
            INSERT INTO stores VALUES (2, 1);
            CREATE SCHEMA evil;
            CREATE FUNCTION evil.never(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT false';
            CREATE OPERATOR evil.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = evil.never);
            SET search_path = evil, pg_temp, public, pg_catalog;
            INSERT INTO public.sales (id, store_id) VALUES (3, 2)
        """)
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = 3") == [(2,)]


def test_owners_of_their_own(business: Business, role: Callable[..., str]) -> None:
    """Each table may have an owner of its own: the trigger reads the parents of others, under row security as well."""
    shop, seller, keeper = business(SHOP, TABLES), role(name="seller"), role(name="keeper")
    shop.execute(f"""
        GRANT USAGE, CREATE ON SCHEMA public TO {seller}, {keeper};
        GRANT REFERENCES ON stores TO {seller};
        ALTER TABLE stores OWNER TO {keeper}; ALTER TABLE tenants OWNER TO {keeper};
        ALTER TABLE sales OWNER TO {seller}; ALTER TABLE lines OWNER TO {seller}
    """)
    before = shop.database.dump()
    with pytest.raises(Refused, match=r"triggers run that find tenants in public\.stores, may not SELECT there"):
        shop.migrate(Phase.ISOLATE, force=True)
    assert shop.database.dump() == before
    shop.execute(f"GRANT SELECT ON stores TO {seller}")
    shop.migrate(Phase.ISOLATE)
    with shop.connect(user=seller) as session:
        session.execute("INSERT INTO sales (id, store_id) VALUES (3, 2)")
        session.execute("INSERT INTO lines VALUES (3, 3)")
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = 3") == [(2,)]
    assert shop.rows("SELECT tenant_id FROM lines WHERE id = 3") == [(2,)]


def test_assigned_rows_of_another_owner(business: Business, role: Callable[..., str], tmp_path: Path) -> None:
    """The file's rows are ours, and the trigger that looks them up is the owner's."""
    (tmp_path / "stores.csv").write_text("id,tenant\n1,north\n2,south\n3,south\n")
    shop, keeper = (
        business(
            "CREATE TABLE places (id integer PRIMARY KEY); INSERT INTO places VALUES (1), (2);",
            f"""[[table]]\nname = "places"\nassign = {{ csv = "{tmp_path / "stores.csv"}" }}""",
        ),
        role(name="keeper"),
    )
    shop.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {keeper}; ALTER TABLE places OWNER TO {keeper};"
                 f" GRANT SELECT, REFERENCES ON tenants TO {keeper}")  # fmt: skip
    shop.migrate(Phase.ENFORCE)
    with shop.connect(user=keeper) as session:
        session.execute("INSERT INTO places VALUES (3)")
    assert shop.rows("SELECT id, tenant_id FROM places ORDER BY id") == [(1, 1), (2, 2), (3, 2)]


def test_columns_that_are_named_as_variables_of_ours(business: Business) -> None:
    """An expression of the spec names the row's columns, whatever the trigger's own variables are called."""
    shop = business(
        "CREATE TABLE places (id integer PRIMARY KEY, ours text, derived text); INSERT INTO places VALUES (1, 'no', 'rth');",
        """[[table]]\nname = "places"\nassign = { sql = "ours || derived" }""",
    )
    shop.migrate(Phase.EXPAND)
    shop.execute("INSERT INTO places VALUES (2, 'so', 'uth'); UPDATE places SET derived = 'rth' WHERE id = 1")
    assert shop.rows("SELECT id, tenant_id FROM places ORDER BY id") == [(1, 1), (2, 2)]
