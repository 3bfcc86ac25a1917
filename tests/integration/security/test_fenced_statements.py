"""Single statements on a stranger's tables: what they return, and whose code they run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from security.den import THEIRS, Den
from servers import wait_until
from tenantry.balances.reconciliation_keys import from_json
from tenantry.errors import Refused
from tenantry.execution.transaction import LockPolicy, run_in_transaction
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.model.schema import ManagedObjects
from tenantry.postgres.activity import activities
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.locks import hold_run_lock
from tenantry.postgres.owner_context import raw_cursor

pytestmark = [pytest.mark.server, pytest.mark.differs("postgres/owner_context.py")]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id, word FROM evil.keys WHERE id = 1",
        "(SELECT id, word FROM evil.keys WHERE id = 1) LIMIT 1",
        "WITH RECURSIVE one AS (SELECT id, word FROM evil.keys WHERE id = 1) SELECT id, word FROM one -- all",
        "WITH one AS MATERIALIZED (SELECT * FROM evil.keys WHERE id = 1 FOR UPDATE) SELECT id, word FROM one",
        "UPDATE evil.keys SET id = id WHERE id = 1 RETURNING id, word",
        "-- with a remark\nINSERT INTO evil.keys (id, word) VALUES (9, 'one') RETURNING 1::evil.key, word",
        "DELETE FROM evil.keys AS k WHERE id = 1 RETURNING COALESCE(k.id, k.id), k.word",
        'WITH one AS (SELECT id FROM evil.keys WHERE id = 1), "SELECT (" AS (UPDATE evil.keys AS k SET word = k.word'
        " FROM one WHERE k.id = one.id AND 'SELECT' <> ')' RETURNING k.*) SELECT id, word FROM \"SELECT (\" ORDER BY id",
        "WITH one AS (SELECT id FROM evil.keys WHERE id = 1)"
        " UPDATE evil.keys AS k SET word = k.word FROM one WHERE k.id = one.id RETURNING k.id, k.word",
        "VALUES ((SELECT id FROM evil.keys WHERE id = 1), (SELECT word FROM evil.keys WHERE id = 1))",
    ],
)
def test_domains(statement: str, den: Den) -> None:
    """PostgreSQL describes a domain's columns by what it is over, whatever the statement that returns them."""
    assert den.run(statement) == [(1, "one")]
    assert not den.ran[0]


@pytest.mark.parametrize(
    ("column", "value", "there"),
    [
        ("id", 7, "7"), ("word", "seven", "seven"), ("pair", "(7,seven)", "(7,seven)"), ("colour", "blue", "blue"),
        ("many", [7, 8], "{7,8}"), ("many", None, None),
    ],
)  # fmt: skip
def test_parameters(column: str, value: Any, there: str | None, den: Den) -> None:
    """A value is read as its user's type within the fence, where the checks of domains run as their owner."""
    statement = f"UPDATE evil.keys SET {column} = $1 WHERE id = $2 RETURNING {column}::text"
    assert den.run(statement, value, 2) == [(there,)]
    assert not den.ran[0]


def test_tables_that_are_made(den: Den) -> None:
    """CREATE TABLE … AS has the rows that the statement returns, and its values are not read again as us."""
    with den.session() as connection:
        connection.execute("CREATE TEMPORARY TABLE copied AS SELECT * FROM evil.keys")
        found = raw_cursor(connection).execute(
            "SELECT id, word, pair::text, colour, many::text FROM pg_temp.copied ORDER BY id"
        )
        assert found.fetchall() == [(1, "one", "(1,x)", "red", "{1,2}"), (2, None, None, None, None)]
    assert not den.ran[0]


def test_keys_of_balances_that_are_read_from_json(den: Den) -> None:
    """The table of balances belongs to the ledger's owner, who may have given its columns types of his own."""
    ledger: Any = SimpleNamespace(storage=Name("evil", "keys"))
    with den.session() as connection:
        connection.execute('CREATE TEMPORARY TABLE chosen AS SELECT \'{"id": 7, "pair": {"one": 8}}\'::jsonb AS key')
        query = sql.SQL("SELECT known.id FROM pg_temp.chosen AS one, {}").format(from_json(ledger, "one"))
        assert connection.execute(query).fetchall() == [(7,)]
    assert den.ran == (False, True)


GIVES_AWAY = """
CREATE FUNCTION evil.gives_away(raises boolean) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_unlock_all(), nextval('evil.by_others');
    IF raises THEN RAISE 'gone'; END IF;
    RETURN true;
END $$;
CREATE FUNCTION evil.gives() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.gives_away({raises}); RETURN new; END $$;
CREATE TRIGGER gives BEFORE UPDATE ON evil.keys FOR EACH ROW WHEN (new.id = 8) EXECUTE FUNCTION evil.gives();
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON evil.keys DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (new.id = 7) EXECUTE FUNCTION evil.gives();
ALTER TABLE evil.spies ADD FOREIGN KEY (code) REFERENCES branches (code) ON UPDATE CASCADE,
  ADD CONSTRAINT whole CHECK (evil.gives_away({raises})) NOT VALID;
CREATE TRIGGER gives BEFORE UPDATE ON evil.spies FOR EACH ROW EXECUTE FUNCTION evil.gives();
"""
ROW, KEY = "UPDATE evil.keys SET id = {} WHERE id = 1", "UPDATE public.branches SET code = 'z' WHERE id = 1"


@pytest.mark.parametrize("raises", [pytest.param(False, marks=pytest.mark.nightly), True], ids=["", "raises"])
@pytest.mark.parametrize(
    "statement",
    [ROW.format(8), ROW.format(7), KEY, 'ALTER TABLE "evil"."spies" VALIDATE CONSTRAINT whole',
     "CREATE INDEX ON evil.spies (evil.gives_away({raises}))",
     "CREATE INDEX CONCURRENTLY ON evil.spies (evil.gives_away({raises}))"],
    ids=["trigger", "deferred", "key", "check", "index", "concurrently"],
)  # fmt: skip
def test_the_lock_of_the_run_stays(statement: str, raises: bool, den: Den) -> None:
    """Whatever of a stranger's gives it away, and fails or not, no other run can begin, neither meanwhile nor later."""
    den.theirs(GIVES_AWAY.format(raises=raises))
    target = Target(den.database.dsn)
    alone = "CONCURRENTLY" in statement
    with connect(target, purpose="a test") as connection, connect(target, purpose="another") as other:

        def refused() -> None:
            with pytest.raises(Refused, match=r"tenantry a test"), hold_run_lock(other, target, patience=0):
                pass

        with hold_run_lock(connection, target):
            with (
                pytest.raises(psycopg.errors.RaiseException) if raises else nullcontext(),
                nullcontext() if alone else connection.transaction(),
            ):
                connection.execute(statement.format(raises=raises).encode())
                refused()
            refused()
            assert [session.application for session in activities(other)] == ["tenantry a test"]
        with hold_run_lock(other, target, patience=0):
            pass
    assert den.ran == (False, True)


def test_what_is_lent(den: Den) -> None:
    """Code that runs beside a statement can read of a table of ours what the statement names, and write nothing: what
    the statement adds to one is written by us, and is all that is there."""
    den.database.execute(
        "CREATE SCHEMA tenantry; CREATE TABLE tenantry.noted (id int, word text); INSERT INTO tenantry.noted VALUES (0)"
    )
    den.theirs("""
        CREATE FUNCTION evil.takes() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE found name; verb text;
        BEGIN
            FOR found IN SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'v'
            UNION ALL SELECT 'tenantry.noted' LOOP
                FOREACH verb IN ARRAY ARRAY['DELETE FROM %s', 'UPDATE %s SET id = 9', 'INSERT INTO %s (id) VALUES (9)']
                LOOP
                    BEGIN EXECUTE format(verb, found); PERFORM nextval('evil.by_superuser');
                    EXCEPTION WHEN insufficient_privilege THEN PERFORM nextval('evil.by_others'); END;
                END LOOP;
            END LOOP;
            RETURN new;
        END $$;
        CREATE TRIGGER takes BEFORE UPDATE ON evil.keys FOR EACH ROW EXECUTE FUNCTION evil.takes();
        SELECT setval('evil.by_superuser', 1, false)
    """)
    with den.session() as connection:
        noting = raw_cursor(connection).execute(
            "WITH changed AS (UPDATE evil.keys SET word = word RETURNING id, word)"
            " INSERT INTO tenantry.noted (id, word) SELECT id, word || $1 FROM changed"
            " WHERE NOT EXISTS (SELECT FROM tenantry.noted AS known WHERE known.id = changed.id)", ["!"]
        )  # fmt: skip
        assert noting.rowcount == 2
    assert den.database.rows("SELECT id, word FROM tenantry.noted ORDER BY id") == [(0, None), (1, "one!"), (2, None)]
    assert den.ran == (False, True)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE tenantry.noted AS n SET id = k.id FROM evil.keys AS k", "DELETE FROM tenantry.noted USING evil.keys",
     "INSERT INTO tenantry.noted (id) SELECT id FROM evil.keys RETURNING (SELECT count(*) FROM evil.keys)",
     "WITH beside AS (INSERT INTO tenantry.noted (id) SELECT id FROM evil.keys) SELECT"],
)  # fmt: skip
def test_what_is_not_lent(statement: str, den: Den) -> None:
    """A statement that would have to let a stranger write to a table of ours comes to nothing."""
    den.database.execute("CREATE SCHEMA tenantry; CREATE TABLE tenantry.noted (id int)")
    with pytest.raises(psycopg.Error):
        den.run(statement)
    assert den.database.rows("SELECT FROM tenantry.noted") == []


def test_what_is_lent_without_its_heirs(den: Den) -> None:
    """A fill of a table of ours by one of theirs changes no row of an heir that has the same address."""
    den.database.execute("INSERT INTO heirs (id, code) VALUES (1, 'heir'), (2, 'heiress')")
    den.run("""
        WITH batch AS MATERIALIZED (
            SELECT row.ctid AS address, k.id AS tenant FROM ONLY public.branches AS row JOIN evil.keys AS k ON k.id = row.id
            FOR NO KEY UPDATE OF row SKIP LOCKED
        ) UPDATE ONLY public.branches AS row SET tenant = batch.tenant FROM batch WHERE row.ctid = batch.address
    """)
    assert den.database.rows("SELECT code, tenant FROM branches ORDER BY code") == [
        ("a", 1), ("b", 2), ("heir", None), ("heiress", None),
    ]  # fmt: skip


def test_an_owner_who_comes_later(den: Den) -> None:
    """The session was opened when nobody but ourselves owned anything."""
    den.database.execute(f'DROP SCHEMA evil CASCADE; GRANT CREATE ON DATABASE "{den.database.name}" TO eve')
    with connect(Target(den.database.dsn), purpose="a test") as connection:
        den.theirs(THEIRS)
        den.theirs("CREATE VIEW evil.seen AS SELECT evil.truth(1)")
        read_schema(connection, ("*",), managed=ManagedObjects())
        connection.execute("SELECT * FROM evil.seen")
    assert den.ran == (False, True)


PARTED = """
CREATE TABLE evil.parted (id int NOT NULL, x int, spy int) PARTITION BY LIST ((evil.whole(0) + id));
CREATE TABLE evil.part PARTITION OF evil.parted DEFAULT;
CREATE TABLE evil.loose (id int NOT NULL, x int, spy int);
INSERT INTO evil.parted VALUES (1, 1);
CREATE INDEX known ON ONLY evil.parted ((x + evil.whole(0)));
CREATE INDEX part_known ON evil.part ((x + evil.whole(0)));
"""


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM evil.parted", "INSERT INTO evil.parted VALUES (2, 2)", "UPDATE evil.parted SET x = 3, id = 4",
        "CREATE TEMPORARY TABLE copied AS SELECT * FROM evil.parted",
        'ALTER TABLE "evil"."parted" ADD COLUMN y int DEFAULT 1', 'ALTER TABLE "evil"."parted" DROP COLUMN x',
        'ALTER TABLE "evil"."parted" ADD CONSTRAINT whole CHECK (x > 0) NOT VALID',
        'ALTER TABLE "evil"."parted" ADD CONSTRAINT whole CHECK (x > 0)',
        'ALTER TABLE "evil"."parted" ALTER COLUMN x SET NOT NULL',
        'ALTER TABLE "evil"."parted" ALTER COLUMN x SET DEFAULT 1',
        'ALTER TABLE "evil"."parted" ADD FOREIGN KEY (x) REFERENCES public.branches',
        'ALTER TABLE "evil"."parted" ENABLE ROW LEVEL SECURITY',
        "CREATE INDEX ON evil.parted (x)", "CREATE INDEX ON ONLY evil.parted (x)",
        'CREATE POLICY one ON "evil"."parted" USING (x > 0)',
        'CREATE TRIGGER one BEFORE UPDATE ON "evil"."parted" FOR EACH ROW'
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        'LOCK TABLE ONLY "evil"."parted"', 'ALTER TABLE "evil"."parted" DETACH PARTITION "evil"."part"',
        'ALTER INDEX "evil"."known" ATTACH PARTITION "evil"."part_known"',
        "ANALYZE evil.parted", 'ALTER TABLE "evil"."parted" RENAME COLUMN x TO z',
    ],
)  # fmt: skip
def test_constants_of_a_partition_key(statement: str, den: Den) -> None:
    """PostgreSQL works them out when the key is first asked for."""
    den.theirs(PARTED)
    den.run(statement)
    assert not den.ran[0]


@pytest.mark.parametrize(
    "uses",
    [
        "", "CREATE INDEX ON evil.rooms (evil.whole(7))",
        "CREATE STATISTICS evil.known ON x, (evil.whole(7) + id) FROM evil.rooms",
        "ALTER TABLE evil.rooms ADD CHECK (evil.whole(7) > x)",
    ],
    ids=["nothing", "index", "statistics", "check"],
)  # fmt: skip
def test_a_key_of_ours_to_theirs(uses: str, den: Den) -> None:
    """It is proved by a join as whoever proves it, for which PostgreSQL works out the constants of the other table's
    expressions: refused."""
    den.database.execute("CREATE TABLE halls (id int); INSERT INTO halls VALUES (1)")
    den.theirs(f"CREATE TABLE evil.rooms (id int PRIMARY KEY, x int); INSERT INTO evil.rooms VALUES (1, 1); {uses}")
    den.run('ALTER TABLE "public"."halls" ADD CONSTRAINT room FOREIGN KEY (id) REFERENCES "evil"."rooms" NOT VALID')
    if uses:
        with pytest.raises(
            Refused, match=r"Validating the foreign key room would run functions of eve: evil\.rooms uses them"
        ):
            den.run('ALTER TABLE "public"."halls" VALIDATE CONSTRAINT room')
    else:
        den.run('ALTER TABLE "public"."halls" VALIDATE CONSTRAINT room')
    assert den.database.rows("SELECT convalidated FROM pg_constraint WHERE conname = 'room'") == [(not uses,)]
    assert not den.ran[0]


DROP = Statement(
    sql=sql.SQL('ALTER TABLE "evil"."loose" DROP COLUMN spy'),
    locks=(Lock(Name("evil", "loose"), LockMode.ACCESS_EXCLUSIVE),),
)
ATTACH = Statement(sql=sql.SQL('ALTER INDEX "evil"."whole" ATTACH PARTITION "evil"."part_x"'))


@pytest.mark.parametrize(
    ("statement", "now", "then"),
    [(DROP, "TABLE loose", "parted"), (Statement(sql=DROP.sql), "TABLE loose", "parted"),
     (ATTACH, "INDEX whole", "known")],
    ids=["locked", "not", "index"],
)  # fmt: skip
def test_names_that_change_while_we_wait(
    statement: Statement, now: str, then: str, den: Den, pool: ThreadPoolExecutor
) -> None:
    """What was asked of a table or index is asked again of the one that the lock is on in the end."""
    den.theirs(
        f"{PARTED}; CREATE TABLE evil.plain (x int) PARTITION BY LIST (x);"
        "CREATE INDEX whole ON ONLY evil.plain (x); CREATE INDEX part_x ON evil.part (x)"
    )
    kind, name = now.split()
    with connect(Target(den.database.dsn), purpose="a test") as session, den.database.connect(user="eve") as eve:
        eve.execute(f"ALTER {kind} evil.{name} RENAME TO before".encode())
        running = pool.submit(run_in_transaction, session, [statement], patience=LockPolicy(timeout=30, budget=60))
        wait_until(lambda: den.database.rows("SELECT FROM pg_locks WHERE NOT granted") != [])
        eve.execute(f"ALTER {kind} evil.{then} RENAME TO {name}".encode())
        eve.commit()
        if statement is ATTACH:
            with pytest.raises(psycopg.Error, match="cannot attach index"):
                running.result()
        else:
            running.result()
    assert not den.ran[0]


def test_an_index_made_while_a_key_is_proved(den: Den, pool: ThreadPoolExecutor) -> None:
    """What refuses the proof of a key of ours to their table cannot come between the question and the proof."""
    den.database.execute("CREATE TABLE halls (id int); INSERT INTO halls VALUES (1)")
    den.theirs("CREATE TABLE evil.rooms (id int PRIMARY KEY, x int); INSERT INTO evil.rooms VALUES (1, 1)")
    den.run('ALTER TABLE "public"."halls" ADD CONSTRAINT room FOREIGN KEY (id) REFERENCES "evil"."rooms" NOT VALID')
    proof = 'ALTER TABLE "public"."halls" VALIDATE CONSTRAINT room'
    with connect(Target(den.database.dsn), purpose="a test") as session, den.database.connect(user="eve") as eve:
        eve.execute("CREATE INDEX ON evil.rooms (evil.whole(7))")
        running = pool.submit(session.execute, proof.encode())
        wait_until(lambda: den.database.rows("SELECT FROM pg_locks WHERE NOT granted") != [] or running.done())
        eve.commit()
        with pytest.raises(Refused, match=r"Validating the foreign key room would run functions of eve"):
            running.result()
    assert not den.ran[0]
