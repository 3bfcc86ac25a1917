"""Businesses in databases of a Citus cluster that TENANTRY_CITUS_DSN names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from acceptance import depot, partitioned
from citus.cluster import CitusCluster
from servers import Database
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path

SCENES = {"depot": depot, "partitioned": partitioned}
ROWS = int(os.environ.get("TENANTRY_CITUS_ROWS", "2000"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """A database of the cluster, with a spec, and the role that its application logs in as."""

    cluster: CitusCluster
    database: Database
    spec: Spec
    login: str
    owner: str | None = None

    @property
    def target(self) -> Target:
        return Target(self.cluster.dsn(self.database.name, user=self.owner) if self.owner else self.database.dsn)


@pytest.fixture(scope="session")
def citus_cluster() -> CitusCluster:
    """The cluster that TENANTRY_CITUS_DSN names; tests that need it are left out where it names none."""
    return CitusCluster.of(os.environ["TENANTRY_CITUS_DSN"])


def become_owner(cluster: CitusCluster, database: Database, role: str, login: str) -> None:
    """The depot, made by a role that can do what the administrator of a managed service can: it makes roles, and those
    of the application are its own."""
    owner = sql.Identifier(f"{role}_owner")
    with database.connect(autocommit=True) as connection:
        for statement in (
            "ALTER ROLE {owner} LOGIN CREATEROLE", "GRANT CREATE ON DATABASE {database} TO {owner}",
            "GRANT CREATE ON SCHEMA public TO {owner}", "GRANT {role}, {login} TO {owner} WITH ADMIN OPTION, INHERIT FALSE",
        ):  # fmt: skip
            connection.execute(
                sql.SQL(statement).format(
                    owner=owner, database=sql.Identifier(database.name), role=sql.Identifier(role),
                    login=sql.Identifier(login),
                )
            )  # fmt: skip
    with psycopg.connect(cluster.dsn(database.name, user=f"{role}_owner"), autocommit=True) as connection:
        connection.execute(depot.SCHEMA)


@pytest.fixture
def business(citus_cluster: CitusCluster) -> Iterator[Callable[[str], Business]]:
    """A preset, the depot, or the one with partitioned tables, by its name; with `owner` the depot belongs to a role that
    is no superuser."""
    cluster = citus_cluster
    with ExitStack() as stack:

        def make(name: str, owner: bool = False) -> Business:
            role, login = f"tenantry_test_{name}", f"tenantry_test_{name}_login"
            cluster.drop(f"tenantry_test_{name}")
            for made in (login, role, f"{role}_old", f"{role}_owner"):
                cluster.drop_role(made)
                stack.callback(cluster.drop_role, made)
            database = stack.enter_context(cluster.database(f"tenantry_test_{name}"))
            with database.connect() as connection:
                for made, can in (
                    (role, "NOLOGIN"),
                    (login, "LOGIN"),
                    (f"{role}_old", "NOLOGIN"),
                    (f"{role}_owner", "NOLOGIN"),
                ):
                    connection.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(made), sql.SQL(can)))
                connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(login)))
            if owner:
                become_owner(cluster, database, role, login)
            elif name in SCENES:
                database.execute(SCENES[name].SCHEMA)
            if name in SCENES:
                spec = Spec.parse(SCENES[name].SPEC.format(role=role, legacy=f"{role}_old"))
            else:
                with database.connect() as connection:
                    load(connection, preset=name, rows=ROWS, seed=1)
                spec = Spec.parse(spec_path(name).read_text())
                spec = spec.model_copy(update={"application": spec.application.model_copy(update={"role": role})})
            return Business(
                cluster=cluster, database=database, spec=spec, login=login, owner=f"{role}_owner" if owner else None
            )  # fmt: skip

        yield make
