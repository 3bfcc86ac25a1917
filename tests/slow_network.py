"""A network between the tool and the server, on which everything takes its time: a relay that delays what it passes on.

It is a process of its own: the driver keeps Python's lock while it waits for a statement to be prepared.

What is sent while a session has changed nothing and locked nothing can hold up no writer. A test that measures how long
writers wait may leave that undelayed (`holding_only`), and is over several times sooner.
"""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo

CHUNK = 1 << 16


@contextmanager
def slow_network(dsn: str, delay: float, *, holding_only: bool = False) -> Iterator[str]:
    """The DSN of the same database through a relay that keeps each byte for `delay` seconds, there and back; how much
    is under way does not matter. `holding_only`: only from the first statement of a transaction that does not just read,
    as the server says of it, to the end."""
    options = conninfo_to_dict(dsn)
    command = [sys.executable, __file__, str(options["host"]), str(options.get("port") or 5432), str(delay)]
    command += ["holding-only"] if holding_only else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as relay:
        assert relay.stdout is not None
        try:
            yield make_conninfo(
                dsn, host="127.0.0.1", port=int(relay.stdout.readline()), sslmode="disable", gssencmode="disable"
            )
        finally:
            relay.kill()


READING = (b"BEGIN", b"SELECT", b"SET", b"SHOW", b"RESET")


class Line:
    """A session, as far as its network is concerned: whether its transaction may hold locks that writers wait for."""

    def __init__(self, delay: float, *, holding_only: bool) -> None:
        self._delay = delay
        self._always = not holding_only
        self._holding = False
        self._rest = b""

    @property
    def delay(self) -> float:
        return self._delay if self._always or self._holding else 0.0

    def heard(self, data: bytes) -> None:
        """Read what the server sends: messages of a type, a length and a content. CommandComplete says what was done,
        ReadyForQuery whether a transaction is open."""
        if self._always:
            return
        self._rest += data
        while len(self._rest) >= 5 and len(self._rest) > (length := int.from_bytes(self._rest[1:5])):
            kind, content = self._rest[:1], self._rest[5 : length + 1]
            if kind == b"C" and not content.startswith(READING):
                self._holding = True
            elif kind == b"Z" and content == b"I":
                self._holding = False
            self._rest = self._rest[length + 1 :]


def relay_all(host: str, port: str, delay: float, *, holding_only: bool) -> None:
    """Take connections, and never return."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        near, _ = listener.accept()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far = _connect(host, port)
        line = Line(delay, holding_only=holding_only)
        _relay(near, far, line, lambda data: None)
        _relay(far, near, line, line.heard)


def _connect(host: str, port: str) -> socket.socket:
    if host.startswith("/"):
        far = socket.socket(socket.AF_UNIX)
        far.connect(f"{host}/.s.PGSQL.{port}")
        return far
    return socket.create_connection((host, int(port)))


def _relay(source: socket.socket, target: socket.socket, line: Line, hear: Callable[[bytes], None]) -> None:
    """Two threads, which end with the connection."""
    under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def read() -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(CHUNK)
            except OSError:
                data = b""
            hear(data)
            under_way.put((time.monotonic() + line.delay, data))

    def write() -> None:
        with suppress(OSError):
            while True:
                due, data = under_way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)

    for work in (read, write):
        threading.Thread(target=work, daemon=True).start()


if __name__ == "__main__":
    relay_all(sys.argv[1], sys.argv[2], float(sys.argv[3]), holding_only="holding-only" in sys.argv)
