"""A relay to the server that counts how often the client speaks after the server has: the round trips."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from psycopg.conninfo import conninfo_to_dict, make_conninfo


@dataclass
class Wire:
    """A relay; `dsn` leads through it."""

    dsn: str
    round_trips: int = 0
    sent: bytearray = field(default_factory=bytearray)
    """All that clients have sent since the last `reset`."""
    _answered: bool = True

    def reset(self) -> None:
        self.round_trips, self._answered = 0, True
        self.sent.clear()

    def note(self, data: bytes, *, from_client: bool) -> None:
        if from_client:
            self.sent += data
            self.round_trips += self._answered
        self._answered = not from_client


@contextmanager
def wire(dsn: str) -> Iterator[Wire]:
    """A relay to the server of `dsn`, as long as the block lasts; one connection at a time is counted rightly."""
    options = conninfo_to_dict(dsn)
    listener = socket.create_server(("127.0.0.1", 0))
    relay = Wire(
        make_conninfo(dsn, host="127.0.0.1", port=listener.getsockname()[1], sslmode="disable", gssencmode="disable")
    )

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far = socket.socket(socket.AF_UNIX)
                far.connect(f"{options['host']}/.s.PGSQL.{options.get('port') or 5432}")
                for source, target, from_client in ((near, far, True), (far, near, False)):
                    threading.Thread(target=pass_on, args=[source, target, from_client], daemon=True).start()

    def pass_on(source: socket.socket, target: socket.socket, from_client: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                relay.note(data, from_client=from_client)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        if from_client:
            source.close()
        else:
            with suppress(OSError):
                source.close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield relay
    finally:
        listener.close()
