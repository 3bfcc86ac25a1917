"""Preflight finds what an in-place fill would set off."""

from dataclasses import replace
from typing import Any

import pytest

from preflights import CONSTANT, SHOP, TABLES, check, named, names, planned, refusals, session
from tenantry.execution.preflight import preflight
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

PLAIN = "CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$;"
ROW = "FOR EACH ROW EXECUTE FUNCTION act();"
STATEMENT = "FOR EACH STATEMENT EXECUTE FUNCTION act();"
TOUCH = PLAIN.format("NEW.changed := now(); RETURN NEW;")
LOG = PLAIN.format("INSERT INTO log DEFAULT VALUES; RETURN NULL;")


def test_nothing_is_found_in_a_plain_shop(database: Any) -> None:
    """A schema without triggers, rules, publications or other sessions has no findings."""
    database.execute(SHOP)
    assert names(check(database)) == set()


@pytest.mark.parametrize(
    "trigger",
    [
        "AFTER UPDATE ON orders " + ROW,
        "AFTER INSERT OR UPDATE ON orders " + STATEMENT,
        "AFTER UPDATE ON orders FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION act();",
        "AFTER UPDATE ON orders FOR EACH ROW WHEN (OLD.total > 5) EXECUTE FUNCTION act();",
        "AFTER UPDATE ON orders FOR EACH ROW WHEN (OLD.shop <> NEW.shop OR OLD.total > 5) EXECUTE FUNCTION act();",
    ],
)
def test_an_after_trigger_runs_for_the_fill(database: Any, trigger: str) -> None:
    """It refuses the run until it is forced, and the constant fill is named."""
    database.execute(SHOP + LOG + "CREATE TRIGGER audit " + trigger)
    found = check(database)
    assert refusals(found) == {("fill-fires-after-trigger", True)}
    assert "assign" in found[0].remedy
    assert "audit on public.orders" in found[0].message
    assert names(check(database, tables=CONSTANT)) == set()


def test_a_constraint_trigger_runs_for_the_fill(database: Any) -> None:
    """A deferred one, too."""
    database.execute(
        SHOP + LOG + "CREATE CONSTRAINT TRIGGER audit AFTER UPDATE ON orders DEFERRABLE INITIALLY DEFERRED " + ROW
    )
    (found,) = named(check(database), "fill-fires-after-trigger")
    assert "constraint trigger" in found.message


@pytest.mark.parametrize(
    "trigger",
    [
        "AFTER INSERT OR DELETE ON orders " + ROW,
        "AFTER UPDATE ON archive " + ROW,
        "AFTER UPDATE OF total ON orders " + ROW,
        "AFTER UPDATE ON orders FOR EACH ROW"
        " WHEN (OLD.total IS DISTINCT FROM NEW.total OR OLD.shop <> NEW.shop) EXECUTE FUNCTION act();",
        "AFTER UPDATE ON orders " + ROW + "ALTER TABLE orders DISABLE TRIGGER audit;",
        "AFTER UPDATE ON orders " + ROW + "ALTER TABLE orders ENABLE REPLICA TRIGGER audit;",
    ],
)
def test_a_trigger_that_the_fill_does_not_fire_is_not_found(database: Any, trigger: str) -> None:
    """Other events, tables and columns, conditions on other columns, and triggers that are switched off."""
    database.execute(SHOP + LOG + "CREATE TRIGGER audit " + trigger)
    assert names(check(database)) == set()


@pytest.mark.parametrize(
    ("body", "act"),
    [
        ("RAISE EXCEPTION 'append only';", "RAISE"),
        ("RAISE 'append only';", "RAISE"),
        ("IF true THEN RETURN NULL; END IF; RETURN NEW;", "RETURN NULL"),
        ("INSERT INTO log DEFAULT VALUES; RETURN NEW;", "INSERT"),
        ("EXECUTE 'DELETE FROM log'; RETURN NEW;", "EXECUTE"),
        ("PERFORM pg_notify('a', 'b'); RETURN NEW;", "PERFORM"),
    ],
)
def test_a_before_trigger_that_acts_refuses(database: Any, body: str, act: str) -> None:
    """It raises, drops the row, or writes elsewhere."""
    database.execute(SHOP + PLAIN.format(body) + "CREATE TRIGGER guard BEFORE UPDATE ON orders " + ROW)
    found = check(database)
    assert refusals(found) == {("fill-fires-before-trigger", True)}
    assert f"({act})" in found[0].message


@pytest.mark.parametrize(
    "body",
    [
        "NEW.changed := now(); RETURN NEW;",
        "RAISE NOTICE 'RAISE EXCEPTION'; RETURN NEW;",
        "-- INSERT INTO log\n /* DELETE /* UPDATE */ RAISE */ RETURN NEW;",
        "IF TG_OP = 'INSERT' THEN NEW.total := 0; END IF; RETURN NEW;",
        "NEW.total := (SELECT id FROM shops WHERE id = NEW.shop FOR NO KEY UPDATE); RETURN NEW;",
    ],
)
def test_a_before_trigger_that_changes_its_row_is_undone(database: Any, body: str) -> None:
    """Words in comments, strings and locking clauses do not count."""
    database.execute(SHOP + PLAIN.format(body) + "CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON orders " + ROW)
    found = check(database)
    assert names(found) == {"fill-undoes-before-trigger"}
    assert not any(finding.refuses for finding in found)


def test_a_column_of_the_users_own_is_filled_where_it_may_be_null(database: Any) -> None:
    """Then its triggers run, too; a NOT NULL one is left alone."""
    database.execute(
        SHOP + LOG + "ALTER TABLE orders ADD owner int REFERENCES tenants DEFAULT 1;"
        "CREATE TRIGGER audit AFTER UPDATE ON orders " + ROW
    )
    tables = TABLES.replace('[["shop"]]', '[["owner"], ["shop"]]\ncolumn = "owner"')
    assert refusals(check(database, tables=tables)) == {("fill-fires-after-trigger", True)}
    database.execute("ALTER TABLE orders ALTER owner SET NOT NULL")
    assert names(check(database, tables=tables)) == set()


def test_a_run_that_goes_on_is_checked_for_what_is_left(database: Any) -> None:
    """The assignment stands already, and the fill is still to come."""
    database.execute(SHOP + TOUCH + "CREATE TRIGGER touch BEFORE UPDATE ON orders " + ROW)
    with session(database) as connection:
        schema, plan = planned(connection, TABLES)
        left = replace(plan, steps=tuple(step for step in plan.steps if step.phase is not Phase.EXPAND))
        found = preflight(connection, schema=schema, plan=left, until=Phase.ENFORCE, free_space=2**40)
        assert names(found) == {"fill-undoes-before-trigger"}
        nothing = replace(plan, steps=())
        assert names(preflight(connection, schema=schema, plan=nothing, until=Phase.ISOLATE, free_space=1)) == set()


@pytest.mark.parametrize("name", ["~zz", "última"])
def test_a_trigger_that_sorts_after_ours_refuses(database: Any, name: str) -> None:
    """It could change the parent afterwards (hazard 2); a letter beyond ASCII sorts there."""
    database.execute(SHOP + TOUCH + f'CREATE TRIGGER "{name}" BEFORE INSERT ON orders ' + ROW)
    found = check(database)
    assert refusals(found) == {("trigger-sorts-last", False)}
    assert "RENAME" in found[0].remedy


@pytest.mark.parametrize(
    "trigger",
    [
        "CREATE TRIGGER zebra BEFORE INSERT ON orders " + ROW,
        'CREATE TRIGGER "~a" BEFORE INSERT ON orders ' + ROW,
        'CREATE TRIGGER "~zz" AFTER INSERT ON orders ' + ROW,
        'CREATE TRIGGER "~zz" BEFORE DELETE ON orders ' + ROW,
        'CREATE TRIGGER "~zz" BEFORE INSERT ON orders ' + STATEMENT,
        'CREATE TRIGGER "~zz" BEFORE INSERT ON orders ' + ROW + 'ALTER TABLE orders DISABLE TRIGGER "~zz";',
    ],
)
def test_a_trigger_that_cannot_change_the_row_after_ours_may_sort_last(database: Any, trigger: str) -> None:
    """Earlier ones, and those of other events."""
    database.execute(SHOP + TOUCH + trigger)
    assert names(check(database)) == set()


def test_a_trigger_of_a_partitioned_table_is_found_once(database: Any) -> None:
    """Its copies on the partitions are not told one by one, and one of a partition's own is told as such."""
    database.execute(
        SHOP
        + LOG
        + """
        CREATE TABLE lines (id int PRIMARY KEY, shop int NOT NULL REFERENCES shops) PARTITION BY RANGE (id);
        CREATE TABLE lines_1 PARTITION OF lines FOR VALUES FROM (0) TO (10);
        CREATE TABLE lines_2 PARTITION OF lines FOR VALUES FROM (10) TO (20);
        CREATE TRIGGER audit AFTER UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION act();
        CREATE TRIGGER own AFTER UPDATE ON lines_2 FOR EACH ROW EXECUTE FUNCTION act();
        """
    )
    tables = TABLES + '[[table]]\nname = "lines"\npaths = [["shop"]]\n'
    found = named(check(database, tables=tables), "fill-fires-after-trigger")
    assert sorted(str(finding.table) for finding in found) == ["public.lines", "public.lines_2"]


@pytest.mark.parametrize(
    ("rule", "name", "forcible"),
    [
        ("ON UPDATE TO orders DO INSTEAD NOTHING", "rule-on-update", False),
        ("ON UPDATE TO orders DO ALSO INSERT INTO log DEFAULT VALUES", "rule-on-update", True),
        ("ON INSERT TO orders DO INSTEAD INSERT INTO archive VALUES (NEW.id)", "rule-on-insert", True),
    ],
)
def test_a_rule_refuses(database: Any, rule: str, name: str, forcible: bool) -> None:
    """One that replaces the fill's updates cannot be forced: nothing would be filled."""
    database.execute(SHOP + "CREATE RULE away AS " + rule)
    assert refusals(check(database)) == {(name, forcible)}


@pytest.mark.parametrize(
    "rule",
    [
        "CREATE RULE away AS ON DELETE TO orders DO INSTEAD NOTHING",
        "CREATE RULE away AS ON INSERT TO orders DO ALSO INSERT INTO log DEFAULT VALUES",
        "CREATE RULE away AS ON UPDATE TO archive DO INSTEAD NOTHING",
        "CREATE RULE away AS ON UPDATE TO orders DO INSTEAD NOTHING; ALTER TABLE orders DISABLE RULE away",
    ],
)
def test_a_rule_on_something_else_is_not_found(database: Any, rule: str) -> None:
    """Other events, other tables, and rules that are switched off."""
    database.execute(SHOP + rule)
    assert names(check(database)) == set()


def test_a_published_table_needs_a_replica_identity(database: Any) -> None:
    """Its updates fail without one, and so would the fill's; a publication of inserts does not mind."""
    database.execute(SHOP + "ALTER TABLE orders DROP CONSTRAINT orders_pkey; CREATE PUBLICATION p FOR ALL TABLES")
    assert ("publication-refuses-updates", False) in refusals(check(database))
    database.execute("ALTER TABLE orders ADD PRIMARY KEY (id) DEFERRABLE")
    assert ("publication-refuses-updates", False) in refusals(check(database))
    with pytest.raises(Exception, match="does not have a replica identity"):
        database.execute("UPDATE orders SET total = 0")
    database.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    assert refusals(check(database)) == set()
    database.execute(
        "ALTER TABLE orders REPLICA IDENTITY DEFAULT; ALTER PUBLICATION p SET (publish = 'insert, delete')"
    )
    assert refusals(check(database)) == set()


def test_a_published_table_must_not_outgrow_its_subscribers(database: Any) -> None:
    """A subscriber without the column stops; without a subscriber's slot it is a warning."""
    database.execute(SHOP + "CREATE PUBLICATION p FOR TABLE orders")
    (found,) = named(check(database), "publication-grows")
    assert not found.refuses
    with database.connect(autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('shop', 'pgoutput')")
    try:
        assert refusals(check(database)) == {("publication-grows", True)}
    finally:
        with database.connect(autocommit=True) as connection:
            connection.execute("SELECT pg_drop_replication_slot('shop')")
    database.execute("DROP PUBLICATION p")
    assert names(check(database)) == set()


@pytest.mark.pg(">= 15")
def test_a_publication_of_named_columns_does_not_grow(database: Any) -> None:
    """The new column is not sent."""
    database.execute(SHOP + "CREATE PUBLICATION p FOR TABLE orders (id, shop)")
    assert names(check(database)) == set()


UNPROVED = "ALTER TABLE orders ADD CONSTRAINT dear CHECK (total > 9) NOT VALID;"
ASTRAY = """
    ALTER TABLE orders DROP CONSTRAINT orders_shop_fkey; UPDATE orders SET shop = 9 WHERE id < 4;
    ALTER TABLE orders ADD CONSTRAINT astray FOREIGN KEY (shop) REFERENCES shops NOT VALID;
"""


def test_rows_that_break_a_check_nobody_has_validated(database: Any) -> None:
    """No update of them is allowed; once they are right, or where no row is touched, nothing is found."""
    database.execute(SHOP + UNPROVED)
    (found,) = named(check(database), "check-broken")
    assert (found.count, found.refuses, found.forcible) == (9, True, False)
    assert names(check(database, tables=CONSTANT)) == set()
    database.execute("DELETE FROM orders WHERE total <= 9")
    assert names(check(database)) == set()


def test_rows_that_break_a_key_nobody_has_validated(database: Any) -> None:
    """They are named before anything is changed, not by the proof of the key beside it."""
    database.execute(SHOP + ASTRAY)
    tables = TABLES.replace('paths = [["shop"]]', 'paths = [["shop"]]\norphans = "default"')
    tenant = 'table = "tenants"\ndefault = "north"'
    (found,) = named(check(database, tables=tables, tenant=tenant, until=Phase.CONTRACT), "key-broken")
    assert (found.count, found.refuses, found.forcible) == (3, True, False)
    assert "astray" in found.message
    assert names(check(database, tables=tables, tenant=tenant, until=Phase.ENFORCE)) == set()


def test_tables_that_can_have_no_column_more(database: Any) -> None:
    """Typed ones, those with 1600 columns, and foreign parts of others; their remedies help."""
    database.execute(
        SHOP
        + """
        CREATE TYPE form AS (id int, shop int);
        CREATE TABLE forms OF form (FOREIGN KEY (shop) REFERENCES shops);
        CREATE TABLE wide (shop int NOT NULL REFERENCES shops);
        DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE wide ' || string_agg('ADD c' || n || ' int', ', ') FROM generate_series(1, 1599) n);
        END $$;
        CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
        CREATE TABLE parts (id int, shop int NOT NULL) PARTITION BY LIST (id);
        CREATE FOREIGN TABLE parts_far PARTITION OF parts FOR VALUES IN (1) SERVER far;
    """
    )
    tables = TABLES + "".join(
        f'[[table]]\nname = "{name}"\nassign = {{ tenant = "north" }}\n' for name in ("forms", "wide", "parts")
    )
    found = check(database, tables=tables)
    assert [(one.name, str(one.table)) for one in found if not one.forcible] == [
        ("no-room-for-column", "public.forms"), ("no-room-for-column", "public.wide"), ("foreign-part", "public.parts_far"),
    ]  # fmt: skip
    database.execute("ALTER TABLE forms NOT OF; ALTER TABLE parts DETACH PARTITION parts_far; DROP TABLE wide")
    tables = tables.replace('[[table]]\nname = "wide"\nassign = { tenant = "north" }\n', "")
    assert names(check(database, tables=tables)) == set()


def test_tenants_that_share_a_slug(database: Any) -> None:
    """Where tenants are named by it; along keys alone nobody asks for it."""
    database.execute(
        SHOP + "ALTER TABLE tenants DROP CONSTRAINT tenants_slug_key; INSERT INTO tenants VALUES (2, 'north')"
    )
    assert names(check(database)) == set()
    (found,) = named(check(database, tables=CONSTANT), "slug-shared")
    assert (found.count, found.refuses, found.forcible) == (2, True, False)


def test_a_tenant_that_cannot_be_added(database: Any) -> None:
    """Its slug is no number, and nobody knows its currency: refused before anything is changed; one that exists needs
    neither."""
    database.execute(
        SHOP
        + """
        ALTER TABLE tenants ADD currency int NOT NULL DEFAULT 1;
        ALTER TABLE tenants ALTER currency DROP DEFAULT;
        """
    )
    spec = 'table = "tenants"\nquarantine = "unknown"'
    tables = TABLES.replace('[["owner"]]', '[["owner"]]\norphans = "quarantine"')
    (found,) = named(check(database, tables=tables, tenant=spec), "tenant-cannot-be-added")
    assert (found.refuses, found.forcible) == (True, False)
    assert found.message.endswith("currency is NOT NULL")
    numbers = f'{spec}\nslug = "id"'
    (found,) = named(check(database, tables=tables, tenant=numbers), "tenant-cannot-be-added")
    assert "id is integer, and would be 'unknown'" in found.message
    database.execute("INSERT INTO tenants VALUES (7, 'unknown', 1)")
    assert named(check(database, tables=tables, tenant=spec), "tenant-cannot-be-added") == []


@pytest.mark.pg(">= 18")
def test_keys_over_a_period(database: Any) -> None:
    """A key of ours beside one would compare periods for equality, and refuse what lies within."""
    database.execute(
        SHOP
        + """
        CREATE EXTENSION btree_gist;
        CREATE TABLE room (id int, during daterange, shop int NOT NULL REFERENCES shops, PRIMARY KEY (id, during WITHOUT OVERLAPS));
        CREATE TABLE stay (room int, during daterange, shop int NOT NULL REFERENCES shops,
          FOREIGN KEY (room, PERIOD during) REFERENCES room (id, PERIOD during));
    """
    )
    tables = TABLES + "".join(f'[[table]]\nname = "{name}"\npaths = [["shop"]]\n' for name in ("room", "stay"))
    (found,) = named(check(database, tables=tables, until=Phase.CONTRACT), "key-over-period")
    assert (found.table.name, found.forcible) == ("stay", False)
