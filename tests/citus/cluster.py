"""A Citus cluster that is there already: databases of a test on all its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from servers import Database, Server


@dataclass(frozen=True, slots=True)
class Place:
    """A node, by its address."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CitusCluster:
    """The coordinator and its workers; `conninfo` is that of a database with the extension, for a superuser."""

    conninfo: str
    coordinator: Place
    workers: tuple[Place, ...]

    @classmethod
    def of(cls, conninfo: str) -> CitusCluster:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            nodes = connection.execute(
                "SELECT nodename, nodeport, groupid FROM pg_dist_node WHERE isactive AND noderole = 'primary'"
                " ORDER BY groupid"
            ).fetchall()
        places = [Place(name, port) for name, port, group in nodes if group > 0]
        (coordinator,) = [Place(name, port) for name, port, group in nodes if group == 0]
        assert len(places) >= 2, "the tests need two workers"
        return cls(conninfo=conninfo, coordinator=coordinator, workers=tuple(places))

    @property
    def places(self) -> tuple[Place, ...]:
        return (self.coordinator, *self.workers)

    def dsn(self, database: str, place: Place | None = None, user: str | None = None) -> str:
        given = conninfo_to_dict(self.conninfo)
        where = place or self.coordinator
        changed: dict[str, Any] = {"dbname": database, "host": where.host, "port": where.port}
        return make_conninfo(**(given | changed | ({"user": user} if user else {})))

    @contextmanager
    def database(self, name: str) -> Iterator[Database]:
        """A new database on every node, all of which know each other."""
        self.drop(name)
        for place in self.places:
            with psycopg.connect(self.dsn("postgres", place), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            with psycopg.connect(self.dsn(name, place), autocommit=True) as connection:
                connection.execute("CREATE EXTENSION citus")
        with psycopg.connect(self.dsn(name), autocommit=True) as connection:
            here = self.coordinator
            connection.execute("SELECT citus_set_coordinator_host(%s, %s)", [here.host, here.port])
            for worker in self.workers:
                connection.execute("SELECT citus_add_node(%s, %s)", [worker.host, worker.port])
        try:
            yield Database(server=cast(Server, self), name=name)
        finally:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Whatever an interrupted distribution has left in it: subscriptions keep a database of the coordinator."""
        for place in self.places:
            with suppress(psycopg.OperationalError), psycopg.connect(self.dsn(name, place), autocommit=True) as inside:
                query = (
                    "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
                    " WHERE d.datname = current_database()"
                )
                for (subscription,) in inside.execute(query).fetchall():
                    named = sql.Identifier(subscription)
                    inside.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(named))
                    inside.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(named))
                    inside.execute(sql.SQL("DROP SUBSCRIPTION {}").format(named))
        for place in self.places:
            with psycopg.connect(self.dsn("postgres", place), autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
                # They belong to the server, and the next distribution makes one of the same name, as do those of others.
                left = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'citus\\_shard\\_split\\_subscription\\_role%'"
                for (role,) in connection.execute(left).fetchall():
                    with suppress(psycopg.errors.DependentObjectsStillExist):
                        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    def drop_role(self, name: str) -> None:
        for place in self.places:
            with psycopg.connect(self.dsn("postgres", place), autocommit=True) as connection:
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
