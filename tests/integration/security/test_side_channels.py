"""What PostgreSQL tells one tenant of the others although policies hide their rows: what docs/row-security.md says of it
is so, in a contracted database and for the application role; and what is said to be hidden is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.differs]

ROLE = "orders_app"
OURS, THEIRS = 100, 900
"""The orders of tenant 1, as whom all is tried, and of tenant 2."""
SCHEMA = f"""
CREATE TABLE tenants (id int PRIMARY KEY, slug text NOT NULL UNIQUE, name text NOT NULL);
INSERT INTO tenants VALUES (1, 'one', 'One'), (2, 'two', 'Two');
CREATE TABLE orders (id serial PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, code text NOT NULL UNIQUE,
  email text NOT NULL UNIQUE, amount int NOT NULL CHECK (amount > 0));
CREATE TABLE lines (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id int NOT NULL REFERENCES orders);
INSERT INTO orders (tenant_id, code, email, amount)
  SELECT 1, 'ours' || n, n || '@one.example', n FROM generate_series(1, {OURS}) n;
INSERT INTO orders (tenant_id, code, email, amount)
  SELECT 2, 'theirs' || n, n || '@two.example', n FROM generate_series(1, {THEIRS}) n;
INSERT INTO lines (order_id) SELECT id FROM orders;
CREATE STATISTICS orders_mcv (mcv) ON code, amount FROM orders;
"""
SPEC = f"""
[tenant]
table = "tenants"
[application]
role = "{ROLE}"
[[table]]
name = "orders"
paths = [["tenant_id"]]
unique = ["orders_code_key"]
[[table]]
name = "lines"
paths = [["order_id"]]
"""
INSERT = "INSERT INTO orders (tenant_id, code, email, amount) VALUES"


def _contracted(database: Database) -> None:
    database.execute(SCHEMA)
    migrate(Target(database.dsn), Spec.parse(SPEC), MigrateOptions(until=Phase.CONTRACT, force=True))
    database.execute(f"ALTER ROLE {ROLE} LOGIN")
    database.execute("ANALYZE")


class Orders:
    """The contracted database, and sessions of the application role there."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @contextmanager
    def session(self, tenant: int = 1) -> Iterator[psycopg.Connection[Any]]:
        """A transaction of a tenant's, which is rolled back."""
        with closing(self.database.connect(user=ROLE)) as connection:
            connection.execute(f"SET LOCAL app.tenant_id = '{tenant}'")
            connection.execute("SET LOCAL lock_timeout = '200ms'")
            yield connection

    def rows(self, query: str, tenant: int = 1) -> list[tuple[Any, ...]]:
        with self.session(tenant) as connection:
            return connection.execute(query).fetchall()

    def value(self, query: str, tenant: int = 1) -> Any:
        return self.rows(query, tenant)[0][0]

    def plan(self, query: str, *, analyze: bool = False) -> dict[str, Any]:
        """The topmost node of PostgreSQL's plan."""
        options = "ANALYZE, TIMING off, SUMMARY off, " if analyze else ""
        return self.value(f"EXPLAIN ({options}FORMAT json) {query}")[0]["Plan"]

    def error(self, statement: str, tenant: int = 1) -> psycopg.Error:
        with pytest.raises(psycopg.Error) as caught, self.session(tenant) as connection:
            connection.execute(statement)
        return caught.value


@pytest.fixture
def orders(template: Callable[..., Database]) -> Orders:
    found = Orders(template("orders of two", _contracted))
    assert found.value("SELECT count(*) FROM orders") == OURS
    return found


# --- what is hidden


def test_statistics_are_hidden(orders: Orders) -> None:
    """pg_stats and pg_stats_ext show no value of a table with policies; what is beneath them may not be read."""
    for view in ("pg_stats", "pg_stats_ext"):
        assert orders.rows(f"SELECT * FROM {view} WHERE tablename IN ('orders', 'lines')") == []
        assert orders.database.rows(f"SELECT 1 FROM {view} WHERE tablename = 'orders'") != [], "to the superuser"
    for table in ("pg_statistic", "pg_statistic_ext_data"):
        assert isinstance(orders.error(f"SELECT * FROM {table}"), psycopg.errors.InsufficientPrivilege)


def test_conditions_see_no_row_of_others(orders: Orders) -> None:
    """A condition that could tell, by an error or a message, what it is evaluated on, is evaluated after the policies."""
    assert orders.rows("SELECT 1 FROM orders WHERE 1 / (amount - 500) > 7") == [], "theirs has that amount"
    found = orders.error("SELECT 1 FROM orders WHERE 1 / (amount - 50) > 7")
    assert isinstance(found, psycopg.errors.DivisionByZero), "ours is evaluated"


def test_errors_tell_no_values(orders: Orders) -> None:
    """A violated constraint is named, and neither its key nor the row: PostgreSQL leaves them out under policies."""
    for statement in (
        f"{INSERT} (1, 'x', '5@two.example', 1)", f"{INSERT} (1, 'x', 'x', -1)", f"{INSERT} (2, 'x', 'x', 1)",
        f"{INSERT} (1, 'ours1', 'x', 1)", "INSERT INTO lines (order_id) VALUES (500)",
    ):  # fmt: skip
        diagnostic = orders.error(statement).diag
        told = f"{diagnostic.message_primary} {diagnostic.message_detail} {diagnostic.message_hint}"
        assert "two.example" not in told, told
        assert "500" not in told, told
        assert "Failing row" not in told, told


def test_a_unique_constraint_of_the_tenant_tells_nothing(orders: Orders) -> None:
    """What the spec lists under `unique`: the same value in another tenant is neither seen nor waited for."""
    with orders.session(2) as other, orders.session() as connection:
        other.execute(f"{INSERT} (2, 'both', 'x@two.example', 1)")
        assert connection.execute(f"{INSERT} (1, 'theirs1', 'x', 1), (1, 'both', 'y', 1)").rowcount == 2


def test_prepared_statements_follow_the_tenant(orders: Orders) -> None:
    """The policies of a statement that was prepared for one tenant ask for the tenant of now, generic plans included."""
    with closing(orders.database.connect(user=ROLE, autocommit=True)) as pooled:
        pooled.execute("SET plan_cache_mode = force_generic_plan; PREPARE counted AS SELECT count(*) FROM orders")
        for tenant, count in ((1, OURS), (2, THEIRS), (1, OURS)):
            with pooled.transaction():
                pooled.execute(f"SET LOCAL app.tenant_id = '{tenant}'")
                assert pooled.execute("EXECUTE counted").fetchall() == [(count,)]


# --- what is not hidden


def test_whoever_writes_sql_names_any_tenant(orders: Orders) -> None:
    """The setting is the application's word; nothing in the database keeps its role from another one."""
    with orders.session() as connection:
        connection.execute("SELECT set_config('app.tenant_id', '2', true)")
        assert connection.execute("SELECT count(*) FROM orders").fetchall() == [(THEIRS,)]


def test_plans_count_rows_of_others(orders: Orders) -> None:
    """EXPLAIN ANALYZE counts what a policy removes: all rows of others, or those that an index finds by a value."""
    removed = "Rows Removed by Filter"
    off = "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off"
    with orders.session() as connection:
        connection.execute(off)
        row = connection.execute("EXPLAIN (ANALYZE, TIMING off, FORMAT json) SELECT * FROM orders").fetchone()
        assert row is not None
        assert row[0][0]["Plan"][removed] == THEIRS
    for email, count in (("5@two.example", 1), ("nobody@two.example", 0)):
        with orders.session() as connection:
            connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
            row = connection.execute(
                f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) SELECT * FROM orders WHERE email = '{email}'"
            ).fetchone()
            assert row is not None
            assert row[0][0]["Plan"]["Actual Rows"] == 0
            assert row[0][0]["Plan"].get(removed, 0) == count


def test_plans_estimate_with_values_of_others(orders: Orders) -> None:
    """Estimates follow the statistics of all tenants: they tell that some have orders above an amount."""
    assert orders.value("SELECT max(amount) FROM orders") == OURS
    many, few = (orders.plan(f"SELECT * FROM orders WHERE amount > {amount}")["Plan Rows"] for amount in (500, 5000))
    assert many > 20 * few


def test_sizes_and_counters_are_of_all(orders: Orders) -> None:
    """Rows and pages of a table, its size, and what has been done to it since, summed over the tenants."""
    assert orders.value("SELECT reltuples FROM pg_class WHERE oid = 'orders'::regclass") == OURS + THEIRS
    pages = orders.value("SELECT relpages FROM pg_class WHERE oid = 'orders'::regclass")
    assert orders.value("SELECT pg_relation_size('orders') / current_setting('block_size')::int") == pages > 1
    for counters in ("pg_stat_user_tables", "pg_statio_user_tables"):
        assert orders.rows(f"SELECT 1 FROM {counters} WHERE relname = 'orders'") == [(1,)]
    assert orders.value("SELECT tup_inserted FROM pg_stat_database WHERE datname = current_database()") is not None
    assert orders.value("SELECT pg_database_size(current_database())") > 0


def test_sequences_tell_the_pace_of_all(orders: Orders) -> None:
    """A number is drawn from one sequence by all tenants: two of ours tell how many were drawn between. They can be
    read, and not set."""
    first = orders.value("SELECT nextval('orders_id_seq')")
    for _ in range(3):
        orders.value("SELECT nextval('orders_id_seq')", tenant=2)
    assert orders.value("SELECT last_value FROM pg_sequences WHERE sequencename = 'orders_id_seq'") == first + 3
    assert orders.value("SELECT nextval('orders_id_seq')") == first + 4
    assert isinstance(orders.error("SELECT setval('orders_id_seq', 1)"), psycopg.errors.InsufficientPrivilege)


def test_places_and_transactions_tell_the_pace_of_all(orders: Orders) -> None:
    """Between two rows of ours, ctid shows the room that others' take, and xmin the transactions that they had."""
    for tenant in (1, 2, 1):
        with orders.session(tenant) as connection:
            connection.execute(f"{INSERT} ({tenant}, 'n' || pg_current_xact_id(), 'n' || pg_current_xact_id(), 1)")
            connection.commit()
    query = "SELECT (ctid::text::point)[1]::int, xmin::text::int FROM orders WHERE code LIKE 'n%' ORDER BY 2"
    (place, transaction), (later_place, later) = orders.rows(query)
    assert (later_place - place, later - transaction) == (2, 2)
    assert orders.value("SELECT pg_current_wal_lsn() > '0/0'") is True


def test_global_constraints_tell_that_a_value_is_there(orders: Orders) -> None:
    """A unique constraint across tenants, a primary key included, refuses what another tenant has, also without an
    error; and the name of the foreign key that refuses says whether the row is nobody's or another's."""
    taken, free = "(1, 'x', '5@two.example', 1)", "(1, 'x', 'free@two.example', 1)"
    assert orders.error(f"{INSERT} {taken}").diag.constraint_name == "orders_email_key"
    for values, count in ((taken, 0), (free, 1)):
        with orders.session() as connection:
            assert connection.execute(f"{INSERT} {values} ON CONFLICT DO NOTHING").rowcount == count
    theirs = f"INSERT INTO orders (id, tenant_id, code, email, amount) VALUES ({OURS + 1}, 1, 'x', 'x', 1)"
    assert orders.error(theirs).diag.constraint_name == "orders_pkey"
    names = [
        orders.error(f"INSERT INTO lines (order_id) VALUES ({order})").diag.constraint_name
        for order in (OURS + 1, 10_000)
    ]
    assert names[0] != names[1] == "lines_order_id_fkey"


def test_a_conflict_shows_a_row_to_its_condition(orders: Orders) -> None:
    """ON CONFLICT DO UPDATE evaluates its condition on the row that stands there before it asks the policies."""
    leak = (
        "CREATE FUNCTION pg_temp.leak(value int) RETURNS bool LANGUAGE plpgsql AS"
        " 'BEGIN RAISE NOTICE ''%'', value; RETURN true; END'"
    )
    seen = []
    with orders.session() as connection:
        connection.add_notice_handler(lambda diagnostic: seen.append(diagnostic.message_primary))
        connection.execute(leak)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                f"{INSERT} (1, 'x', '777@two.example', 1) ON CONFLICT (email) DO UPDATE SET amount = 1"
                " WHERE pg_temp.leak(orders.amount)"
            )
    assert seen == ["777"]


def test_writers_of_all_tenants_wait_for_each_other(orders: Orders) -> None:
    """For a value of a global constraint, for a parent that is being deleted, and for whoever locks the whole table,
    which its privileges allow it to."""
    with orders.session(2) as other:
        other.execute(f"{INSERT} (2, 'x', 'same', 1)")
        assert isinstance(orders.error(f"{INSERT} (1, 'x', 'same', 1)"), psycopg.errors.LockNotAvailable)
    with orders.session(2) as other:
        other.execute(f"DELETE FROM lines WHERE order_id = {OURS + 7}; DELETE FROM orders WHERE id = {OURS + 7}")
        waits = orders.error(f"INSERT INTO lines (order_id) VALUES ({OURS + 7})")
        assert isinstance(waits, psycopg.errors.LockNotAvailable)
    with orders.session(2) as other:
        other.execute("LOCK TABLE orders")
        assert isinstance(orders.error("SELECT 1 FROM orders"), psycopg.errors.LockNotAvailable)
        query = "SELECT mode FROM pg_locks WHERE relation = 'orders'::regclass AND pid <> pg_backend_pid()"
        assert ("AccessExclusiveLock",) in orders.rows(query)


def test_sessions_of_one_role_see_and_end_each_other(orders: Orders) -> None:
    """All tenants' sessions are the same role's: pg_stat_activity shows the text of the others' statements, values that
    were written into them included, and they may be cancelled. Parameters do not show."""
    with orders.session(2) as other:
        pid = other.info.backend_pid
        look = f"SELECT query FROM pg_stat_activity WHERE pid = {pid}"
        other.execute("SELECT 'a secret of two'")
        assert orders.rows(look) == [("SELECT 'a secret of two'",)]
        other.execute("SELECT %s", ["another secret"])
        assert orders.rows(look) == [("SELECT $1",)]
        assert orders.value(f"SELECT pg_terminate_backend({pid})") is True


def test_what_is_no_row_has_no_policy(orders: Orders) -> None:
    """Large objects are the role's, and so all tenants'; whoever listens to a channel hears it; advisory locks are one
    set of numbers for all."""
    with orders.session(2) as other:
        (made,) = other.execute("SELECT lo_from_bytea(0, 'of two')").fetchone() or (0,)
        other.commit()
    assert orders.value(f"SELECT convert_from(lo_get({made}), 'UTF8')") == "of two"
    with closing(orders.database.connect(user=ROLE, autocommit=True)) as listening:
        listening.execute("LISTEN news")
        with orders.session(2) as other:
            other.execute("NOTIFY news, 'of two'")
            other.commit()
        assert [heard.payload for heard in listening.notifies(timeout=10, stop_after=1)] == ["of two"]
    with orders.session(2) as other:
        other.execute("SELECT pg_advisory_xact_lock(42)")
        assert orders.value("SELECT pg_try_advisory_xact_lock(42)") is False
        assert orders.rows("SELECT objid::int FROM pg_locks WHERE locktype = 'advisory' AND objid = 42") == [(42,)]


LEFT_BEHIND = {
    "FETCH 1 FROM held": "DECLARE held CURSOR WITH HOLD FOR SELECT email FROM orders ORDER BY id",
    "SELECT email FROM kept LIMIT 1": "CREATE TEMPORARY TABLE kept AS SELECT email FROM orders ORDER BY id",
    "SELECT currval('orders_id_seq') > 0": "SELECT nextval('orders_id_seq')",
    "SELECT count(*) FROM orders": "SET app.tenant_id = '1'",
    "SELECT statement FROM pg_prepared_statements WHERE name = 'one'": "PREPARE one AS SELECT 'written for one'",
    "SELECT pg_listening_channels()": "LISTEN news",
    "SELECT objid::int FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()": "SELECT pg_advisory_lock(42)",
}
"""How to look at what a transaction leaves in its session, and the statement that leaves it there."""


@pytest.mark.parametrize("look", LEFT_BEHIND)
def test_a_session_of_a_pool_keeps_what_a_transaction_leaves(orders: Orders, look: str) -> None:
    """The next transaction finds it, whosever it is, unless the pool says DISCARD ALL in between."""
    with closing(orders.database.connect(user=ROLE, autocommit=True, prepare_threshold=None)) as pooled:
        with pooled.transaction():
            pooled.execute("SET LOCAL app.tenant_id = '1'")
            pooled.execute(LEFT_BEHIND[look])
        expected = pooled.execute(look).fetchall()
        assert expected not in ([], [(0,)])
        pooled.execute("DISCARD ALL")
        try:
            after = pooled.execute(look).fetchall()
        except (
            psycopg.errors.InvalidCursorName, psycopg.errors.UndefinedTable,
            psycopg.errors.ObjectNotInPrerequisiteState,
        ):  # fmt: skip
            after = []
        assert after in ([], [(0,)])
