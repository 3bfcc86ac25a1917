"""A network between the tool and the server, on which everything takes its time: a relay that delays what it passes on."""

from __future__ import annotations

import queue
import socket
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
    host, port = str(options["host"]), str(options.get("port") or 5432)
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = [listener]
    threads: list[threading.Thread] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far = _reach(host, port)
                ends.extend((near, far))
                threads.extend((*_relay(near, far, delay), *_relay(far, near, delay)))

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        relayed = {"host": "127.0.0.1", "port": listener.getsockname()[1], "sslmode": "disable"}
        yield make_conninfo(dsn, **relayed)
    finally:
        # The listener first: then there is no further connection.
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for thread in threads:
            thread.join()
        for end in ends:
            end.close()


def _reach(host: str, port: str) -> socket.socket:
    if host.startswith("/"):
        far = socket.socket(socket.AF_UNIX)
        far.connect(f"{host}/.s.PGSQL.{port}")
        return far
    return socket.create_connection((host, int(port)))


def _relay(source: socket.socket, target: socket.socket, delay: float) -> tuple[threading.Thread, ...]:
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

    both = tuple(threading.Thread(target=work) for work in (read, write))
    for thread in both:
        thread.start()
    return both
