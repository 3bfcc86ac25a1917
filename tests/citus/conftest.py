"""Businesses in databases of a Citus cluster that TENANTRY_CITUS_DSN names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from psycopg import sql

from acceptance import depot
from citus.cluster import CitusCluster
from servers import Database
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path

ROWS = int(os.environ.get("TENANTRY_CITUS_ROWS", "2000"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """A database of the cluster, with a spec, and the role that its application logs in as."""

    cluster: CitusCluster
    database: Database
    spec: Spec
    login: str

    @property
    def target(self) -> Target:
        return Target(self.database.dsn)


@pytest.fixture(scope="session")
def cluster() -> CitusCluster:
    return CitusCluster.of(os.environ["TENANTRY_CITUS_DSN"])


@pytest.fixture
def business(cluster: CitusCluster) -> Iterator[Callable[[str], Business]]:
    """A preset, or the depot, by its name."""
    with ExitStack() as stack:

        def make(name: str) -> Business:
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
            if name == "depot":
                database.execute(depot.SCHEMA)
                spec = Spec.parse(depot.SPEC.format(role=role, legacy=f"{role}_old"))
            else:
                with database.connect() as connection:
                    load(connection, preset=name, rows=ROWS, seed=1)
                spec = Spec.parse(spec_path(name).read_text())
                spec = spec.model_copy(update={"application": spec.application.model_copy(update={"role": role})})
            return Business(cluster=cluster, database=database, spec=spec, login=login)

        yield make
