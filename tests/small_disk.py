"""A server with a tablespace on a disk that can be filled up, whoever runs the tests, wherever.

Root mounts a tmpfs. Anybody else starts the server in a namespace of its own, in which it has mounted one. Where neither is
allowed, as in many a container, no file of the server grows any more, which stops it at the same place but for the
message's last words.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from servers import Database, Server, clear, make_server
from tenantry.postgres.embedded import bin_directory

SIZE = 96 << 20
TABLESPACE = "tiny"
ENTER = Path(__file__).with_name("private_tmpfs.py")
Way = Literal["mount", "namespace", "limit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyDisk:
    """Databases made here are in `folder`, as the server sees it, but for the log and what is common to all."""

    server: Server
    folder: Path
    method: Way

    def database(self) -> Database:
        """An empty database on the disk."""
        place = sql.SQL("") if self.method == "limit" else sql.SQL("TABLESPACE {}").format(sql.Identifier(TABLESPACE))
        self.server.execute(sql.SQL("CREATE DATABASE tiny {}").format(place))
        return Database(server=self.server, name="tiny")

    @contextmanager
    def full(self, left: int) -> Iterator[None]:
        """Within the block there is room for about `left` bytes."""
        with self._limited(left) if self.method == "limit" else self._filled(left):
            yield

    @contextmanager
    def _filled(self, left: int) -> Iterator[None]:
        self._write("kept", left)
        with suppress(psycopg.errors.DiskFull):
            self._write("ballast", 2 * SIZE)
        self._write("kept", 0)
        yield
        self._write("ballast", 0)

    def _write(self, name: str, size: int) -> None:
        """A file of `size` bytes, written by the server: nobody else sees its disk."""
        self.server.execute(
            sql.SQL("COPY (SELECT repeat('x', 1023) FROM generate_series(1, {})) TO {}").format(
                sql.Literal(size >> 10), sql.Literal(str(self.folder / name))
            )
        )

    @contextmanager
    def _limited(self, left: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        largest = max(path.stat().st_size for path in self.server.cluster.data.rglob("*") if path.is_file())
        for limit in (largest + left, before[0]):
            self.server.stop()
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            try:
                # What a process starts has its limits.
                self.server.start()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            if limit != before[0]:
                yield


@contextmanager
def tiny_disk(major: int, folder: Path, method: Way | None = None) -> Iterator[TinyDisk]:
    """A server in `folder` and its tiny disk; `way` is the first that works here, unless given."""
    place = folder / "disk"
    place.mkdir(parents=True, mode=0o711)
    folder.chmod(0o711)
    mounted = method in (None, "mount") and _mounted(place)
    method = method or ("mount" if mounted else "namespace" if os.geteuid() != 0 and _enters(place) else "limit")
    server = make_server(major, folder)
    try:
        if method == "namespace":
            server = _moved(server, place)
        if method == "limit":
            _shorten_log(server)
        else:
            owner = server.cluster.data.stat()
            if mounted:
                os.chown(place, owner.st_uid, owner.st_gid)
            server.execute(
                sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(sql.Identifier(TABLESPACE), sql.Literal(str(place)))
            )
        yield TinyDisk(server=server, folder=place, method=method)
    finally:
        server.stop("immediate")
        if mounted:
            subprocess.run(["umount", place], check=True)
        clear(folder)


def _mounted(place: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", place]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def _enters(place: Path) -> bool:
    return (
        subprocess.run([sys.executable, ENTER, place, str(SIZE), "true"], capture_output=True, check=False).returncode
        == 0
    )


def _moved(server: Server, place: Path) -> Server:
    """The same server, which from now on is started in a namespace of its own."""
    server.stop()
    programs = server.cluster.folder / "programs"
    programs.mkdir()
    pg_ctl = server.programs / "pg_ctl"
    for program in server.programs.iterdir():
        if program.name != "pg_ctl":
            (programs / program.name).symlink_to(program)
    (programs / "pg_ctl").write_text(
        f'#!/bin/sh\n[ "$1" = start ] && exec "{sys.executable}" "{ENTER}" "{place}" {SIZE} "{pg_ctl}" "$@"\n'
        f'exec "{pg_ctl}" "$@"\n'
    )
    (programs / "pg_ctl").chmod(0o755)
    moved = Server(major=server.major, cluster=replace(server.cluster, programs=programs))
    moved.start()
    return moved


def _shorten_log(server: Server) -> None:
    """Files of the log are made in one go, and must be smaller than what a file may grow to."""
    server.stop()
    owner = server.cluster.data.stat().st_uid
    subprocess.run(
        [bin_directory() / "pg_resetwal", "--wal-segsize=1", "-D", server.cluster.data], check=True,
        capture_output=True, **({"user": owner} if owner != os.geteuid() else {}),
    )  # fmt: skip
    server.start()
