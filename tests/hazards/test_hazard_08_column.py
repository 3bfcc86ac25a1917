"""Hazard 8: what an old application notices of a new column, found beforehand, and what mends it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest

from servers import Database
from tenantry.errors import Refused
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
CREATE TABLE sales (id integer PRIMARY KEY, store integer NOT NULL REFERENCES stores, total integer);
CREATE TABLE tills (id integer PRIMARY KEY, store integer NOT NULL REFERENCES stores);
CREATE TABLE archive (id integer, store integer, total integer);
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO sales VALUES (1, 1, 10), (2, 2, 20), (3, 1, 30);
INSERT INTO tills VALUES (1, 1), (2, 2);
"""
TABLES = """
[[table]]
name = "stores"
paths = [["owner"]]
[[table]]
name = "sales"
paths = [["store"]]
[[table]]
name = "tills"
paths = [["store"]]
[[table]]
name = "archive"
shared = true
"""
LANGUAGES = {"sql": "LANGUAGE sql AS $$ {} $$", "plpgsql": "LANGUAGE plpgsql AS $$ BEGIN {} END $$"}


def function(name: str, returns: str, language: str, text: str) -> str:
    body = LANGUAGES[language].format(text)
    return f"CREATE OR REPLACE FUNCTION {name}() RETURNS {returns} {body};"


AUDIT = "CREATE TRIGGER audit AFTER DELETE ON sales FOR EACH ROW EXECUTE FUNCTION audit()"
# Finding, returned type, language, body, its use, what it does then (an error, or a result), the body that goes on.
FUNCTIONS = {
    "copy_all": (
        "insert-select-star", "void", "sql", "INSERT INTO archive SELECT * FROM sales", "SELECT copy_all()",
        psycopg.errors.SyntaxError, "INSERT INTO archive SELECT id, store, total FROM sales",
    ),
    "audit": (
        "row-inserted", "trigger", "plpgsql", "INSERT INTO archive VALUES (OLD.*); RETURN NULL;",
        "DELETE FROM sales WHERE id = 3",
        psycopg.errors.SyntaxError, "INSERT INTO archive VALUES (OLD.id, OLD.store, OLD.total); RETURN NULL;",
    ),
    "listed": (
        "function-lists-columns", "SETOF sales", "plpgsql", "RETURN QUERY SELECT id, store, total FROM sales;",
        "SELECT count(*) FROM listed()",
        psycopg.errors.DatatypeMismatch, "RETURN QUERY SELECT * FROM sales;",
    ),
    "starred": (
        "function-returns-star", "TABLE (a integer, b integer, c integer)", "plpgsql",
        "RETURN QUERY SELECT * FROM sales;", "SELECT count(*) FROM starred()",
        psycopg.errors.DatatypeMismatch, "RETURN QUERY SELECT id, store, total FROM sales;",
    ),
    "loaded": (
        "copy-without-columns", "void", "plpgsql", "COPY sales FROM PROGRAM 'echo 7,1,70' (FORMAT csv);",
        "SELECT loaded()",
        psycopg.errors.BadCopyFileFormat, "COPY sales (id, store, total) FROM PROGRAM 'echo 7,1,70' (FORMAT csv);",
    ),
    "joined": (
        "natural-join", "bigint", "sql", "SELECT count(*) FROM sales NATURAL JOIN tills", "SELECT joined()",
        0, "SELECT count(*) FROM sales JOIN tills USING (id, store)",
    ),
}  # fmt: skip


def outcome(shop: Any, statement: str) -> Any:
    """What a statement returns, or the error that it raises; nothing of it stays."""
    with closing(shop.connect()) as session:
        try:
            cursor = session.execute(statement)
            return cursor.fetchone()[0] if cursor.description else cursor.rowcount
        except psycopg.Error as error:
            return type(error)
        finally:
            session.rollback()


def test_what_breaks_is_found_and_mended(business: Business) -> None:
    """Each kind refuses the run and is named; it works before and breaks after, and its remedy holds."""
    made = "".join(function(name, *parts[1:4]) for name, parts in FUNCTIONS.items())
    shop = business(SHOP + made + AUDIT, TABLES)
    before = {name: outcome(shop, parts[4]) for name, parts in FUNCTIONS.items()}
    assert before == {"copy_all": None, "audit": 1, "listed": 3, "starred": 3, "loaded": "", "joined": 2}
    with pytest.raises(Refused) as refused:
        shop.migrate(Phase.EXPAND)
    said = "\n".join((refused.value.message, *refused.value.details))
    assert [name for name, parts in FUNCTIONS.items() if f"function public.{name}" not in said] == []
    assert "--force" in refused.value.remedy
    assert shop.rows("SELECT to_regnamespace('tenantry')") == [(None,)]

    found = shop.migrate(Phase.EXPAND, force=True).findings
    assert {parts[0] for parts in FUNCTIONS.values()} <= {finding.name for finding in found if finding.remedy}
    assert {name: outcome(shop, parts[4]) for name, parts in FUNCTIONS.items()} == {
        name: parts[5] for name, parts in FUNCTIONS.items()
    }
    for name, parts in FUNCTIONS.items():
        shop.execute(function(name, parts[1], parts[2], parts[6]))
    assert {name: outcome(shop, parts[4]) for name, parts in FUNCTIONS.items()} == before


def test_what_is_mended_refuses_nothing(business: Business) -> None:
    """The remedies are in before the run; the column stays unnoticed all the way to enforce."""
    made = "".join(function(name, parts[1], parts[2], parts[6]) for name, parts in FUNCTIONS.items())
    shop = business(SHOP + made + AUDIT, TABLES)
    before = {name: outcome(shop, parts[4]) for name, parts in FUNCTIONS.items()}
    shop.migrate(Phase.ENFORCE)
    assert {name: outcome(shop, parts[4]) for name, parts in FUNCTIONS.items()} == before


PREPARED = {
    "SELECT * FROM sales": "SELECT id, store, total FROM sales",
    "UPDATE sales SET total = total RETURNING *": "UPDATE sales SET total = total RETURNING id, store, total",
}


@pytest.mark.parametrize("statement", PREPARED)
def test_prepared_statements(business: Business, statement: str) -> None:
    """A prepared star fails once where a rollback follows, as the driver then forgets what it has prepared."""
    shop = business(SHOP, TABLES)
    with closing(shop.connect()) as session:
        for text in (statement, PREPARED[statement]):
            session.execute(text, prepare=True)
        session.commit()
        shop.migrate(Phase.EXPAND)
        session.execute(PREPARED[statement], prepare=True)
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan"):
            session.execute(statement, prepare=True)
        session.rollback()
        session.execute(statement, prepare=True)


def test_prepared_statements_without_transactions(business: Business) -> None:
    """Without one it fails until it is prepared anew."""
    shop = business(SHOP, TABLES)
    with closing(shop.connect(autocommit=True)) as session:
        session.execute("SELECT * FROM sales", prepare=True)
        shop.migrate(Phase.EXPAND)
        for _ in range(2):
            with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan"):
                session.execute("SELECT * FROM sales", prepare=True)
        session.execute("DEALLOCATE ALL")
        session.execute("SELECT * FROM sales", prepare=True)


CLIENTS = {
    "SELECT * FROM sales": "select-star",
    "UPDATE sales SET total = total RETURNING *": "returning-star",
    "COPY sales FROM STDIN": "copy-without-columns",
    "INSERT INTO archive SELECT * FROM sales": "insert-select-star",
    "SELECT count(*) FROM sales NATURAL JOIN tills": "natural-join",
}


@pytest.mark.pg("!= 16")  # whose wheel has no pg_stat_statements
def test_what_clients_run_is_found(business: Business, database: Database) -> None:
    """Statements that the server remembers are read like functions."""
    database.track_statements()
    shop = business(SHOP, TABLES)
    with closing(shop.connect()) as session, session.cursor() as cursor:
        for statement in CLIENTS:
            if statement.startswith("COPY"):
                with cursor.copy(statement) as copy:
                    copy.write("9\t1\t90\n")
            else:
                cursor.execute(statement)
        session.rollback()
    with pytest.raises(Refused):
        shop.migrate(Phase.EXPAND)
    findings = shop.migrate(Phase.EXPAND, force=True).findings
    assert set(CLIENTS.values()) <= {
        finding.name for finding in findings if "a statement of postgres" in finding.message
    }


def test_what_the_server_cannot_see_is_said(business: Business) -> None:
    """Without pg_stat_statements the run says that it does not know what clients run."""
    findings = business(SHOP, TABLES).migrate(Phase.EXPAND).findings
    assert [finding.name for finding in findings] == ["statements-unknown"]
