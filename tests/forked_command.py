"""The command as a process of its own, whose imports another process has paid for: a fork each.

It has pipes, signals and an exit status like any other. As a program, this is the process that is forked.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

SOURCES = Path(__file__).parents[1] / "src"
LONGEST_ORDER = 1 << 18


class Running:
    """A command that was started, with what tests use of subprocess.Popen."""

    def __init__(self, stdout: IO[str], stderr: IO[str] | None, said: IO[str]) -> None:
        self.stdout, self.stderr, self._said = stdout, stderr, said
        self.pid = int(said.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, or minus a signal's number; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended; subprocess.TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            if not select.select([self._said], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("tenantry", timeout or 0)
            self.returncode = int(self._said.readline())
            self._said.close()
        return self.returncode

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """All that it writes until its end."""
        deadline, texts = time.monotonic() + timeout, {}

        def read(stream: IO[str]) -> None:
            texts[stream] = stream.read()

        streams = [stream for stream in (self.stdout, self.stderr) if stream is not None]
        readers = [threading.Thread(target=read, args=(stream,), daemon=True) for stream in streams]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(max(0, deadline - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired("tenantry", timeout)
        return texts[self.stdout], texts.get(self.stderr, "")

    def send_signal(self, number: int) -> None:
        """To the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End it and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()


class Forks:
    """Starts commands; its own process ends with close()."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], stdin=subprocess.DEVNULL, start_new_session=True,
                pass_fds=[theirs.fileno()], env=environment | {"PYTHONPATH": str(SOURCES)},
            )  # fmt: skip

    def start(
        self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], together: bool = False
    ) -> Running:
        """`tenantry` with these arguments, leading a process group; `together`: standard error goes to stdout."""
        (stdout, out), (stderr, error), (said, ended) = os.pipe(), os.pipe(), os.pipe()
        order = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
        socket.send_fds(self._orders, [json.dumps(order).encode()], [out, out if together else error, ended])
        for descriptor in (out, error, ended):
            os.close(descriptor)
        if together:
            os.close(stderr)
        return Running(os.fdopen(stdout), None if together else os.fdopen(stderr), os.fdopen(said))

    def close(self) -> None:
        """Commands that run go on."""
        self._orders.close()
        self._process.wait()


# -- The process that is forked


def _serve(orders: socket.socket) -> None:
    """Fork for each order, until there are no more. Returns in the forks only, as what they are to be."""
    # Nobody waits for those that wait for the commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, LONGEST_ORDER, 3)
        if not order:
            sys.exit()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            orders.close()
            _keep(json.loads(order), *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(order: Mapping[str, Any], stdout: int, stderr: int, ended: int) -> None:
    """Fork the command, which returns, and tell its pid, and its exit status as soon as it has one."""
    child = os.fork()
    if child == 0:
        os.close(ended)
        os.setsid()
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        for descriptor, standard in ((stdout, 1), (stderr, 2)):
            os.dup2(descriptor, standard)
        for descriptor in {stdout, stderr}:
            os.close(descriptor)
        # Those that are there know what they were opened on.
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.argv = ["tenantry", *order["arguments"]]
        return
    for descriptor in {stdout, stderr, 1, 2}:
        os.close(descriptor)
    os.write(ended, f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    os.write(ended, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _import_all() -> None:
    """What a command imports when it comes to it: all modules of tenantry, and a package that they import late."""
    for module in pkgutil.walk_packages(tenantry.__path__, "tenantry."):
        if module.name != "tenantry.__main__":
            importlib.import_module(module.name)
    with suppress(ModuleNotFoundError):
        importlib.import_module("networkx")


def _end(status: int) -> None:
    """As the interpreter ends, but for taking apart all that was imported, which takes longer than many a command."""
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = status or 120
    os._exit(status)


if __name__ == "__main__":
    import tenantry
    from tenantry.cli.application import main

    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        main()
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        _end(ended.code)
