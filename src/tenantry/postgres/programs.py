"""PostgreSQL's client programs: where they are, and how to run them without a password on their command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO

from psycopg.conninfo import make_conninfo

from tenantry.errors import ConnectionFailed, Failed, Refused
from tenantry.postgres.connect import Target
from tenantry.postgres.dsn import connection_options
from tenantry.postgres.embedded import bin_directory

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/pgsql/bin")


def program(name: str, *, major: int) -> Path:
    """A client program of version `major` or newer: in the PATH, in the system's packages, or in the extra `embedded`.

    Raises Refused if there is none; a pg_dump that is older than the server cannot dump it.
    """
    seen: dict[Path, int] = {}
    for folder in _folders():
        path = folder / name
        if path not in seen and path.exists() and (version := _version(path)) is not None:
            if version >= major:
                return path
            seen[path] = version
    older = ", ".join(f"{path} is of version {version}" for path, version in seen.items())
    raise Refused(
        f"A dump of PostgreSQL {major} requires {name} of that version or newer, and none was found"
        + (f" ({older})" if older else ""),
        remedy=f"Install postgresql-client-{major} or pip install 'tenantry[embedded]', or choose --backup tables.",
    )


def _folders() -> Iterator[Path]:
    yield from map(Path, filter(None, os.environ.get("PATH", "").split(os.pathsep)))
    for place in PLACES:
        yield from sorted(Path("/").glob(place[1:]), reverse=True)
    try:
        yield bin_directory()
    except ConnectionFailed:
        return


@cache
def _version(path: Path) -> int | None:
    if shutil.which(str(path)) is None:
        return None
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)", said)
    return int(found.group(1)) if found is not None else None


def _started(target: Target, path: Path, arguments: Sequence[str | Path], stdout: int) -> subprocess.Popen[bytes]:
    options = connection_options(target.conninfo)
    password = options.pop("password", None)
    environment = {**os.environ, "PGCONNECT_TIMEOUT": os.environ.get("PGCONNECT_TIMEOUT", "10")}
    environment |= {"PGPASSWORD": str(password)} if password else {}
    environment |= {"PGOPTIONS": "-c statement_timeout=0 -c TimeZone=UTC -c lc_monetary=C", "PGAPPNAME": "tenantry"}
    conninfo = make_conninfo("", **options)
    command = [path, *(argument if argument != "{database}" else conninfo for argument in arguments)]
    # In a session of its own: tenantry handles Ctrl-C, and ends it.
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, env=environment,
        start_new_session=True, umask=0o077,
    )  # fmt: skip


class Running:
    """A running client program; at the end of the block it has ended, by force if the block failed.

    In arguments `{database}` stands for the connection string, without the password. `output` is what it writes.
    """

    def __init__(self, target: Target, path: Path, *arguments: str | Path, piped: bool = False) -> None:
        self.name = path.name
        self._process = _started(target, path, arguments, subprocess.PIPE if piped else subprocess.DEVNULL)

    @property
    def output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def wait(self) -> None:
        """Raises Failed, with its message, if it ends with an error."""
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").splitlines()
        status = self._process.wait()
        if status != 0:
            first = next((line for line in said if "error:" in line), said[0] if said else "")
            raise Failed(
                f"{self.name} failed with exit status {status}: {first.partition('error: ')[2] or first}",
                remedy="Correct this, then run the same command again.",
                details=said,
            )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
