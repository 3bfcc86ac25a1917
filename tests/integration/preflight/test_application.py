"""Preflight finds what a new column breaks, and each of it does break (hazard 8)."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from preflights import SHOP, TABLES, check, named, names, refusals, session
from tenantry.execution.preflight.query_compatibility import KINDS
from tenantry.postgres.preflight import read_facts

pytestmark = pytest.mark.server

GROW = "ALTER TABLE orders ADD COLUMN tenant_id int; ALTER TABLE shops ADD COLUMN tenant_id int; "
COLUMNS = "id int, shop int, total numeric, changed timestamptz"
LIST = "id, shop, total, changed"
PLPGSQL = "CREATE FUNCTION broken() RETURNS {} LANGUAGE plpgsql AS $$ {} $$;"
SQL = "CREATE FUNCTION broken() RETURNS {} LANGUAGE sql AS $$ {} $$;"
TRIGGER = PLPGSQL + "CREATE TRIGGER audit AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION broken();"
ROWS = "SELECT count(*) FROM broken()"
CALL = "SELECT broken()"
DELETE = "DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)"

BREAKING = {
    "archive": ("insert-select-star", SQL.format("void", "INSERT INTO archive SELECT * FROM orders"), CALL),
    "archive of deleted rows": (
        "insert-select-star",
        SQL.format("void", "WITH o AS (DELETE FROM orders RETURNING *) INSERT INTO archive SELECT * FROM o"),
        CALL,
    ),
    "archive by EXECUTE": (
        "insert-select-star",
        PLPGSQL.format("void", "BEGIN EXECUTE 'INSERT INTO archive SELECT o.* FROM public.orders o'; END"),
        CALL,
    ),
    "audit of OLD.*": (
        "row-inserted",
        TRIGGER.format("trigger", "BEGIN INSERT INTO archive VALUES (OLD.*); RETURN NULL; END"),
        DELETE,
    ),
    "audit of SELECT (OLD).*": (
        "row-inserted",
        TRIGGER.format("trigger", "BEGIN INSERT INTO archive SELECT (OLD).*; RETURN NULL; END"),
        DELETE,
    ),
    "audit by EXECUTE": (
        "row-inserted",
        TRIGGER.format("trigger", "BEGIN EXECUTE 'INSERT INTO archive SELECT $1.*' USING OLD; RETURN NULL; END"),
        DELETE,
    ),
    "row variable": (
        "row-inserted",
        PLPGSQL.format(
            "void",
            "DECLARE r public.orders%ROWTYPE; BEGIN SELECT * INTO r FROM orders LIMIT 1;"
            " INSERT INTO archive VALUES (r.*); END",
        ),
        CALL,
    ),
    "SETOF with a list": (
        "function-lists-columns",
        SQL.format("SETOF orders", f"SELECT {LIST} FROM orders"),
        ROWS,
    ),
    "SETOF with a list in PL/pgSQL": (
        "function-lists-columns",
        PLPGSQL.format("SETOF orders", f"BEGIN RETURN QUERY SELECT {LIST} FROM orders; END"),
        ROWS,
    ),
    "a record as a row": (
        "function-lists-columns",
        PLPGSQL.format("orders", f"DECLARE r record; BEGIN SELECT {LIST} INTO r FROM orders; RETURN r; END"),
        CALL,
    ),
    "a body that was read when it was made": (
        "function-lists-columns",
        "CREATE FUNCTION broken() RETURNS SETOF orders LANGUAGE sql BEGIN ATOMIC SELECT * FROM orders; END;",
        ROWS,
    ),
    "TABLE with a star": (
        "function-returns-star",
        SQL.format(f"TABLE ({COLUMNS})", "SELECT * FROM orders"),
        ROWS,
    ),
    "TABLE with a star in PL/pgSQL": (
        "function-returns-star",
        PLPGSQL.format(
            "TABLE (a int, b int, c numeric, d timestamptz)", "BEGIN RETURN QUERY SELECT * FROM orders; END"
        ),
        ROWS,
    ),
}

HARMLESS = {
    "a view": "CREATE VIEW broken AS SELECT * FROM orders",
    "named columns": SQL.format("void", f"INSERT INTO archive SELECT {LIST} FROM orders"),
    "another table": SQL.format("void", "INSERT INTO log SELECT * FROM log"),
    "into ours": SQL.format("void", "INSERT INTO orders SELECT * FROM archive"),
    "no list of columns": SQL.format("void", "INSERT INTO orders VALUES (1001, 1)"),
    "count": SQL.format("bigint", "SELECT count(*) FROM orders"),
    "a product": SQL.format("numeric", "SELECT sum(total * 2) FROM orders"),
    "exists": SQL.format("boolean", "SELECT EXISTS (SELECT * FROM orders)"),
    "exists, behind INSERT": SQL.format(
        "void", "INSERT INTO archive (id) SELECT 1 WHERE EXISTS (SELECT * FROM orders)"
    ),
    "a comment": PLPGSQL.format("void", "BEGIN /* INSERT INTO archive SELECT * FROM orders; */ RETURN; END"),
    "a record": PLPGSQL.format(
        "void", "DECLARE r record; BEGIN FOR r IN SELECT * FROM orders LOOP NULL; END LOOP; END"
    ),
    "SETOF with a star": SQL.format("SETOF orders", "SELECT * FROM orders"),
    "SETOF with whole rows": SQL.format("SETOF orders", "SELECT o FROM orders o"),
    "SETOF by a row variable": PLPGSQL.format(
        "SETOF orders",
        "DECLARE r orders; BEGIN FOR r IN SELECT * FROM orders LOOP RETURN NEXT r; END LOOP; END",
    ),
    "TABLE with a list": SQL.format(f"TABLE ({COLUMNS})", f"SELECT {LIST} FROM orders"),
    "a row of its own": TRIGGER.format(
        "trigger", "BEGIN INSERT INTO archive VALUES (OLD.id, OLD.shop); RETURN NULL; END"
    ),
    "a join by named columns": SQL.format("bigint", "SELECT count(*) FROM orders JOIN shops USING (id)"),
    "a natural join with a table that stays": SQL.format("bigint", "SELECT count(*) FROM orders NATURAL JOIN archive"),
}


@pytest.mark.parametrize("case", BREAKING)
def test_what_a_new_column_breaks_is_found(database: Any, case: str) -> None:
    """It is found in the function; it works before the column is there, and fails with it."""
    name, made, use = BREAKING[case]
    database.execute(SHOP + made)
    found = check(database)
    assert refusals(found) == {(name, True)}
    assert named(found, name)[0].table is not None
    assert "function " in found[0].message
    database.execute(use)
    with pytest.raises(psycopg.Error):
        database.execute(GROW + use)


@pytest.mark.parametrize("case", HARMLESS)
def test_what_a_new_column_leaves_alone_is_not_found(database: Any, case: str) -> None:
    """It works before and after."""
    database.execute(SHOP + HARMLESS[case])
    assert names(check(database)) == set()
    if "broken()" in HARMLESS[case] and "TRIGGER" not in HARMLESS[case]:
        database.execute(CALL + ";" + GROW + "DELETE FROM orders WHERE id = 1001;" + CALL)


TILLS = """
    CREATE TABLE tills (id int PRIMARY KEY, shop int REFERENCES shops);
    INSERT INTO tills VALUES (1, 1);
"""
OWNED_TILLS = TABLES + '[[table]]\nname = "tills"\npaths = [["shop"]]\n'
SHARED_TILLS = TABLES + '[[table]]\nname = "tills"\nshared = true\n'


def test_a_natural_join_loses_rows_in_silence(database: Any) -> None:
    """The tenants of both sides are compared, too, of which neither is there yet."""
    database.execute(SHOP + TILLS + SQL.format("bigint", "SELECT count(*) FROM orders NATURAL JOIN tills"))
    assert refusals(check(database, tables=OWNED_TILLS)) == {("natural-join", True)}
    assert names(check(database, tables=SHARED_TILLS)) == set()
    assert database.rows(CALL) == [(1,)]
    database.execute(GROW + "ALTER TABLE tills ADD COLUMN tenant_id int")
    assert database.rows(CALL) == [(0,)]


def test_a_copy_into_another_owned_table_is_a_warning(database: Any) -> None:
    """Both grow, one after the other."""
    database.execute(
        SHOP + TILLS + SQL.format("void", "INSERT INTO tills SELECT o.* FROM (SELECT id, shop FROM orders) o")
    )
    found = check(database, tables=OWNED_TILLS)
    assert names(found) == {"archive-select-star"}
    assert not any(finding.refuses for finding in found)
    assert refusals(check(database, tables=SHARED_TILLS)) == {("insert-select-star", True)}


def test_a_column_of_the_tables_row_type_is_a_warning(database: Any) -> None:
    """ROW(…) casts to it have one value too few."""
    database.execute(SHOP + "ALTER TABLE log ADD COLUMN what orders")
    (found,) = named(check(database), "row-type-column")
    assert "public.log.what" in found.message


def test_a_table_without_a_new_column_has_no_such_findings(database: Any) -> None:
    """The tenant column is there already."""
    database.execute(SHOP + SQL.format("void", "INSERT INTO log SELECT now() FROM (SELECT * FROM shops) s"))
    assert names(check(database)) == set()


# --- statements of clients

STATEMENTS = {
    "SELECT * FROM orders WHERE id = 1": {"select-star"},
    "SELECT o.*, 1 FROM public.orders AS o": {"select-star"},
    "INSERT INTO orders (id, shop) VALUES (2000, 1) RETURNING *": {"returning-star"},
    "UPDATE orders SET total = 1 WHERE id = 2 RETURNING *": {"returning-star"},
    "INSERT INTO archive SELECT * FROM orders": {"insert-select-star"},
    "COPY orders FROM STDIN": {"copy-without-columns"},
    "COPY orders TO STDOUT": {"copy-to-without-columns"},
    "COPY orders (id, shop) TO STDOUT": set(),
    "SELECT count(*) FROM orders": set(),
    "SELECT total * 2 FROM orders": set(),
    "SELECT id FROM (SELECT * FROM orders) o": set(),
    "SELECT * FROM archive": set(),
}


@pytest.mark.pg("!= 16")  # whose wheel has no pg_stat_statements
@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements_that_the_server_remembers_are_read(database: Any, statement: str) -> None:
    """By what they say, with the role that ran them."""
    database.execute(SHOP)
    database.track_statements()
    with database.connect() as connection, connection.cursor() as cursor:
        if statement.startswith("COPY"):
            with cursor.copy(statement) as copy:
                if "FROM" not in statement:
                    list(copy)
        else:
            cursor.execute(statement)
    found = check(database)
    assert names(found) == STATEMENTS[statement]
    for finding in found:
        assert "a statement of postgres" in finding.message
        assert finding.samples


def test_without_the_extension_it_says_so(database: Any, role: Callable[..., str]) -> None:
    """What clients run is then not known."""
    database.execute(SHOP)
    assert named(check(database), "statements-unknown")
    with session(database) as connection:
        assert read_facts(connection, roles=(), schemas=(), application="").executed is None


def test_every_kind_has_a_remedy() -> None:
    """And none ends a sentence that the finding goes on with."""
    assert all(kind.remedy and not kind.why.endswith(".") for kind in KINDS.values())
