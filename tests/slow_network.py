"""A network between the tool and the server, on which everything takes its time: a relay that delays what it passes on.

It is a process of its own: the driver keeps Python's lock while it waits for a statement to be prepared.
"""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo

CHUNK = 1 << 16


@contextmanager
def slow_network(dsn: str, delay: float) -> Iterator[str]:
    """The DSN of the same database through a relay that keeps each byte for `delay` seconds, there and back; how much
    is under way does not matter."""
    options = conninfo_to_dict(dsn)
    command = [sys.executable, __file__, str(options["host"]), str(options.get("port") or 5432), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as relay:
        assert relay.stdout is not None
        try:
            yield make_conninfo(dsn, host="127.0.0.1", port=int(relay.stdout.readline()), sslmode="disable")
        finally:
            relay.kill()


def relay_all(host: str, port: str, delay: float) -> None:
    """Take connections, and never return."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        near, _ = listener.accept()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far = _reach(host, port)
        _relay(near, far, delay)
        _relay(far, near, delay)


def _reach(host: str, port: str) -> socket.socket:
    if host.startswith("/"):
        far = socket.socket(socket.AF_UNIX)
        far.connect(f"{host}/.s.PGSQL.{port}")
        return far
    return socket.create_connection((host, int(port)))


def _relay(source: socket.socket, target: socket.socket, delay: float) -> None:
    """Two threads, which end with the connection."""
    under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def read() -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(CHUNK)
            except OSError:
                data = b""
            under_way.put((time.monotonic() + delay, data))

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
    relay_all(sys.argv[1], sys.argv[2], float(sys.argv[3]))
