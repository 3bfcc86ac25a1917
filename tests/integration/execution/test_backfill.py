"""A fill gives every row its tenant, whatever the table is like and wherever the tenant comes from."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import RawCursor

from backfill_business import (
    BY_STORE,
    EQUAL,
    EVERY_ROW_IS_RIGHT,
    REFERENCE,
    SALES,
    STORE,
    STORES,
    TENANTS,
    Watcher,
    assign,
    build,
    fill_of,
    perform,
    relation_fill,
    run,
)
from servers import Database
from tenantry.execution.backfill.progress import stripes_for
from tenantry.model.name import Name
from tenantry.model.ownership import Hop
from tenantry.steps.derivation import ByChildren, ByPath, ByRows, BySlug, ByText, Source

pytestmark = pytest.mark.server


@pytest.fixture
def business(database: Database) -> Database:
    """Sales of twenty stores, and the trigger that gives new ones their tenant."""
    build(database)
    assign(database)
    return database


def test_every_row_gets_its_tenant(business: Database) -> None:
    """All rows are filled and counted, all pages told, and no checkpoint stays behind."""
    watcher = Watcher()
    result = run(business, watcher=watcher)
    assert business.rows(EVERY_ROW_IS_RIGHT) == [(0,)]
    assert result.rows == watcher.rows == watcher.ended[SALES] == 5_000
    assert watcher.pages == watcher.begun[SALES] > 0
    assert business.rows("SELECT count(*) FROM tenantry.progress") == [(0,)]


def test_second_run_changes_nothing(business: Database) -> None:
    """Where nothing is pending, no row and no page is touched."""
    run(business)
    watcher = Watcher()
    assert run(business, watcher=watcher).batches == 0
    assert watcher.begun == {SALES: 0}
    assert watcher.ended == {SALES: 0}


def test_several_workers_share_the_pages(database: Database) -> None:
    """Each takes units of its own."""
    build(database, 60_000)
    assign(database)
    result = run(database, workers=3, first_batch=64)
    assert result.rows == 60_000
    assert database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]


def test_most_updates_are_hot_and_the_table_stays_small(database: Database) -> None:
    """In stripes, the rows that stay on their page touch no index."""
    build(database, 30_000)
    assign(database)
    before = database.rows("SELECT pg_relation_size('sales')")[0][0]
    run(database, first_batch=64)
    assert database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]
    assert database.rows("SELECT pg_relation_size('sales')")[0][0] <= 1.3 * before


def test_old_transaction_lets_the_table_grow_and_is_told(database: Database) -> None:
    """While nothing can be pruned, one stripe does, and all rows get their tenant."""
    build(database, 30_000)
    assign(database)
    with database.connect() as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM sales LIMIT 1")
        watcher = Watcher()
        run(database, watcher=watcher, unit=64)
    assert database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]
    assert ["old row versions" in reason for reason in watcher.reasons] == [True]


CHILD = ByChildren(table=SALES, columns=("store_id",), own_columns=("id",), operators=EQUAL, column="tenant_id")
SHELF = Name("public", "shelf")
SOURCES: dict[str, Source] = {
    "path": ByPath(hops=(STORE,), column="tenant_id"),
    "path of two hops": ByPath(
        hops=(
            STORE,
            Hop(columns=("name",), parent=SHELF, parent_columns=("name",), operators=EQUAL, unique=False),
        ),
        column="owner",
    ),
    "path to the tenant table": ByPath(
        hops=(
            STORE,
            Hop(columns=("tenant_id",), parent=TENANTS, parent_columns=("id",), operators=EQUAL),
        ),
        column=None,
    ),
    "text": ByText(tenant=REFERENCE, table=SALES, text="CASE sales.store_id % 2 WHEN 0 THEN 'north' ELSE 'south' END"),
    "column": ByText(tenant=REFERENCE, table=SALES, column="said"),
    "rows": ByRows(tenant=REFERENCE, assigned=Name("tenantry", "assigned"), columns=("id",)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_sources(database: Database, kind: str) -> None:
    """Whichever way a row finds its tenant, it is the same."""
    build(database, 400)
    database.execute("""
        CREATE TABLE shelf AS SELECT name, tenant_id AS owner FROM stores;
        ALTER TABLE sales ADD said text;
        UPDATE sales SET said = CASE store_id % 2 WHEN 0 THEN 'north' ELSE '2' END;
        CREATE TABLE tenantry.assigned AS
          SELECT id::text AS key1, CASE store_id % 2 WHEN 0 THEN 'north' ELSE 'south' END AS tenant FROM sales
    """)
    assign(database, sources=(SOURCES[kind],), watched=())
    assert run(database, fill_of(relation_fill(sources=(SOURCES[kind],)))).rows == 400
    assert database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]


def test_one_tenant_for_all(business: Database) -> None:
    """A fill by slug, as of the rows that no path reaches."""
    source = BySlug(tenant=REFERENCE, slug="south")
    run(business, fill_of(relation_fill(sources=(source,)), purpose="default"))
    assert business.rows("SELECT DISTINCT tenant_id FROM sales") == [(2,)]


def test_relations_that_derive_from_each_other(database: Database) -> None:
    """Stores learn from their sales what other sales of theirs then learn from them, round by round."""
    build(database, 2_000)
    database.execute("UPDATE stores SET tenant_id = NULL")
    database.execute("UPDATE sales SET tenant_id = 1 + store_id % 2 WHERE id <= 20")
    assign(database)
    assign(database, table=STORES, sources=(CHILD,), watched=())
    watcher = Watcher()
    fill = fill_of(relation_fill(), relation_fill(STORES, (CHILD,)))
    assert run(database, fill, watcher=watcher).rows == 1_980 + 20
    assert watcher.ended == {SALES: 1_980, STORES: 20}
    assert database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]


def test_rows_that_refer_to_their_own_table(database: Database) -> None:
    """A tree is filled from its roots down, however its rows lie in the table."""
    build(database, 0)
    database.execute("""
        CREATE TABLE node (id integer PRIMARY KEY, parent integer, tenant_id integer);
        INSERT INTO node SELECT n, CASE WHEN n < 1000 THEN n + 3 END, CASE WHEN n >= 1000 THEN n - 1000 END
          FROM generate_series(970, 1002) AS n;
    """)
    node = Name("public", "node")
    up = ByPath(
        hops=(Hop(columns=("parent",), parent=node, parent_columns=("id",), operators=EQUAL),),
        column="tenant_id",
    )
    assign(database, table=node, sources=(up,), watched=("parent",))
    run(database, fill_of(relation_fill(node, (up,))))
    assert database.rows("SELECT count(*) FROM node WHERE tenant_id IS DISTINCT FROM (id - 970) % 3") == [(0,)]


def test_partition_and_its_sibling(database: Database) -> None:
    """Leaves are filled one by one."""
    build(database, 0)
    database.execute("""
        CREATE TABLE visits (id integer, store_id integer, tenant_id integer) PARTITION BY RANGE (id);
        CREATE TABLE early PARTITION OF visits FOR VALUES FROM (0) TO (100);
        CREATE TABLE late PARTITION OF visits FOR VALUES FROM (100) TO (1000);
        INSERT INTO visits SELECT n, 1 + n % 20 FROM generate_series(1, 300) AS n;
    """)
    assign(database, table=Name("public", "visits"))
    leaves = [relation_fill(Name("public", name)) for name in ("early", "late")]
    run(database, fill_of(leaves[1]))
    assert database.rows("SELECT count(*) FROM early WHERE tenant_id IS NULL") == [(99,)]
    assert database.rows("SELECT count(*) FROM late WHERE tenant_id IS NULL") == [(0,)]
    run(database, fill_of(*leaves))
    assert database.rows("SELECT count(*) FROM visits WHERE tenant_id IS NULL") == [(0,)]


def test_inheritance_parent_alone(database: Database) -> None:
    """A parent's fill leaves the rows of its heirs to theirs."""
    build(database, 100)
    database.execute("CREATE TABLE gifts (occasion text) INHERITS (sales)")
    database.execute("INSERT INTO gifts (id, store_id, note) SELECT n, 1, '' FROM generate_series(1, 7) AS n")
    assign(database)
    run(database)
    assert database.rows("SELECT count(*) FROM ONLY sales WHERE tenant_id IS NULL") == [(0,)]
    assert database.rows("SELECT count(*) FROM gifts WHERE tenant_id IS NULL") == [(7,)]


def test_hostile_names(database: Database) -> None:
    """Names hold quotes, percent signs and dollar parameters."""
    build(database, 0)
    name = Name('odd %s "schema"', "ta'ble $1 %(x)s.")
    column = 'ten"ant %d $2'
    quoted = name.identifier.as_string(None)
    database.execute('CREATE SCHEMA "odd %s ""schema""" CREATE TABLE "ta\'ble $1 %(x)s." (id integer)')
    with database.connect() as connection:
        connection.execute(f'ALTER TABLE {quoted} ADD "sto""re %s" integer, ADD "ten""ant %d $2" integer'.encode())
        connection.execute(f"INSERT INTO {quoted} SELECT n, 1 + n % 20 FROM generate_series(1, 500) n".encode())
    hop = Hop(columns=('sto"re %s',), parent=STORES, parent_columns=("id",), operators=EQUAL)
    path = ByPath(hops=(hop,), column="tenant_id")
    assign(database, table=name, column=column, sources=(path,), watched=('sto"re %s',))
    assert run(database, fill_of(relation_fill(name, (path,), column=column))).rows == 500


def test_wide_rows_and_one_row(database: Database) -> None:
    """Rows of which a page holds two, an empty table, and one row alone."""
    build(database, 0)
    assert run(database).rows == 0
    database.execute("INSERT INTO sales (id, store_id, note) VALUES (0, 1, '')")
    assert run(database).rows == 1
    database.execute("ALTER TABLE sales ALTER note SET STORAGE PLAIN")
    database.execute(
        "INSERT INTO sales (id, store_id, note) SELECT n, 1, repeat('x', 3900) FROM generate_series(1, 99) n"
    )
    assert run(database).rows == 99


def test_given_column_and_its_restore(database: Database) -> None:
    """The NULLs of the user's own column come back, but for rows that got another tenant since."""
    build(database)
    database.execute("UPDATE sales SET tenant_id = 1 + store_id % 2 WHERE id > 100")
    assign(database)
    own = relation_fill(identity=("id", "store_id"))
    fill = fill_of(own)
    assert run(database, fill).rows == 100
    assert database.rows("SELECT count(*), min(tenant), max(tenant) FROM tenantry.filled") == [(100, "1", "2")]
    database.execute("UPDATE sales SET tenant_id = 3 - tenant_id WHERE id <= 10")
    database.execute('DROP TRIGGER "~tenantry_assign" ON sales')
    perform(database, fill.revert({}))
    assert database.rows("SELECT min(id), count(*) FROM sales WHERE tenant_id IS NULL") == [(11, 90)]


def test_batches_read_their_pages_only(database: Database) -> None:
    """The plan of a batch reads a range of pages, or rows by their address; never the whole table."""
    build(database, 20_000)
    database.execute("ANALYZE")

    def nodes(plan: dict[str, Any]) -> list[tuple[str, str | None]]:
        own = [(plan["Node Type"], plan.get("Relation Name"))]
        return own + [node for child in plan.get("Plans", ()) for node in nodes(child)]

    with database.connect() as connection:
        statement = relation_fill(sources=(BY_STORE,)).batch("fill").text
        cursor = RawCursor(connection)
        for pages, nested_loops in (8, "on"), (300, "on"), (300, "off"):
            # Where it thinks better of a hash join, too.
            connection.execute("SELECT set_config('enable_nestloop', %s, false)", [nested_loops])
            explained = cursor.execute(
                f"EXPLAIN (FORMAT json) {statement}".encode(), ["(0,0)", f"({pages},0)", 12, 3]
            ).fetchone()
            assert explained is not None
            scans = {node for node, relation in nodes(explained[0][0]["Plan"]) if relation == "sales"}
            assert scans <= {"Tid Range Scan", "Tid Scan", "ModifyTable"}


def test_stripes_are_counted_by_the_rows_without_a_tenant(database: Database) -> None:
    """A dozen where all are to be filled, fewer where rows are wide or few of them are left."""
    build(database, 5_000)
    with database.connect(autocommit=True) as connection:
        cursor = RawCursor(connection)

        def stripes(first: int = 0) -> int:
            return stripes_for(cursor, SALES, "tenant_id", first=first)

        assert stripes() == 12
        assert stripes(10_000) == 12
        connection.execute("UPDATE sales SET tenant_id = 1 WHERE id % 15 > 0")
        connection.execute("VACUUM FULL sales")
        assert 2 <= stripes() <= 6
        connection.execute("UPDATE sales SET tenant_id = 1")
        connection.execute("VACUUM FULL sales")
        assert stripes() == 1
