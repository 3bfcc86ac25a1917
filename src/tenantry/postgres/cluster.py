"""A PostgreSQL server in a folder: made, started and stopped with the programs of one installation."""

from __future__ import annotations

import hashlib
import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tenantry.errors import ConnectionFailed

# PostgreSQL refuses to run as root. No account is made for it: one of these is there on every system.
ACCOUNTS = ("postgres", "nobody")
SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107
START_SECONDS = 60


class _StillDying(subprocess.CalledProcessError):
    """The server before this one has not quite ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where a server keeps its data and its socket; it listens nowhere else, and its superuser is `postgres`.

    `programs` is the folder with initdb, pg_ctl and postgres; `settings` are the server's.
    """

    programs: Path
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    @property
    def socket_folder(self) -> Path:
        """Beside the data, or in /tmp where that path cannot be a socket's: too long, or a list to libpq."""
        beside = self.folder / "socket"
        if len(os.fsencode(beside / SOCKET_NAME)) <= LONGEST_SOCKET_PATH and "," not in str(beside):
            return beside
        return Path("/tmp") / f"tenantry-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]}"

    def conninfo(self, database: str = "postgres") -> str:
        """For the superuser, to `database`, whatever the PG* variables say."""
        return make_conninfo(host=str(self.socket_folder), port=5432, user="postgres", dbname=database)

    def start(self) -> None:
        """Make the data folder if there is none, and start the server unless it runs.

        Raises ConnectionFailed when the server cannot be started.
        """
        if (self.data / "PG_VERSION").exists() and self.is_ready():
            return
        account = self._account()
        programs = _reachable(self.programs, account)
        self._prepare_folders(account)
        if not (self.data / "PG_VERSION").exists():
            self._create(programs, account)
        options = {**self.settings, "listen_addresses": "", "port": "5432"}
        options["unix_socket_directories"] = '"' + str(self.socket_folder).replace('"', '""') + '"'
        arguments = " ".join(shlex.quote(f"--{name}={value}") for name, value in options.items())
        try:
            self._launch(programs, account, arguments)
        except subprocess.CalledProcessError as error:
            raise ConnectionFailed(
                f"The server in {self.folder} does not start",
                remedy=f"see {self.log}",
                details=[*_lines(error), *self.log_lines()],
            ) from error

    def stop(self, mode: str = "fast") -> None:
        """Stop the server, if it runs; `mode` is smart, fast or immediate."""
        account = self._account()
        try:
            self._control(_reachable(self.programs, account), account, "stop", "-m", mode)
        except subprocess.CalledProcessError as error:
            if self.is_ready():
                raise ConnectionFailed(f"The server in {self.folder} does not stop", details=_lines(error)) from error
        if self.socket_folder.parent != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def is_ready(self) -> bool:
        """Whether the server accepts connections; one that is starting or stopping is waited for."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.conninfo(), connect_timeout=5).close()
                return True
            except psycopg.errors.CannotConnectNow:
                pass
            except psycopg.OperationalError as error:
                # The driver raises the class of the state only where the server sent one before it refused.
                if not any(word in str(error) for word in ("starting up", "shutting down", "recovery mode")):
                    return False
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)

    def log_lines(self, count: int = 5) -> list[str]:
        """The last lines that the server wrote."""
        try:
            return self.log.read_text(errors="replace").splitlines()[-count:]
        except OSError:
            return []

    @retry(
        stop=stop_after_delay(10),
        wait=wait_fixed(0.2),
        retry=retry_if_exception_type(_StillDying),
        reraise=True,
    )
    def _launch(self, programs: Path, account: pwd.struct_passwd | None, arguments: str) -> None:
        start = ("start", "-t", str(START_SECONDS), "-l", self.log.name, "-o", arguments)
        try:
            self._control(programs, account, *start)
        except subprocess.CalledProcessError as error:
            # Sessions outlive a killed postmaster for a moment, and keep its shared memory.
            if any("shared memory block" in line for line in self.log_lines()):
                raise _StillDying(error.returncode, error.cmd, error.output, error.stderr) from error
            raise

    def _control(self, programs: Path, account: pwd.struct_passwd | None, *arguments: str) -> None:
        # pg_ctl hands -D and -l to a shell in double quotes, where a folder's name may have a meaning; the
        # environment and the working folder have none.
        command: list[Path | str] = [programs / "pg_ctl", *arguments, "-s", "-w"]
        _run(command, account=account, folder=self.data, environment={"PGDATA": str(self.data)})

    def _account(self) -> pwd.struct_passwd | None:
        """As whom the programs run; None for the user of this process, unless that is root."""
        if os.geteuid() != 0:
            return None
        if (self.data / "PG_VERSION").exists():
            return pwd.getpwuid(self.data.stat().st_uid)
        for name in ACCOUNTS:
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise ConnectionFailed(
            "PostgreSQL does not run as root, and there is no other account for it",
            remedy="run the command as an ordinary user, or add an account named postgres",
        )

    def _prepare_folders(self, account: pwd.struct_passwd | None) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if account is not None:
                # The folder is the server's own; what stands above it is not, and is left as it is.
                self.folder.chmod(self.folder.stat().st_mode | 0o011)
                _require_reachable(self.folder, account)
            for folder in (self.data, self.socket_folder):
                folder.mkdir(mode=0o700, exist_ok=True)
                if account is not None:
                    os.chown(folder, account.pw_uid, account.pw_gid)
                elif folder.stat().st_uid != os.geteuid():
                    raise PermissionError(13, "belongs to another user", str(folder))
        except OSError as error:
            raise ConnectionFailed(
                f"No server can be kept in {self.folder}: {error}",
                remedy="name a folder that you can write to: embedded:PATH",
            ) from error

    def _create(self, programs: Path, account: pwd.struct_passwd | None) -> None:
        command: list[Path | str] = [
            programs / "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            *(["--no-sync"] if self.settings.get("fsync") == "off" else []),
        ]
        try:
            _run([*command, "--locale=C.UTF-8"], account=account)
        except subprocess.CalledProcessError:
            try:  # not every system has that locale
                _run([*command, "--locale=C"], account=account)
            except subprocess.CalledProcessError as error:
                raise ConnectionFailed(f"The server in {self.folder} cannot be made", details=_lines(error)) from error


def _run(
    command: Sequence[Path | str],
    *,
    account: pwd.struct_passwd | None,
    folder: Path = Path("/"),
    environment: Mapping[str, str] | None = None,
) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    # Without extra_groups the programs would keep root's.
    identity = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    subprocess.run(
        [str(part) for part in command],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env=inherited | {"LC_ALL": "C"} | dict(environment or {}),
        **identity,  # type: ignore[call-overload]
    )


def _lines(error: subprocess.CalledProcessError) -> list[str]:
    return [line for line in (error.stderr or "").splitlines() if line.strip()]


def _require_reachable(folder: Path, account: pwd.struct_passwd) -> None:
    for ancestor in reversed([folder, *folder.resolve().parents]):
        try:
            _run(["/bin/sh", "-c", 'cd "$1"', "sh", ancestor], account=account)
        except subprocess.CalledProcessError as error:
            raise ConnectionFailed(
                f"The server in {folder} would run as {account.pw_name}, who may not enter {ancestor}",
                remedy=f"name another folder, below /var or /tmp say, or chmod o+x {ancestor}",
            ) from error


def _reachable(programs: Path, account: pwd.struct_passwd | None) -> Path:
    """`programs`, or a copy where a private folder (such as /root) keeps the account from running them."""
    try:
        _run([programs / "postgres", "--version"], account=account)
        return programs
    except PermissionError:
        pass
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConnectionFailed(f"{programs / 'postgres'} does not run here: {error}") from error
    return _copied(programs)


def _copied(programs: Path) -> Path:
    installation = programs.parent
    stamp = f"{installation}-{installation.stat().st_mtime_ns}"
    copy = Path(tempfile.gettempdir()) / f"tenantry-programs-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(dir=copy.parent, prefix="tenantry-programs-new-"))
        # A wheel keeps the libraries that it brings beside its package, and its programs look for them there.
        package = installation.parent
        for part in (installation, package.with_name(package.name + ".libs")):
            if part.exists():
                shutil.copytree(part, unfinished / part.relative_to(package.parent), symlinks=True)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    if copy.stat().st_uid != os.geteuid():
        raise ConnectionFailed(f"{copy} belongs to another user", remedy="remove it")
    return copy / programs.relative_to(installation.parent.parent)
