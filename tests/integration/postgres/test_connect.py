from __future__ import annotations

import shutil
import socket
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from postgres.pooler import folder as folder
from postgres.pooler import path, pooler
from servers import Database, Server, wait_until
from tenantry.errors import ConnectionFailed, Refused, TenantryError
from tenantry.postgres import owner_context
from tenantry.postgres.connect import Target, connect, read_server, resolve_target


def opened(dsn: str, **options: object) -> psycopg.Connection[tuple[object, ...]]:
    return connect(Target(dsn), purpose="test", **options)  # type: ignore[arg-type]


@pytest.mark.server
@pytest.mark.differs("postgres/connect.py")
def test_settings_are_our_own(database: Database, server: Server, role: Callable[..., str]) -> None:
    """Whatever database and role set as defaults, a session has the settings that our statements rely on."""
    name = role()
    for setting, value in {
        "search_path": "public", "lock_timeout": "1s", "statement_timeout": "1h", "row_security": "off",
        "idle_in_transaction_session_timeout": "1s", "idle_session_timeout": "1s", "DateStyle": "German",
        "default_transaction_read_only": "on", "default_transaction_isolation": "serializable",
        "quote_all_identifiers": "on", "standard_conforming_strings": "off", "client_encoding": "LATIN1",
        "transform_null_equals": "on", "array_nulls": "off", "xmloption": "document", "extra_float_digits": "-15",
        "check_function_bodies": "off", "gin_fuzzy_search_limit": "1",
    }.items():  # fmt: skip
        server.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
            )
        )
    with connect(Target(make_conninfo(database.dsn, user=name)), run="r1", purpose="backfill") as connection:
        shown = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
        shown["search_path"] = path(connection)
        assert connection.autocommit
    assert {key: shown[key] for key in ("application_name", "search_path", "client_encoding")} == {
        "application_name": "tenantry r1 backfill",
        "search_path": "pg_catalog, pg_temp",
        "client_encoding": "UTF8",
    }
    timeouts = [key for key in shown if key.endswith("_timeout") and shown[key] != "0"]
    ours = {"lock_timeout", "statement_timeout", "transaction_timeout", "idle_session_timeout"}
    assert not {*ours, "idle_in_transaction_session_timeout"} & set(timeouts)
    assert shown["client_connection_check_interval"] == "1000"
    assert shown["default_transaction_read_only"] == "off"
    assert shown["default_transaction_isolation"] == "read committed"
    assert shown["DateStyle"].startswith("ISO")
    assert shown["quote_all_identifiers"] == "off"
    assert shown["standard_conforming_strings"] == "on"
    assert shown["row_security"] == "on"
    assert {key: shown[key] for key in ("transform_null_equals", "array_nulls", "xmloption", "extra_float_digits")} == {
        "transform_null_equals": "off", "array_nulls": "on", "xmloption": "content", "extra_float_digits": "1",
    }  # fmt: skip
    assert (shown["check_function_bodies"], shown["gin_fuzzy_search_limit"]) == ("on", "0")


def test_replication_role_of_others(database: Database, server: Server, role: Callable[..., str]) -> None:
    """Foreign keys and triggers hold in our sessions, whatever a load of data has left behind; who may not see to that is
    told what is wrong."""
    server.execute(
        sql.SQL("ALTER DATABASE {} SET session_replication_role = replica").format(sql.Identifier(database.name))
    )
    with opened(database.dsn) as connection:
        assert connection.execute("SHOW session_replication_role").fetchone() == ("origin",)
    with pytest.raises(Refused, match="foreign keys and triggers would not be enforced"):
        opened(make_conninfo(database.dsn, user=role()))


@pytest.mark.server
@pytest.mark.parametrize("setting", ["role", "session_authorization"])
def test_database_that_makes_sessions_its_owners(
    database: Database, server: Server, role: Callable[..., str], setting: str
) -> None:
    """Its owner would need but RESET ROLE, in a trigger, to be whoever has connected."""
    owner = role()
    server.execute(f"ALTER DATABASE {database.name} OWNER TO {owner}")
    with database.connect(user=owner, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database.name} SET {setting} = {owner}")
    with pytest.raises(Refused, match=f"sets {setting} to {owner}"):
        opened(database.dsn)
    opened(make_conninfo(database.dsn, user=owner)).close()


@pytest.mark.server
def test_path_is_ours_after_each_transaction(database: Database) -> None:
    """What a transaction has set off, such as a trigger, may set the path for the rest of the session."""
    with opened(database.dsn) as connection:
        with connection.transaction():
            connection.execute("SELECT pg_catalog.set_config('search_path', 'public', false)")
        assert path(connection) == "pg_catalog, pg_temp"


@pytest.mark.server
def test_operator_is_not_silently_filtered(database: Database, role: Callable[..., str]) -> None:
    """Where a policy would hide rows from one who bypasses row security, there is an error; others go on."""
    database.execute("CREATE TABLE public.t (id int); ALTER TABLE public.t ENABLE ROW LEVEL SECURITY")
    reader, bypassing = role(), role("LOGIN BYPASSRLS")
    database.execute(f"GRANT SELECT ON public.t TO {reader}, {bypassing}; GRANT {reader} TO {bypassing}")
    with opened(make_conninfo(database.dsn, user=bypassing)) as connection:
        connection.execute(f"SET ROLE {reader}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            connection.execute("SELECT FROM public.t")
    with opened(make_conninfo(database.dsn, user=bypassing), operator=False) as connection:
        connection.execute(f"SET ROLE {reader}")
        connection.execute("SELECT FROM public.t")
    with opened(make_conninfo(database.dsn, user=reader)) as connection:
        connection.execute("SELECT FROM public.t")


@pytest.mark.server
@pytest.mark.differs
def test_server_and_role(database: Database, server: Server, role: Callable[..., str]) -> None:
    """The server tells its version, and what the role may do."""
    name = role("LOGIN CREATEROLE")
    with opened(make_conninfo(database.dsn, user=name)) as connection:
        plain = read_server(connection)
    with opened(database.dsn) as connection:
        superuser = read_server(connection)
    assert plain.major == superuser.major == server.major
    assert plain.database == database.name
    assert (plain.user, plain.superuser, plain.bypasses) == (name, False, False)
    assert (plain.can_create_role, plain.can_create_schema) == (True, False)
    assert (superuser.superuser, superuser.bypasses, superuser.can_create_schema) == (True, True, True)
    assert not superuser.in_recovery


def test_autocommit_can_be_left_off(database: Database) -> None:
    """The settings outlive the first transaction of a session that does not commit by itself."""
    with opened(database.dsn, autocommit=False) as connection:
        assert not connection.autocommit
        connection.execute("SELECT 1")
        connection.rollback()
        assert path(connection) == "pg_catalog, pg_temp"


def refused(dsn: str) -> TenantryError:
    with pytest.raises(ConnectionFailed) as caught:
        opened(dsn)
    assert caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value)) + "".join(caught.value.details)
    assert "hunter2" not in shown
    return caught.value


def test_pieces_of_a_password() -> None:
    """A password with a / in it: libpq takes half of it for the port, half for the name of the database."""
    told = refused("postgresql://127.0.0.1:hunter2/hunter2half@host.invalid/shop")
    assert "half" not in told.message
    assert "****" in told.message


def test_unreachable_hosts() -> None:
    """One sentence names the place, and the remedy where to look."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        error = refused(f"postgresql://me:hunter2@127.0.0.1:{port}/shop")
    assert error.message.startswith("Cannot connect to host=127.0.0.1 port=")
    assert error.message.endswith("user=me dbname=shop: Connection refused")
    assert "host and port" in error.remedy
    assert "host and port" in refused("host=nowhere.invalid password=hunter2").remedy
    assert "host and port" in refused("host=/nowhere password=hunter2").remedy


@pytest.mark.server
def test_unknown_names(database: Database, server: Server) -> None:
    """The server's words for an unknown database and an unknown user, without their wrapping."""
    error = refused(server.dsn("nowhere"))
    assert error.message.endswith(': database "nowhere" does not exist')
    assert "name of the database" in error.remedy
    error = refused(make_conninfo(database.dsn, user="nobody_we_know", password="hunter2"))
    assert error.message.endswith(': role "nobody_we_know" does not exist')


@pytest.mark.server
def test_limit_of_connections(database: Database, role: Callable[..., str]) -> None:
    """A role or database that has all the connections it may have is named as the reason."""
    dsn = make_conninfo(database.dsn, user=role("LOGIN CONNECTION LIMIT 0"))
    error = refused(dsn)
    assert "too many connections" in error.message
    assert "end idle sessions" in error.remedy


@pytest.mark.server
def test_wrong_password(crashable: Server) -> None:
    """A wrong password is told apart from a missing one, and is not repeated."""
    with psycopg.connect(crashable.dsn(), autocommit=True) as connection:
        connection.execute("CREATE ROLE me LOGIN PASSWORD 'right'")
    rules = crashable.cluster.data / "pg_hba.conf"
    rules.write_text("local all me scram-sha-256\nlocal all postgres trust\n")
    with psycopg.connect(crashable.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
    dsn = make_conninfo(crashable.dsn(), user="me", password="hunter2")

    def asks() -> bool:
        try:
            opened(dsn).close()
        except ConnectionFailed:
            return True
        return False

    wait_until(asks)  # the postmaster reads its rules when it gets the signal
    error = refused(dsn)
    assert 'password authentication failed for user "me"' in error.message
    assert error.remedy == "check the user and the password"
    assert "no password supplied" in refused(make_conninfo(crashable.dsn(), user="me")).message
    assert "pg_hba.conf" in refused(make_conninfo(crashable.dsn(), user="other")).remedy


def test_server_without_tls() -> None:
    """A server that answers no to TLS is told apart from one that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            session, _ = listening.accept()
            with session:
                session.recv(8)
                session.sendall(b"N")
                session.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        error = refused(f"host=127.0.0.1 port={listening.getsockname()[1]} sslmode=require password=hunter2")
        thread.join()
    assert "SSL" in error.message
    assert "sslmode" in error.remedy


def test_server_that_is_too_old(server_13: Server) -> None:
    """Both versions are named."""
    error = refused(server_13.dsn())
    assert "PostgreSQL 13." in error.message
    assert "PostgreSQL 14 or newer" in error.message


def test_embedded_server(folder: Path) -> None:
    """A server of ours runs for the block."""
    with (
        resolve_target(f"embedded:{folder / 'data'}?dbname=shop") as target,
        connect(target, purpose="x") as session,
    ):
        assert read_server(session).database == "shop"
    assert "shop" in str(target)
    with pytest.raises(ConnectionFailed):
        connect(target, purpose="x")


if shutil.which("pgbouncer"):

    @pytest.mark.parametrize("mode", ["transaction", "session"])
    def test_pooler_is_refused_untouched(server: Server, folder: Path, mode: str) -> None:
        """A pooler is recognised before any setting is made, which the application would meet."""
        with pooler(server, folder / "pooler", mode) as dsn:
            with pytest.raises(Refused, match="pooler"):
                opened(dsn)
            with psycopg.connect(dsn, autocommit=True) as application:
                row = application.execute("SHOW search_path").fetchone()
        assert row == ('"$user", public',)


def scans(plan: dict[str, object], relation: str) -> list[float]:
    """How often a plan's nodes read a relation."""
    below: list[dict[str, object]] = plan.get("Plans", [])  # type: ignore[assignment]
    found = [float(str(plan["Actual Loops"]))] if plan.get("Relation Name") == relation else []
    return found + [times for one in below for times in scans(one, relation)]


def test_the_catalog_is_read_once_however_many_roles_there_are(database: Database, role: Callable[..., str]) -> None:
    """Each connection asks whose code could run in it: the privileges in the catalog are not read once a role."""
    for _ in range(5):
        role()
    with database.connect() as connection:
        row = connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + owner_context._QUERIES["strangers"]).fetchone()
    assert row is not None
    assert scans(row[0][0]["Plan"], "pg_attribute") == [1.0]
