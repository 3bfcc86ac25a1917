"""What the application role can see and do, in every way that PostgreSQL offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from acceptance.isolation_schema import SCHEMA, SPEC
from operator_runs import operated
from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec

pytestmark = [pytest.mark.server, pytest.mark.differs]


OWNED = ('"Order"', "line", "event", "event_2025", "event_rest", "totals", "codes")


class Application:
    """Acts as the application role, in transactions that are rolled back."""

    def __init__(self, database: Database, role: str) -> None:
        self.database = database
        self.role = role
        self.keys = dict(database.rows("SELECT slug, id::text FROM tenants"))
        self.orders = dict(database.rows('SELECT code, id FROM "Order"'))

    @contextmanager
    def as_tenant(self, slug: str | None) -> Iterator[psycopg.Connection[Any]]:
        with self.database.connect() as connection, connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.role)))
            if slug is not None:
                connection.execute(sql.SQL("SET LOCAL app.tenant_id = {}").format(sql.Literal(self.keys[slug])))
            yield connection

    def rows(self, slug: str | None, query: str) -> list[tuple[Any, ...]]:
        with self.as_tenant(slug) as connection:
            return connection.execute(query).fetchall()

    def count(self, slug: str | None, table: str) -> int:
        return self.rows(slug, f"SELECT count(*) FROM {table}")[0][0]

    def changed(self, slug: str | None, statement: str) -> int:
        with self.as_tenant(slug) as connection:
            return connection.execute(statement).rowcount

    def refused(self, slug: str | None, statement: str, error: type[psycopg.Error]) -> None:
        # Checks that wait for the end of the transaction are asked for at once.
        with pytest.raises(error), self.as_tenant(slug) as connection:
            connection.execute(f"{statement}; SET CONSTRAINTS ALL IMMEDIATE")


@pytest.fixture(params=[Phase.ISOLATE, Phase.CONTRACT], ids=str)
def application(request: pytest.FixtureRequest, template: Callable[..., Database]) -> Application:
    """On a copy of a database that was migrated once for all tests."""
    name = f"isolation_{request.param}"

    def build(database: Database) -> None:
        database.execute(SCHEMA)
        spec = Spec.parse(SPEC.format(role=name))
        migrate(operated(database, spec), spec, MigrateOptions(until=request.param, force=True))

    return Application(template(name, build), name)


def test_without_a_tenant_no_owned_row_is_visible(application: Application) -> None:
    invoker = application.database.server.major >= 15
    for table in ('"Order"', "line", "event", "tenants"):
        assert application.count(None, table) == 0
    if invoker:
        assert application.count(None, "codes") == 0
    assert application.rows(None, "SELECT name FROM tag") == [("everybody",)]
    assert application.count(None, "country") == 1


def test_an_empty_setting_is_no_tenant(application: Application) -> None:
    """After SET LOCAL has ended the setting is an empty string."""
    with application.database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(application.role)))
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL app.tenant_id = {}").format(sql.Literal(application.keys["one"])))
            assert connection.execute('SELECT count(*) FROM "Order"').fetchone() == (5,)
        assert connection.execute("SELECT current_setting('app.tenant_id', true)").fetchone() == ("",)
        assert connection.execute('SELECT count(*) FROM "Order"').fetchone() == (0,)


def test_a_tenant_sees_only_its_own(application: Application) -> None:
    assert application.rows("one", 'SELECT DISTINCT left(code, 3) FROM "Order"') == [("one",)]
    assert application.count("one", "line") == 5
    assert application.count("one", "event") == 10
    assert application.rows("one", "SELECT slug FROM tenants") == [("one",)]
    assert application.rows("one", "SELECT name FROM tag ORDER BY 1") == [("everybody",), ("ones",)]
    with (
        application.as_tenant("two") as connection,
        connection.cursor().copy('COPY (SELECT code FROM "Order") TO STDOUT') as copy,
    ):
        assert {line[:3] for line in copy.rows() for line in line} == {"two"}


def test_partitions_addressed_directly_are_closed(application: Application) -> None:
    for partition in ("event_2025", "event_rest"):
        application.refused("one", f"SELECT * FROM {partition}", psycopg.errors.InsufficientPrivilege)
        application.database.execute(f"GRANT ALL ON {partition} TO {application.role}")
        assert application.count("one", partition) == 5
        assert application.count(None, partition) == 0
        application.database.execute(f"REVOKE ALL ON {partition} FROM {application.role}")


def test_views(application: Application) -> None:
    if application.database.server.major < 15:
        application.refused("one", "SELECT * FROM totals", psycopg.errors.InsufficientPrivilege)
    else:
        assert application.rows("one", "SELECT DISTINCT left(code, 3) FROM totals") == [("one",)]
        assert application.rows("two", "SELECT DISTINCT left(code, 3) FROM codes") == [("two",)]


def test_writes_get_the_tenant_of_the_session(application: Application) -> None:
    own = application.orders["one1"]
    with application.as_tenant("one") as connection:
        connection.execute("INSERT INTO \"Order\" (code) VALUES ('new')")
        assert connection.execute("SELECT org::text FROM \"Order\" WHERE code = 'new'").fetchone() == (
            application.keys["one"],
        )
        row = connection.execute(f"INSERT INTO line VALUES ({own}, 9, 'more', 2) RETURNING tenant_id::text").fetchone()
        assert row == (application.keys["one"],)
        connection.execute(f"INSERT INTO event VALUES (99, '2025-02-02', {own})")
        connection.execute("INSERT INTO tag (id, name) VALUES (9, 'mine')")
        assert connection.execute("SELECT org::text FROM tag WHERE id = 9").fetchone() == (application.keys["one"],)


def test_writes_do_not_reach_other_tenants(application: Application) -> None:
    theirs = application.orders["two1"]
    assert application.changed("one", f'UPDATE "Order" SET total = 0 WHERE id = {theirs}') == 0
    assert application.changed("one", f'DELETE FROM "Order" WHERE id = {theirs}') == 0
    assert application.changed("one", 'UPDATE "Order" SET total = total') == 5
    assert application.changed(None, 'UPDATE "Order" SET total = total') == 0
    assert application.changed("one", "UPDATE tag SET name = name") == 1
    assert application.changed("one", "DELETE FROM tag WHERE id = 1") == 0
    denied = psycopg.errors.InsufficientPrivilege
    other = application.keys["two"]
    application.refused("one", f"INSERT INTO \"Order\" (org, code) VALUES ('{other}', 'x')", denied)
    application.refused("one", f"UPDATE \"Order\" SET org = '{other}' WHERE code = 'one1'", denied)
    application.refused("one", "UPDATE tag SET org = NULL WHERE id = 2", denied)
    application.refused(None, "INSERT INTO \"Order\" (code) VALUES ('x')", psycopg.Error)
    application.refused("one", "INSERT INTO country VALUES ('xx')", denied)
    application.refused("one", "UPDATE tenants SET name = 'x'", denied)


def test_references_to_other_tenants_are_refused(application: Application) -> None:
    own, theirs = application.orders["one1"], application.orders["two1"]
    broken = psycopg.errors.ForeignKeyViolation
    application.refused("one", f"INSERT INTO line VALUES ({theirs}, 9, 'x', 1)", broken)
    application.refused("one", f"UPDATE line SET order_id = {theirs}, number = 9 WHERE order_id = {own}", psycopg.Error)
    application.refused("one", f"INSERT INTO event VALUES (98, '2025-02-02', {theirs})", broken)
    application.refused("one", f"INSERT INTO line VALUES ({own}, 9, 'x', 3)", broken)
    application.refused("one", f"UPDATE line SET tag = 3 WHERE order_id = {own}", broken)
    assert application.changed("one", f"UPDATE line SET tag = 2 WHERE order_id = {own}") == 1


def test_on_conflict_and_merge(application: Application) -> None:
    own = application.orders["one1"]
    upsert = f"INSERT INTO line VALUES ({own}, 1, 'y', 1) ON CONFLICT (order_id, number) DO UPDATE SET what = 'y'"
    assert application.changed("one", upsert) == 1
    theirs = application.orders["two1"]
    stolen = f"INSERT INTO line VALUES ({theirs}, 1, 'y', 1) ON CONFLICT (order_id, number) DO UPDATE SET what = 'y'"
    application.refused("one", stolen, psycopg.Error)
    if application.database.server.major >= 15:
        merge = (
            'MERGE INTO line USING (SELECT id FROM "Order") AS o ON line.order_id = o.id AND line.number = 1'
            " WHEN MATCHED THEN UPDATE SET what = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (o.id, 1, 'new', 1)"
        )
        assert application.changed("one", merge) == 5


def test_truncate_and_references_are_not_granted(application: Application) -> None:
    denied = psycopg.errors.InsufficientPrivilege
    application.refused("one", "TRUNCATE line", denied)
    application.refused("one", 'TRUNCATE "Order" CASCADE', denied)
    for privilege in ("TRUNCATE", "REFERENCES", "TRIGGER"):
        query = f"SELECT has_table_privilege('{application.role}', 'line', '{privilege}')"
        assert application.database.rows(query) == [(False,)]


def test_other_roles_see_nothing(application: Application, role: Callable[..., str]) -> None:
    """The floor holds for a role that somebody grants everything, and for a policy that somebody adds."""
    other = role("NOLOGIN", name="other")
    application.database.execute(f'GRANT ALL ON "Order", line TO {other}; CREATE POLICY open ON "Order" USING (true)')
    with application.database.connect() as connection:
        connection.execute(f"SET ROLE {other}")
        assert connection.execute('SELECT count(*) FROM "Order"').fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM line").fetchone() == (0,)
    assert application.count("one", '"Order"') == 5
