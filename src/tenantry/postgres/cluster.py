"""A PostgreSQL server in a folder: created, started and stopped with the programs of one installation."""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tenantry import private_files
from tenantry.errors import ConnectionFailed, Refused

# PostgreSQL refuses to run as root. One of these accounts exists on every system.
ACCOUNTS = ("postgres", "nobody")
SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107
START_SECONDS = 60
INHERITED = ("PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""The environment variables that the programs get: others may contain passwords, and they may run as another user."""


class _StillDying(subprocess.CalledProcessError):
    """The previous server has not quite ended yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A server's data and socket; it listens only there, and its superuser is `postgres`.

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
        """The socket's folder, next to the data. If that path is too long for a socket, or a list for libpq, a link
        there leads to a folder in /tmp with an unpredictable name."""
        if self._keeps_socket:
            return self._socket
        try:
            return self._socket.readlink()
        except OSError:  # not created yet
            return self._socket

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    @property
    def _keeps_socket(self) -> bool:
        return len(os.fsencode(self._socket / SOCKET_NAME)) <= LONGEST_SOCKET_PATH and "," not in str(self._socket)

    def conninfo(self, database: str = "postgres") -> str:
        """For the superuser, to `database`, whatever the PG* variables say."""
        return make_conninfo(host=str(self.socket_folder), port=5432, user="postgres", dbname=database)

    def start(self) -> None:
        """Create the data folder if needed, and start the server unless it is running.

        Raises ConnectionFailed when the server cannot be started, Refused as make_folder() does.
        """
        self.make_folder()
        account = self._account()
        self._prepare_folders(account)
        if (self.data / "PG_VERSION").exists() and self.is_ready():
            return
        programs = _reachable(self.programs, account)
        if not (self.data / "PG_VERSION").exists():
            self._create(programs, account)
        options = {**self.settings, "listen_addresses": "", "port": "5432", "unix_socket_permissions": "0700"}
        options["unix_socket_directories"] = '"' + str(self.socket_folder).replace('"', '""') + '"'
        arguments = " ".join(shlex.quote(f"--{name}={value}") for name, value in options.items())
        try:
            self._launch(programs, account, arguments)
        except subprocess.CalledProcessError as error:
            raise ConnectionFailed(
                f"The embedded server in {self.folder} does not start",
                remedy=f"see {self.log}",
                details=[*_lines(error), *self.log_lines()],
            ) from error

    def stop(self, mode: str = "fast") -> None:
        """Stop the server if it is running; `mode` is smart, fast or immediate."""
        account = self._account()
        try:
            self._control(_reachable(self.programs, account), account, "stop", "-m", mode)
        except subprocess.CalledProcessError as error:
            if self.is_ready():
                raise ConnectionFailed(
                    f"The embedded server in {self.folder} does not stop", details=_lines(error)
                ) from error
        if self._socket.is_symlink():
            shutil.rmtree(self.socket_folder, ignore_errors=True)
            self._socket.unlink(missing_ok=True)

    def is_ready(self) -> bool:
        """Whether the server accepts connections; one that is starting or stopping is waited for."""
        deadline = time.monotonic() + START_SECONDS
        while self.socket_folder.is_dir():
            try:
                psycopg.connect(self.conninfo(), connect_timeout=5).close()
                return True
            except psycopg.errors.CannotConnectNow:
                pass
            except psycopg.OperationalError as error:
                # The driver raises the class of the SQLSTATE only where the server sent one before it refused.
                if not any(word in str(error) for word in ("starting up", "shutting down", "recovery mode")):
                    return False
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return False

    def log_lines(self, count: int = 5) -> list[str]:
        """The last lines that the server wrote."""
        try:
            # The server's user has made it, and could have put a link to a file of root's there.
            with private_files.open_existing(self.log, owners={os.geteuid(), self.data.lstat().st_uid}) as file:
                return file.read().decode(errors="replace").splitlines()[-count:]
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
        # pg_ctl passes -D and -l to a shell in double quotes, where special characters have a meaning; so they go by
        # the environment and the working folder.
        command: list[Path | str] = [programs / "pg_ctl", *arguments, "-s", "-w"]
        _run(command, account=account, folder=self.data, environment={"PGDATA": str(self.data)})

    def _account(self) -> pwd.struct_passwd | None:
        """The account that the programs run as; None for the user of this process, unless that is root."""
        if os.geteuid() != 0:
            return None
        accounts = []
        for name in ACCOUNTS:
            with suppress(KeyError):
                accounts.append(pwd.getpwnam(name))
        if not accounts:
            raise ConnectionFailed(
                "PostgreSQL does not run as root, and no other account was found",
                remedy="run the command as an ordinary user, or create an account named postgres",
            )
        if not (self.data / "PG_VERSION").exists():
            return accounts[0]
        owner = self.data.lstat().st_uid
        account = next((account for account in accounts if account.pw_uid == owner), None)
        if account is None:
            name = private_files.user_name(owner)
            raise Refused(
                f"The folder {self.data} belongs to {name}, who can change what the server runs",
                remedy=f"Run the command as {name}, or choose another folder: embedded:PATH.",
            )
        return account

    def make_folder(self) -> None:
        """Create the folder if needed: no other user may write there, or above it.

        Raises Refused if another user could replace the data or the socket.
        """
        # The account that the server runs as must pass through root's folder; it cannot list it.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            private_files.require_trusted(self.folder)
            private_files.make_folder(self.folder, mode)
            private_files.require_trusted(self.folder)
        except OSError as error:
            raise self._unusable(error) from error

    def _prepare_folders(self, account: pwd.struct_passwd | None) -> None:
        try:
            if account is not None:
                # The folder belongs to the server; those above it do not, and are not changed.
                with private_files.folder_descriptor(self.folder.resolve()) as folder:
                    os.fchmod(folder, stat.S_IMODE(os.fstat(folder).st_mode) | 0o011)
                _require_reachable(self.folder, account)
            _hand_over(self.data, account)
            if not self._keeps_socket:
                self._link_socket(account)
            _hand_over(self.socket_folder, account, private=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _link_socket(self, account: pwd.struct_passwd | None) -> None:
        """A folder in /tmp for the socket, found again by a link in the server's folder; if it was lost, another user
        may have created one of that name, so it is not used."""
        owner = None if account is None else account.pw_uid
        if self._socket.is_symlink() and os.path.lexists(self.socket_folder):
            with suppress(Refused):
                private_files.require_trusted(self.socket_folder, owner=owner)
                return
        folder = tempfile.mkdtemp(prefix="tenantry-", dir="/tmp")
        private_files.require_trusted(Path(folder))
        self._socket.unlink(missing_ok=True)
        self._socket.symlink_to(folder)

    def _unusable(self, error: OSError) -> ConnectionFailed:
        return ConnectionFailed(
            f"The folder {self.folder} cannot be used for a server: {error}",
            remedy="choose a folder that you can write to: embedded:PATH",
        )

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
                raise ConnectionFailed(
                    f"The embedded server in {self.folder} cannot be created", details=_lines(error)
                ) from error


def _run(
    command: Sequence[Path | str],
    *,
    account: pwd.struct_passwd | None,
    folder: Path = Path("/"),
    environment: Mapping[str, str] | None = None,
) -> None:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # Without extra_groups the programs would keep root's groups.
    identity = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdin=subprocess.DEVNULL,
        umask=0o077,
        capture_output=True,
        text=True,
        cwd=folder,
        env=inherited | {"LC_ALL": "C"} | dict(environment or {}),
        **identity,  # type: ignore[call-overload]
    )


def _lines(error: subprocess.CalledProcessError) -> list[str]:
    return [line for line in (error.stderr or "").splitlines() if line.strip()]


def _hand_over(folder: Path, account: pwd.struct_passwd | None, *, private: bool = False) -> None:
    """Create a folder of the server's, or use one that belongs to its user or to the current user; a link in its place
    is not followed."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    with private_files.folder_descriptor(folder) as descriptor:
        found = os.fstat(descriptor)
        owner = os.geteuid() if account is None else account.pw_uid
        if found.st_uid not in (os.geteuid(), owner):
            raise PermissionError(errno.EPERM, f"belongs to {private_files.user_name(found.st_uid)}", str(folder))
        if account is not None and found.st_uid != owner:
            os.fchown(descriptor, account.pw_uid, account.pw_gid)
        if private and found.st_mode & 0o077:
            os.fchmod(descriptor, 0o700)


def _require_reachable(folder: Path, account: pwd.struct_passwd) -> None:
    for ancestor in reversed([folder, *folder.resolve().parents]):
        try:
            _run(["/bin/sh", "-c", 'cd "$1"', "sh", ancestor], account=account)
        except subprocess.CalledProcessError as error:
            raise ConnectionFailed(
                f"The server in {folder} would run as {account.pw_name}, who may not access {ancestor}",
                remedy=f"choose another folder, such as one below /var or /tmp, or chmod o+x {ancestor}",
            ) from error


def _reachable(programs: Path, account: pwd.struct_passwd | None) -> Path:
    """`programs`, or a copy if a private folder (such as /root) keeps the account from running them."""
    try:
        _run([programs / "postgres", "--version"], account=account)
        return programs
    except PermissionError:
        pass
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConnectionFailed(f"{programs / 'postgres'} cannot run on this system: {error}") from error
    return _copied(programs)


def _copied(programs: Path) -> Path:
    installation = programs.parent
    stamp = f"{installation}-{installation.stat().st_mtime_ns}"
    copy = Path(tempfile.gettempdir()) / f"tenantry-programs-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    if not os.path.lexists(copy):
        unfinished = Path(tempfile.mkdtemp(dir=copy.parent, prefix="tenantry-programs-new-"))
        # A wheel has its libraries next to its package, where its programs look for them.
        package = installation.parent
        for part in (installation, package.with_name(package.name + ".libs")):
            if part.exists():
                shutil.copytree(part, unfinished / part.relative_to(package.parent), symlinks=True)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    # It may have existed already: what is run from it must be what was copied there.
    private_files.require_trusted(copy)
    return copy / programs.relative_to(installation.parent.parent)
