"""Hazard 10: isolate shuts out whoever is in no class; COPY FROM and pg_dump of those whom policies hold."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from servers import Database, client
from tenantry.errors import ExitStatus, Refused
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]
Role = Callable[..., str]

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
CREATE TABLE sales (id integer PRIMARY KEY, store integer NOT NULL REFERENCES stores, total integer);
CREATE VIEW totals AS SELECT store, total FROM sales;
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO sales VALUES (1, 1, 10), (2, 2, 20);
"""
TABLES = """
[[table]]
name = "stores"
paths = [["owner"]]
[[table]]
name = "sales"
paths = [["store"]]
"""


def opened(business: Business, *clerks: str, legacy: tuple[str, ...] = (), more: str = "", **options: Any) -> Any:
    """A shop in which the clerks may do everything with sales."""
    granted = "".join(f"GRANT SELECT, INSERT, UPDATE, DELETE ON sales, stores, tenants TO {clerk};" for clerk in clerks)
    shop = business(SHOP + granted + more, TABLES, **options)
    application = shop.spec.application.model_copy(update={"legacy_roles": legacy})
    return replace(shop, spec=shop.spec.model_copy(update={"application": application}))


def does(shop: Any, role: str, statement: str, tenant: str = "") -> Any:
    """What a statement of that role returns, the number of rows that it changes, or the error that it raises."""
    with closing(shop.connect()) as session:
        session.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        if tenant:
            session.execute(sql.SQL("SET LOCAL app.tenant_id = {}").format(sql.Literal(tenant)))
        try:
            cursor = session.execute(statement)
            return cursor.fetchone()[0] if cursor.description else cursor.rowcount
        except psycopg.Error as error:
            return type(error)
        finally:
            session.rollback()


COUNT = "SELECT count(*) FROM sales"
UPDATE = "UPDATE sales SET total = 0"
INSERT = "INSERT INTO sales (id, store) VALUES (3, 1)"
VIEW = "SELECT count(*) FROM totals"


@pytest.mark.differs("planning/isolate.py")
def test_a_role_in_no_class(business: Business, role: Role, server_version: int) -> None:
    """It is named, exit 4; forced, it reads no row, updates none without an error, and cannot insert."""
    clerk, viewer = role(name="clerk"), role(name="viewer")
    shop = opened(business, clerk, more=f"GRANT SELECT ON totals TO {viewer}, {clerk};")
    shop.migrate(Phase.ENFORCE)
    with pytest.raises(Refused) as refused:
        shop.migrate(Phase.ISOLATE)
    said = "\n".join((refused.value.message, *refused.value.details))
    assert clerk in said
    assert viewer in said
    assert "legacy_roles" in refused.value.remedy
    assert refused.value.status == ExitStatus.REFUSED == 4
    assert [does(shop, clerk, text) for text in (COUNT, UPDATE, INSERT, VIEW)] == [2, 2, 1, 2]
    assert does(shop, viewer, VIEW) == 2

    shop.migrate(Phase.ISOLATE, force=True)
    denied = psycopg.errors.InsufficientPrivilege
    assert [does(shop, clerk, text) for text in (COUNT, UPDATE, INSERT)] == [0, 0, denied]
    assert does(shop, viewer, VIEW) == (denied if server_version >= 15 else 2)


def test_legacy_roles_keep_their_sight_until_contract(business: Business, role: Role) -> None:
    """What they could do they can do, their members too; from contract on they see nothing."""
    clerk, member, distant = role(name="clerk"), role(name="member"), role("LOGIN NOINHERIT", name="distant")
    shop = opened(
        business,
        clerk,
        legacy=(clerk,),
        more=f"GRANT {clerk} TO {member}, {distant}; GRANT SELECT ON totals TO {clerk};",
    )
    shop.migrate(Phase.ISOLATE)
    for one in (clerk, member):
        assert [does(shop, one, text) for text in (COUNT, UPDATE, INSERT, VIEW)] == [2, 2, 1, 2], one
    assert does(shop, distant, COUNT) is psycopg.errors.InsufficientPrivilege
    shop.migrate(Phase.CONTRACT)
    for one in (clerk, member):
        assert [does(shop, one, text) for text in (COUNT, UPDATE)] == [0, 0], one
        assert does(shop, one, INSERT) is psycopg.errors.InsufficientPrivilege
    assert does(shop, shop.application, COUNT, "1") == 1


def test_a_member_that_does_not_inherit(business: Business, role: Role) -> None:
    """It passes a question for 'member'; policies and classes ask for 'usage'."""
    owner, distant = role("LOGIN", name="owner"), role("LOGIN NOINHERIT", name="distant")
    give = "".join(f"ALTER TABLE {table} OWNER TO {owner};" for table in ("tenants", "stores", "sales"))
    shop = opened(business, distant, more=f"{give}GRANT {owner} TO {distant};")
    asked = "SELECT pg_has_role('{0}', '{1}', 'member'), pg_has_role('{0}', '{1}', 'usage')"
    assert shop.rows(asked.format(distant, owner)) == [(True, False)]
    with pytest.raises(Refused, match=distant):
        shop.migrate(Phase.ISOLATE)
    shop.migrate(Phase.ISOLATE, force=True)
    shop.execute(f"CREATE POLICY careless ON sales TO {distant} USING (true)")
    assert does(shop, distant, COUNT) == 0
    assert does(shop, owner, COUNT) == 2


@pytest.mark.pg("!= 16")  # whose wheel has no pg_stat_statements
def test_bulk_loads_and_dumps_are_named(business: Business, database: Database, role: Role) -> None:
    """Those who COPY FROM, or dump, without bypassing row security."""
    clerk = role(name="clerk")
    database.track_statements()
    shop = opened(business, clerk, legacy=(clerk,))
    with closing(shop.connect(user=clerk)) as session, session.cursor() as cursor:
        with cursor.copy("COPY sales (id, store, total) FROM STDIN") as copy:
            copy.write("9\t1\t90\n")
        session.rollback()
        with cursor.copy("COPY public.sales (id, store, total) TO stdout") as copy:
            list(copy)
    found = {finding.name: finding for finding in shop.migrate(Phase.ISOLATE).findings}
    for name in ("copy-from-role", "dump-role"):
        assert clerk in found[name].message
        assert found[name].remedy
    refused = psycopg.errors.FeatureNotSupported
    assert does(shop, clerk, "COPY sales (id, store, total) FROM STDIN") is refused
    assert does(shop, shop.application, "COPY sales (id, store, total) FROM STDIN", "1") is refused


def test_a_forced_owner(business: Business, database: Database, role: Role) -> None:
    """Its COPY FROM fails, INSERT … SELECT does not; its pg_dump works with --enable-row-security, with all rows."""
    owner = role("LOGIN CREATEROLE", name="owner")
    database.execute(
        f'ALTER DATABASE "{database.name}" OWNER TO {owner}; GRANT ALL ON SCHEMA public TO {owner} WITH GRANT OPTION'
    )
    shop = opened(business, user=owner)
    shop.migrate(Phase.ISOLATE)
    dsn = make_conninfo(shop.database.dsn, user=owner)
    with closing(shop.connect(user=owner)) as session:
        assert session.execute(COUNT).fetchone() == (2,)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            session.execute("COPY sales (id, store, total) FROM STDIN")
        session.rollback()
        session.execute("CREATE TEMPORARY TABLE loaded (id int, store int, total int)")
        with session.cursor().copy("COPY loaded FROM STDIN") as copy:
            copy.write("5\t2\t50\n")
        session.execute("INSERT INTO sales (id, store, total, tenant_id) SELECT id, store, total, 2 FROM loaded")
        session.commit()
    with pytest.raises(RuntimeError, match=r"row-level security|row security"):
        client("pg_dump", "--data-only", "--table=sales", "-d", dsn)
    dumped = client("pg_dump", "--data-only", "--table=sales", "--enable-row-security", "-d", dsn)
    assert sorted(line for line in dumped.splitlines() if line[:1].isdigit()) == [
        "1\t1\t10\t1",
        "2\t2\t20\t2",
        "5\t2\t50\t2",
    ]
