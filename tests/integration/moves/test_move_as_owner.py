"""An owner of the tables moves a tenant without being superuser, with the privileges that the documentation names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from psycopg import sql

from moves.conftest import Pair, build, left, rows_of
from servers import Database, Server, own_roles, wait_until
from tenantry import MoveOptions, abort_move, move_tenant
from tenantry.errors import Failed
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.pg(">=16")]
PASSWORD = "Tr0ub4dor-and-3"


@contextmanager
def asking(server: Server, role: str) -> Iterator[None]:
    """The server asks this role for its password."""
    path = server.cluster.data / "pg_hba.conf"
    before = path.read_text()
    path.write_text(f"local all {role} scram-sha-256\nhost all {role} all scram-sha-256\n{before}")
    server.execute("SELECT pg_reload_conf()")
    wait_until(lambda: asks(server, role))
    try:
        yield
    finally:
        path.write_text(before)
        server.execute("SELECT pg_reload_conf()")


def asks(server: Server, role: str) -> bool:
    with server.session() as session:
        query = "SELECT count(*) FROM pg_hba_file_rules WHERE user_name = ARRAY[%s]"
        return session.execute(query, [role]).fetchone() == (2,)


def test_move(
    pair: Pair, server: Server, other_server: Server, role: Callable[..., str], new_database: Callable[..., Database]
) -> None:
    """There and back, and a move that is ended; the password is in the subscription alone, and only while that exists."""
    name = role(f"LOGIN PASSWORD '{PASSWORD}' BYPASSRLS REPLICATION", name="mover")
    spec = pair.spec
    with own_roles(other_server), asking(server, name), asking(other_server, name):
        other_server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' BYPASSRLS REPLICATION")
        here, there = new_database(), other_server.create(f"owned_{name}")
        for database, firms in ((here, ("one", "two")), (there, ())):
            database.server.execute(f"GRANT pg_create_subscription TO {name}")
            database.execute(f"ALTER DATABASE {database.name} OWNER TO {name}")
            build(database, firms=firms, owner=name, operator=f"{name} password={PASSWORD}")
        source, target = (Target(f"{one.dsn} user={name} password={PASSWORD}") for one in (here, there))
        before = rows_of(here, "two")
        # Without a password that the server asks for, PostgreSQL lets a superuser alone subscribe.
        refused = MoveOptions(replicate_from=f"{here.dsn} user={name}")
        with pytest.raises(Failed, match="The target cannot subscribe to the source") as caught:
            move_tenant(source, spec, "two", target, refused)
        assert "--replicate-from DSN" in caught.value.remedy
        assert abort_move(source, spec, "two", target).rows == 0
        assert left(here, there) == []
        done = move_tenant(source, spec, "two", target)
        assert done.rows == sum(map(len, before.values()))
        assert rows_of(there, "two") == before
        move_tenant(target, spec, "two", source)
        assert rows_of(here, "two") == before
        assert left(here, there) == []
        for database in (here, there):
            for table in ("moves", "runs"):
                query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier("tenantry", table))
                assert PASSWORD not in str(database.rows(query.as_string(None)))
        other_server.drop(there)
