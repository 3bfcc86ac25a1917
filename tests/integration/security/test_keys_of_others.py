"""Statements on an operator's own table, to which tables of a stranger's refer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import psycopg
import pytest

from security.den import Den
from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.errors import Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target, connect

pytestmark = [pytest.mark.server, pytest.mark.differs("postgres/owner_context.py")]

FILL = """WITH batch AS MATERIALIZED (
    SELECT row.ctid AS address FROM ONLY public.branches AS row WHERE row.tenant IS NULL
    FOR NO KEY UPDATE OF row SKIP LOCKED
) UPDATE ONLY public.branches AS row SET tenant = $1::int FROM batch WHERE row.ctid = batch.address AND row.code = 'a'"""


ON_CODE = "FOREIGN KEY (code) REFERENCES branches (code) ON UPDATE"
ON_ID = "FOREIGN KEY (branch) REFERENCES branches ON DELETE"


@pytest.mark.parametrize(
    ("key", "statement"),
    [
        (f"{ON_CODE} CASCADE", "UPDATE public.branches SET note = 'DELETE', tenant = id"),
        (f"{ON_CODE} CASCADE", "INSERT INTO public.branches (id, code) VALUES (3, 'c')"),
        (f"{ON_CODE} CASCADE", "SELECT FROM public.branches FOR UPDATE"),
        (f"{ON_ID} CASCADE", "UPDATE public.branches SET code = 'z', id = 5 WHERE id = 2"),
        (f"{ON_CODE} NO ACTION", "UPDATE public.branches SET code = 'z' WHERE code = 'b'"),
        (f"{ON_CODE} NO ACTION", "DELETE FROM public.branches WHERE code = 'b'"),
    ],
)
def test_what_touches_no_key(key: str, statement: str, den: Den) -> None:
    """Such a statement is not refused, on whatever version, for triggers that it cannot set off."""
    den.refer(key)
    den.run(statement)
    assert den.ran == (False, False)


@pytest.mark.parametrize("put_off", ["", " DEFERRABLE INITIALLY DEFERRED"])
@pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "SET DEFAULT"])
def test_a_fill(action: str, put_off: str, den: Den) -> None:
    den.refer(
        f"{ON_CODE} {action} ON DELETE {action}, ADD {ON_ID} {action}", f"AFTER INSERT OR UPDATE OR DELETE{put_off}"
    )
    den.run(FILL, 3)
    assert den.database.rows("SELECT tenant FROM branches ORDER BY id") == [(3,), (None,)]
    assert den.ran == (False, False)


@pytest.mark.parametrize("put_off", ["", " DEFERRABLE INITIALLY DEFERRED"])
@pytest.mark.parametrize(
    ("key", "statement"),
    [
        *((f"{ON_CODE} {action}", "UPDATE public.branches SET code = 'x' WHERE id = 1")
          for action in ("CASCADE", "SET NULL", "SET DEFAULT")),
        *((f"{ON_ID} {action}", "DELETE FROM public.branches WHERE id = 1")
          for action in ("CASCADE", "SET NULL", "SET DEFAULT")),
        (f"{ON_CODE} CASCADE", "UPDATE public.branches SET (note, code) = (SELECT 'two', 'x') WHERE id = 1"),
        (
            f"{ON_CODE} CASCADE",
            "INSERT INTO public.branches (id, code) VALUES (1, 'y') ON CONFLICT (id) DO UPDATE SET code = 'x'",
        ),
        (
            f"{ON_CODE} CASCADE",
            "WITH gone AS (DELETE FROM ONLY public.branches WHERE id = 9 RETURNING id)"
            " UPDATE public.branches SET code = 'x' WHERE id = 1",
        ),
    ],
)  # fmt: skip
def test_what_acts(key: str, statement: str, put_off: str, den: Den, server_version: int) -> None:
    """The stranger's triggers run as the stranger, or, where PostgreSQL runs them as whoever has written, not at all."""
    den.refer(key, f"AFTER INSERT OR UPDATE OR DELETE{put_off}")
    if server_version < 18:
        with pytest.raises(Refused, match=r"The trigger spies of evil\.spies belongs to eve"):
            den.run(statement)
    else:
        den.run(statement)
    assert den.ran == (False, server_version >= 18)
    there = den.database.rows("SELECT branch, code FROM evil.spies")
    assert (there == [(1, "a")]) == (server_version < 18)


def test_a_generated_key(den: Den, server_version: int) -> None:
    """It changes without being assigned."""
    den.database.execute("UPDATE branches SET tenant = id; UPDATE evil.spies SET twice = 2")
    den.refer("FOREIGN KEY (twice) REFERENCES branches (twice) ON UPDATE CASCADE")
    if server_version < 18:
        with pytest.raises(Refused):
            den.run("UPDATE public.branches SET tenant = tenant + 10")
    else:
        den.run("UPDATE public.branches SET tenant = tenant + 10")
    assert den.ran == (False, server_version >= 18)


@pytest.mark.parametrize(
    "trigger",
    ["BEFORE UPDATE OR DELETE", "AFTER UPDATE OR DELETE", "AFTER UPDATE OR DELETE DEFERRABLE INITIALLY DEFERRED"],
)
def test_as_another_role(trigger: str, den: Den) -> None:
    """What is tried as the application is not refused: triggers run as that role, with no way back to ours."""
    den.refer(f"{ON_CODE} CASCADE ON DELETE CASCADE, ADD {ON_ID} CASCADE", trigger)
    den.run("UPDATE public.branches SET code = 'x' WHERE id = 1", role="eves_clerk")
    assert den.ran == (False, True)
    assert den.database.rows("SELECT code FROM evil.spies") == [("x",)]
    den.run("DELETE FROM public.branches WHERE id = 1", role="eves_clerk")
    assert den.database.rows("SELECT FROM evil.spies") == []
    assert not den.ran[0]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        den.run("UPDATE public.branches SET code = 'y'", role="eve")


def test_no_further_than_it_reaches(den: Den) -> None:
    """Neighbours of neighbours that a key does not change are not looked at: the statement runs as it is."""
    den.database.execute(
        "CREATE TABLE halls (branch int UNIQUE REFERENCES branches ON DELETE CASCADE);"
        "GRANT SELECT, REFERENCES ON halls TO eve"
    )
    den.theirs(
        "CREATE TABLE evil.far (hall int REFERENCES halls (branch) ON UPDATE CASCADE ON DELETE CASCADE);"
        "CREATE TRIGGER spies AFTER UPDATE OR DELETE ON evil.far FOR EACH ROW EXECUTE FUNCTION evil.acts();"
        "DROP TABLE evil.spies"
    )
    with den.session() as connection:
        connection.execute("UPDATE public.branches SET code = 'x' WHERE id = 1")
        made = connection.execute("SELECT pg_catalog.count(*) FROM pg_catalog.pg_class WHERE relname ~ '^tenantry_'")
        assert made.fetchone() == (0,)


@pytest.mark.parametrize("to", ["eve", "PUBLIC", "eves_clerk"])
def test_the_first_key(to: str, den: Den, server_version: int) -> None:
    """Who owns nothing yet, and may refer to a table of ours, can make the first table of a stranger's when a session of
    ours has begun."""
    den.database.execute(
        "DROP TABLE heirs; DROP SCHEMA evil CASCADE; REVOKE ALL ON branches FROM eve, eves_clerk;"
        f"REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA public TO {to};"
        f'REVOKE ALL ON DATABASE "{den.database.name}" FROM eve; GRANT REFERENCES (code) ON branches TO {to};'
        "GRANT eves_clerk TO eve"
    )
    with connect(Target(den.database.dsn), purpose="a test") as connection:
        with den.database.connect(user="eve") as hers:
            hers.execute(
                "CREATE TABLE public.ran (as_superuser boolean); GRANT INSERT ON public.ran TO PUBLIC;"
                "CREATE TABLE public.spies (code text REFERENCES branches (code) ON UPDATE CASCADE);"
                "INSERT INTO public.spies VALUES ('a');"
                "CREATE FUNCTION public.acts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " INSERT INTO public.ran SELECT rolsuper FROM pg_roles WHERE rolname = current_user; RETURN NULL; END $$;"
                "CREATE TRIGGER spies AFTER UPDATE ON public.spies FOR EACH ROW EXECUTE FUNCTION public.acts()"
            )
        refused = pytest.raises(Refused, match="belongs to eve") if server_version < 18 else nullcontext()
        with refused:
            connection.execute("UPDATE public.branches SET code = 'z' WHERE code = 'a'")
    assert den.database.rows("SELECT as_superuser FROM ran") == ([] if server_version < 18 else [(False,)])


def test_a_key_within_the_tenant(database: Database, role: Callable[..., str]) -> None:
    """One of ours to a table of theirs is proved as us. Where that would run their code, it is said before anything is
    changed, and again when the code has come since."""
    owner = role(name="owner")
    database.execute(
        "CREATE TABLE tenants (id int PRIMARY KEY, slug text NOT NULL UNIQUE); INSERT INTO tenants VALUES (1, 'a');"
        "CREATE TABLE rooms (id int PRIMARY KEY, owner int NOT NULL REFERENCES tenants); INSERT INTO rooms VALUES (1, 1);"
        "CREATE TABLE halls (id int PRIMARY KEY, room int NOT NULL REFERENCES rooms); INSERT INTO halls VALUES (1, 1);"
        "CREATE FUNCTION whole(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
        f"ALTER FUNCTION whole OWNER TO {owner}; ALTER TABLE rooms OWNER TO {owner}; GRANT REFERENCES ON tenants TO {owner}"
    )
    spec = Spec.parse(
        f"[tenant]\ntable = 'tenants'\n[application]\nrole = '{role(create=False, name='app')}'\n"
        "[[table]]\nname = 'rooms'\npaths = [['owner']]\n[[table]]\nname = 'halls'\npaths = [['room']]"
    )

    def migrated(until: Phase) -> None:
        migrate(Target(database.dsn), spec, MigrateOptions(until=until, backup=BackupKind.NONE))

    for until in (Phase.EXPAND, Phase.CONTRACT):
        database.execute("CREATE INDEX known ON rooms (whole(7))")
        dump = database.dump()
        with pytest.raises(Refused, match=r"^Validating a foreign key of public\.halls would run functions of"):
            migrated(Phase.CONTRACT)
        assert database.dump() == dump
        database.execute("DROP INDEX known")
        migrated(until)
