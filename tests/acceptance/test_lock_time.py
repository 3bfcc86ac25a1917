"""How long a writer waits for us over a slow network: for the locks, and never for the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from psycopg import sql

from latency import unblocked_session, writing
from servers import Database, wait_until
from slow_network import slow_network
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import Failed
from tenantry.execution.events import Event, LocksRefused
from tenantry.execution.transaction import LockPolicy, run_in_transaction
from tenantry.model.backup import BackupKind
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Phase, Statement
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target, connect

pytestmark = pytest.mark.server

DELAY = 0.025
"""Seconds, there and back each."""
SLACK = 0.35
"""Seconds that a busy machine may add, besides what it adds to a statement that nobody can stop."""
CROSSINGS = 9
"""How often the network is crossed while a lock is held, where a statement is run as a stranger."""
TIMEOUT = 1.0
SPEC = """
[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "stores"
paths = [["owner"]]
[[table]]
name = "sales"
paths = [["store"]]
"""


def build(database: Database, parts: int) -> None:
    database.execute(
        "CREATE TABLE tenants (id int PRIMARY KEY, slug text NOT NULL UNIQUE); INSERT INTO tenants VALUES (1, 'north');"
        "CREATE TABLE stores (id int PRIMARY KEY, owner int NOT NULL REFERENCES tenants); INSERT INTO stores VALUES (1, 1);"
        "CREATE TABLE sales (id int PRIMARY KEY, store int NOT NULL REFERENCES stores) PARTITION BY RANGE (id)"
    )
    with database.connect() as session:
        for part in range(parts):
            session.execute(f"CREATE TABLE sales_{part} PARTITION OF sales FOR VALUES FROM ({part}) TO ({part + 1})")
        session.execute(f"INSERT INTO sales SELECT n, 1 FROM generate_series(0, {parts - 1}) AS n")


WRITE = "UPDATE sales SET store = store WHERE id = 0"


def test_two_hundred_locks_cost_one_round_trip(template: Callable[..., Database]) -> None:
    """A writer of the first table waits for all that is done under the locks, and for COMMIT to arrive."""
    database = template("lock time 200", lambda database: build(database, 200))
    locks = tuple(Lock(Name("public", f"sales{part}"), LockMode.ACCESS_EXCLUSIVE)
                  for part in ("", *(f"_{number}" for number in range(200))))  # fmt: skip
    statements = [
        Statement(sql=sql.SQL("ALTER TABLE public.sales ADD COLUMN tenant int"), locks=locks),
        *(
            Statement(sql=sql.SQL("COMMENT ON TABLE {} IS 'x'").format(lock.table.identifier), locks=(lock,), when=sql.SQL("SELECT true"))
            for lock in locks[1:41]
        ),
    ]  # fmt: skip
    with (
        slow_network(database.dsn, DELAY) as dsn, closing(connect(Target(dsn), purpose="test")) as session,
        writing(database, WRITE) as took, unblocked_session(database) as noise,
    ):  # fmt: skip
        outcome = run_in_transaction(session, statements, patience=LockPolicy(timeout=1.0, budget=60))
    assert outcome.tries == 1
    assert max(took) < 2 * DELAY + SLACK + noise.seconds
    assert database.rows("SELECT count(*) FROM pg_description WHERE description = 'x'") == [(40,)]


@pytest.mark.parametrize(
    ("parts", "stranger"),
    [
        (1, False),
        pytest.param(2, True, marks=[pytest.mark.soak]),
        pytest.param(200, False, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_each_phase(parts: int, stranger: bool, template: Callable[..., Database], role: Callable[..., str]) -> None:
    """There and back, nobody waits longer than what a step itself takes, and one round trip, however many partitions
    there are. Where the tables belong to a stranger, what sets off his code goes to the server by itself, and the fence
    around it crosses the network, too, so often and no more: still less than the lock timeout."""
    database = template(f"lock time {parts}", lambda database: build(database, parts))
    if stranger:
        owner = role(name="owner")
        for table in ("tenants", "stores", "sales", *(f"sales_{part}" for part in range(parts))):
            database.execute(f"ALTER TABLE {table} OWNER TO {owner}")
        database.execute(f"GRANT CREATE ON SCHEMA public TO {owner}")
    dump = database.dump()
    spec = Spec.parse(SPEC.format(role=role(create=False, name="app")))

    def migrating(until: Phase) -> Callable[[str], object]:
        return lambda dsn: migrate(Target(dsn), spec, MigrateOptions(until=until, lock_timeout=TIMEOUT))

    with slow_network(database.dsn, DELAY, holding_only=True) as far:
        back = RollbackOptions(lock_timeout=TIMEOUT)
        longest = 2 * DELAY * (CROSSINGS if stranger else 1) + SLACK + (TIMEOUT / 2 if parts > 100 else 0)
        ways = [(phase.value, migrating(phase)) for phase in list(Phase)[:-1]]
        for name, way in (*ways, ("rollback", lambda dsn: rollback(Target(dsn), back))):
            with writing(database, WRITE) as took, unblocked_session(database) as noise:
                way(far)
            print(f"{name}: the longest of {len(took)} waits was {max(took):.3f} s, {noise.seconds:.3f} s of noise")
            assert max(took) < longest + noise.seconds, name
    assert database.dump() == dump


SLOW = """
CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(4); END $$;
CREATE EVENT TRIGGER audit ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION audit();
"""


def test_a_statement_that_is_slow_by_itself(template: Callable[..., Database], role: Callable[..., str]) -> None:
    """Nobody holds a lock: it is said what takes the time, it is not tried for the whole budget, and a writer has waited
    no longer than for the lock and the time that the statement is given."""
    database = template("lock time 2", lambda database: build(database, 2))
    dump = database.dump()
    database.execute(SLOW)
    spec = Spec.parse(SPEC.format(role=role(create=False, name="app")))
    heard: list[str] = []

    class Listener:
        def __call__(self, event: Event) -> None:
            match event:
                case LocksRefused(reason):
                    heard.append(reason)

    # A backup has tables of its own, with which the trigger has no less to do.
    options = MigrateOptions(until=Phase.EXPAND, lock_timeout=0.5, lock_budget=600, backup=BackupKind.NONE)
    with writing(database, WRITE) as took, unblocked_session(database) as noise, pytest.raises(Failed) as failed:
        migrate(Target(database.dsn), spec, options, Listener())
    assert "ALTER TABLE" in failed.value.message
    assert "took more than" in failed.value.message
    assert any("audit()" in detail for detail in failed.value.details), failed.value.details
    slow = [reason for reason in heard if "took more than" in reason]
    assert len(slow) == 1
    # A writer that the machine has kept waiting has kept its lock for as long.
    assert heard == slow or noise.seconds > 0.2
    assert max(took) < 0.5 * 1.5 + SLACK + noise.seconds
    database.execute("DROP EVENT TRIGGER audit; DROP FUNCTION audit")
    migrate(Target(database.dsn), spec, MigrateOptions(until=Phase.EXPAND))
    rollback(Target(database.dsn), RollbackOptions())
    assert database.dump() == dump


def test_a_lock_beneath_a_statement_is_still_a_lock(database: Database) -> None:
    """What cannot be locked ahead, such as an index, is waited for and named as a lock, and tried again."""
    database.execute("CREATE TABLE sales (id int); CREATE INDEX sales_id ON sales (id)")
    heard: list[str] = []
    alter = Statement(sql=sql.SQL("ALTER INDEX public.sales_id SET TABLESPACE pg_default"))
    with closing(connect(Target(database.dsn), purpose="test")) as session, database.connect() as holder:
        holder.execute("SELECT FROM sales WHERE id = 1")

        def retrying(reason: str, blockers: Sequence[str], pause: float) -> None:
            heard.append(reason)
            holder.rollback()

        outcome = run_in_transaction(session, [alter], patience=LockPolicy(timeout=0.3, budget=60), retrying=retrying)
    assert outcome.tries == 2
    assert heard[0].startswith("no lock within")


def test_a_condition_is_asked_once_the_locks_are_there(database: Database, pool: ThreadPoolExecutor) -> None:
    """What somebody does while we wait for the lock is seen: nothing is done that is needed no more."""
    database.execute("CREATE TABLE sales (id int)")
    name = Name("public", "sales")
    add = Statement(
        sql=sql.SQL("ALTER TABLE public.sales ADD COLUMN tenant int"), locks=(Lock(name, LockMode.ACCESS_EXCLUSIVE),),
        when=sql.SQL(
            "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = {} AND a.attname = 'tenant')"
        ).format(name.oid),
    )  # fmt: skip
    with closing(connect(Target(database.dsn), purpose="test")) as session, database.connect() as other:
        other.execute("ALTER TABLE sales ADD COLUMN tenant text")
        running = pool.submit(run_in_transaction, session, [add], patience=LockPolicy(timeout=30, budget=60))
        wait_until(
            lambda: database.rows("SELECT FROM pg_locks WHERE NOT granted AND relation = 'sales'::regclass") != []
        )
        other.commit()
        running.result()
    assert database.rows("SELECT atttypid::regtype::text FROM pg_attribute WHERE attname = 'tenant'") == [("text",)]
