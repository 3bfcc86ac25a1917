"""A PgBouncer before a server."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from servers import Server, clear, wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can reach, which pytest's own is not when root runs the tests."""
    path = Path(tempfile.mkdtemp(prefix="tenantry-connect-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    clear(path)


def path(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    """The search_path; newer servers say it with quotes."""
    row = connection.execute("SHOW search_path").fetchone()
    assert row is not None
    return str(row[0]).replace('"', "")


@contextmanager
def pooler(server: Server, folder: Path, mode: str) -> Iterator[str]:
    """PgBouncer in front of a server; its connections are given out by transaction or by session."""
    owner = server.cluster.socket_folder.stat()
    folder.mkdir()
    configuration = folder / "pooler.ini"
    configuration.write_text(
        f"[databases]\n* = host={server.cluster.socket_folder} port=5432 user=postgres\n"
        f"[pgbouncer]\nlisten_addr =\nunix_socket_dir = {folder}\nlisten_port = 6432\nauth_type = any\n"
        f"pool_mode = {mode}\nlogfile = {folder / 'log'}\n"
    )
    for path in (folder, configuration):
        os.chown(path, owner.st_uid, owner.st_gid)
    # As the account of the server, whose socket is closed to others; root it refuses to be.
    identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    process = subprocess.Popen(["pgbouncer", "-q", configuration], **identity)  # type: ignore[call-overload]
    try:
        wait_until((folder / ".s.PGSQL.6432").exists)
        yield make_conninfo(host=str(folder), port=6432, user="postgres", dbname="postgres")
    finally:
        process.terminate()
        process.wait()
