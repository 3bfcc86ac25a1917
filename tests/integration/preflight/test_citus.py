"""What needs no Citus: the facts that refuse it, and the statements that are PostgreSQL's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from servers import Database
from tenantry.execution.preflight.citus import distributed, no_way_back, nodes, outside, partitioned, replication
from tenantry.execution.transaction import LockPolicy, run_in_transaction
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind, Table
from tenantry.postgres.citus import CitusFacts, Node, Partition, Reached, ReplicationFacts, roles_not_settable
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.distribution import KeyBetween
from tenantry.postgres.journal import Journal
from tenantry.steps import IdentityToDefault, PropagateTenant, Step
from tenantry.steps.citus_undistribute import dependents

SALES, STORES = Name("public", "sales"), Name("public", "stores")
COORDINATOR = Node(name="a", port=1, coordinator=True, active=True, synced=True, takes_shards=False)
WORKER = Node(name="b", port=2, coordinator=False, active=True, synced=True, takes_shards=True)


def facts(**changed: Any) -> CitusFacts:
    reached = tuple(Reached(name=one.name, port=one.port, success=True, prepared=100) for one in (COORDINATOR, WORKER))
    given: dict[str, Any] = {
        "version": "14.0-1", "coordinator": True, "replication_factor": 1, "nodes": (COORDINATOR, WORKER),
        "reached": reached, "partitions": {},
    }  # fmt: skip
    return CitusFacts(**(given | changed))


def node(**changed: Any) -> Node:
    given = {"name": "b", "port": 2, "coordinator": False, "active": True, "synced": True, "takes_shards": True}
    return Node(**(given | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({}, []),
        ({"version": "11.3-1"}, ["distribute-engine-version"]),
        ({"version": "13.2-1"}, ["distribute-engine-version"]),
        ({"coordinator": False}, ["distribute-engine-coordinator"]),
        ({"nodes": (WORKER,)}, ["distribute-engine-coordinator"]),
        ({"nodes": (COORDINATOR, node(active=False))}, ["distribute-engine-node", "distribute-engine-node"]),
        ({"nodes": (COORDINATOR, node(synced=False))}, ["distribute-engine-node"]),
        ({"nodes": (COORDINATOR,)}, ["distribute-engine-node"]),
        ({"reached": (Reached(name="b", port=2, success=False, prepared=0),)}, ["distribute-engine-node"]),
        ({"reached": (Reached(name="b", port=2, success=True, prepared=0),)}, ["distribute-engine-setting"]),
        ({"replication_factor": 2}, ["distribute-engine-setting"]),
    ],
    ids=str,
)
def test_the_nodes(changed: dict[str, Any], names: list[str]) -> None:
    found = list(nodes(facts(**changed)))
    assert [one.name for one in found] == names
    assert all(one.refuses and not one.forcible for one in found if changed.get("version") != "13.2-1")


def test_what_others_have_distributed() -> None:
    """In the wanted way it is nothing to speak of."""
    by_hand = facts(partitions={SALES: Partition(column="store_id"), STORES: Partition(column="tenant_id")})
    (found,) = distributed(by_hand, {SALES: "tenant_id", STORES: "tenant_id"})
    assert (found.name, found.table) == ("distribute-engine-other", SALES)


def test_one_shard_is_left_of_an_interrupted_run() -> None:
    """Of a table that is to be distributed; tenantry copies tables to each node in one transaction."""
    one = facts(partitions={SALES: Partition(column=None, one_shard=True)})
    assert list(distributed(one, {SALES: "tenant_id"})) == []
    (found,) = distributed(one, {SALES: None})
    assert "one shard on the coordinator" in found.message


def node_for_replication(**changed: Any) -> ReplicationFacts:
    given = {
        "name": "a", "port": 1, "coordinator": True, "wal_level": "logical", "plugins": "pgoutput, citus",
        "free_slots": 10, "free_senders": 10, "free_workers": 4,
    }  # fmt: skip
    return ReplicationFacts(**(given | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"plugins": None}, ""),
        ({"wal_level": "replica"}, "wal_level is replica"),
        ({"plugins": "pgoutput"}, "output_plugin_libraries does not name citus"),
        ({"free_slots": 1}, "1 replication slots are free, and 2 are needed"),
        ({"free_senders": 1}, "1 WAL senders are free, and 2 are needed"),
        ({"coordinator": False, "wal_level": "replica", "free_slots": 0}, ""),
        ({"coordinator": False, "free_workers": 0}, "no logical replication worker is free"),
    ],
    ids=str,
)
def test_what_distributing_concurrently_needs(changed: dict[str, Any], said: str) -> None:
    found = list(replication([node_for_replication(**changed)], (COORDINATOR, WORKER)))
    assert all(one.refuses and not one.forcible and one.name == "distribute-engine-replication" for one in found)
    if not said:
        assert found == []
    else:
        assert said in found[0].message
        assert "or leave out --concurrently" in found[0].remedy


def test_what_would_be_lost_at_once_is_not_forced() -> None:
    """Distributing concurrently loses it on the way there, otherwise only the way back does."""
    (later,) = no_way_back(SALES, ["function f()"])
    (at_once,) = no_way_back(SALES, ["function f()"], moving=True)
    assert (later.forcible, at_once.forcible) == (True, False)
    assert "leave out --concurrently" in at_once.remedy


def test_foreign_keys_to_and_from_tables_that_the_spec_does_not_know() -> None:
    other = Name("public", "others")
    inside = KeyBetween(table=SALES, key="a", parent=STORES)
    out, into = KeyBetween(table=SALES, key="b", parent=other), KeyBetween(table=other, key="c", parent=STORES)
    found = list(outside((SALES, STORES), (inside, out, into, into)))
    assert [(one.name, one.table) for one in found] == [
        ("distribute-refuses-outside-key", SALES), ("distribute-refuses-outside-key", other),
    ]  # fmt: skip


def test_partitioned_tables() -> None:
    tables = Table(name=SALES), Table(name=STORES, kind=Kind.PARTITIONED)
    assert [(one.name, one.table, one.forcible) for one in partitioned(tables)] == [
        ("distribute-refuses-partitions", STORES, False)
    ]  # fmt: skip


# --- on a server

SCHEMA = """
CREATE TABLE stores (id integer PRIMARY KEY);
CREATE TABLE sales (
  id integer GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME numbers START 5 INCREMENT 3 MAXVALUE 5000 CYCLE) PRIMARY KEY,
  store_id integer REFERENCES stores, price numeric CHECK (price > 0) DEFAULT 1, name text UNIQUE
);
CREATE INDEX ON sales (price);
CREATE STATISTICS sales_both ON id, price FROM sales;
ALTER TABLE sales ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON sales USING (price > 1);
CREATE VIEW cheap AS SELECT * FROM sales WHERE price < 10;
CREATE VIEW cheapest AS SELECT * FROM cheap WHERE price < 2;
CREATE TABLE lines (sale_id integer REFERENCES sales);
"""


def test_what_would_be_dropped_with_a_table(database: Database) -> None:
    """Functions, materialized views, rules, triggers and defaults of views; but nothing that Citus makes again."""
    database.execute(SCHEMA)
    query = dependents(SALES).as_string(None)
    assert database.rows(query) == []
    database.execute(
        "CREATE FUNCTION all_sales() RETURNS SETOF sales LANGUAGE sql AS 'SELECT * FROM sales';"
        "CREATE FUNCTION one_cheap() RETURNS cheap LANGUAGE sql AS 'SELECT * FROM cheap LIMIT 1';"
        "CREATE MATERIALIZED VIEW kept AS SELECT * FROM cheap;"
        "CREATE RULE refused AS ON DELETE TO sales DO INSTEAD NOTHING;"
        "ALTER VIEW cheap ALTER price SET DEFAULT 3;"
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER instead INSTEAD OF INSERT ON cheap FOR EACH ROW EXECUTE FUNCTION nothing();"
        "CREATE TABLE archive (sale sales)"
    )
    found = " ".join(text for (text,) in database.rows(query))
    for name in (
        "function all_sales()", "function one_cheap()", "materialized view kept", "rule refused", "trigger instead",
        "default value for column price of view cheap", "column sale of table archive",
    ):  # fmt: skip
        assert name in found, found


def applied(database: Database, step: Step, *, back: bool = False) -> None:
    with connect(Target(database.dsn), purpose="test") as connection:
        Journal(connection).install()
        statements = step.revert({"values": {}}) if back else step.apply()
        run_in_transaction(connection, statements, patience=LockPolicy())


def test_an_identity_column_becomes_a_default_and_comes_back(database: Database, role: Callable[..., str]) -> None:
    """The next number, the options, the privileges and the comment stay; so does the dump."""
    database.execute(SCHEMA)
    reader = role()
    database.execute(
        f"COMMENT ON SEQUENCE numbers IS 'numbers of sales'; GRANT USAGE ON numbers TO {reader} WITH GRANT OPTION;"
        "INSERT INTO sales (name) VALUES ('a'), ('b')"
    )
    dump = database.dump()
    step = IdentityToDefault(phase=Phase.DISTRIBUTE, table=SALES, column="id", identity="a")
    query = step.definition().as_string(None)
    assert database.rows(query) == []
    applied(database, step)
    assert database.rows(query) == [("default",)]
    database.execute("INSERT INTO sales (name) VALUES ('c')")
    applied(database, step, back=True)
    assert database.rows(query) == []
    database.execute("INSERT INTO sales (name) VALUES ('d')")
    with pytest.raises(psycopg.errors.GeneratedAlways):
        database.execute("INSERT INTO sales (id, name) VALUES (1, 'e')")
    assert database.rows("SELECT id FROM sales ORDER BY 1") == [(5,), (8,), (11,), (14,)]
    assert database.dump() == dump


def test_the_setting_of_all_roles_that_log_in_as_the_application(database: Database, role: Callable[..., str]) -> None:
    """Of those that come to be members later, too: then the step is missing until it is applied again."""
    application, login, later = (role(name=name) for name in ("app", "login", "later"))
    database.execute(f"ALTER ROLE {login} LOGIN; ALTER ROLE {later} LOGIN; GRANT {application} TO {login}")
    step = PropagateTenant(phase=Phase.DISTRIBUTE, table=STORES, role=application)
    query, settings = (
        step.definition().as_string(None),
        "SELECT r.rolname FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole WHERE setconfig @> ARRAY['citus.propagate_set_commands=local'] AND r.rolname = ANY (%s)",
    )
    assert database.rows(query) == []
    applied(database, step)
    assert database.rows(query) == [("local",)]
    assert {name for (name,) in database.rows(settings, [[application, login, later]])} == {application, login}
    database.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(application), sql.Identifier(later)).as_string())
    assert database.rows(query) == []
    applied(database, step)
    applied(database, step, back=True)
    assert database.rows(settings, [[application, login, later]]) == []


@pytest.mark.server
@pytest.mark.differs("postgres/sql/citus.sql")
@pytest.mark.parametrize("powers", ["", "CREATEROLE", "SUPERUSER"])
def test_whose_settings_the_operator_may_not_change(database: Database, role: Callable[..., str], powers: str) -> None:
    """As PostgreSQL says once it is tried; from 16 on CREATEROLE is not enough for a role that others made."""
    operator = role(f"LOGIN {powers}")
    others = [role(), role("SUPERUSER"), role("REPLICATION BYPASSRLS"), operator]
    refused: list[str] = []
    with database.connect() as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(operator)))
        if powers == "CREATEROLE":
            others.append(role(create=False))
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(others[-1])))
        for other in others:
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(
                        sql.SQL("ALTER ROLE {} SET statement_timeout = '1s'").format(sql.Identifier(other))
                    )
            except psycopg.errors.InsufficientPrivilege:
                refused.append(other)
        assert roles_not_settable(connection, others) == tuple(sorted(refused))
        assert bool(refused) == (powers != "SUPERUSER")
