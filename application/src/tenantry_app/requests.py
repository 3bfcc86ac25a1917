"""The data of a request that resolvers read, the same for every server and framework."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tenantry_app.problems import Problem

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that do not write (RFC 9110, 9.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request's head. `raw` is the server's own object: an ASGI scope or a WSGI environ."""

    method: str
    """Empty for a WebSocket."""
    path: str
    """Below the path at which the application is mounted, percent-decoded."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order in which they were received."""
    peer: str | None
    """The address of the client according to the server; None for a Unix socket."""
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def writes(self) -> bool:
        """Whether the method may write. A WebSocket may do both, and counts as reading."""
        return self.method != "" and self.method not in SAFE

    def one(self, name: str) -> str | None:
        """The only value of a header; None if it does not exist.

        Raises Problem (400) if there are two, or one that joins several by commas, as servers and gateways do with
        repeated headers; or if the value is empty or not in printable ASCII.
        """
        values = [value.strip() for known, value in self.headers if known == name]
        if not values:
            return None
        if len(values) > 1 or "," in values[0]:
            raise Problem(400, "two-values", f"The header {name} has more than one value.")
        if not values[0] or not values[0].isascii() or not values[0].isprintable():
            raise Problem(400, "bad-header", f"The header {name} has no readable value.")
        return values[0]

    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer`; None for another scheme, or none. Raises Problem (400)."""
        values = [value.strip() for name, value in self.headers if name == "authorization"]
        if not any(value.lower().startswith("bearer") for value in values):
            return None
        value = self.one("authorization") or ""
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer" or not token.strip() or " " in token.strip():
            raise Problem(400, "bad-header", "The header authorization is not `Bearer`, a space and a token.")
        return token.strip()

    def comes_from(self, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
        """Whether the client's address is in one of these networks."""
        try:
            address: Address = ipaddress.ip_address(self.peer or "")
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in networks)


def from_scope(scope: Mapping[str, Any]) -> Request:
    """The request of an ASGI scope of type http or websocket."""
    root, path = scope.get("root_path") or "", scope["path"]
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    return Request(
        method=scope["method"].upper() if scope["type"] == "http" else "",
        path=path or "/",
        headers=tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]),
        peer=scope["client"][0] if scope.get("client") else None,
        raw=scope,
    )


def from_environ(environ: Mapping[str, Any]) -> Request:
    """The request of a WSGI environ. A WSGI server has joined repeated headers by commas."""
    headers = [
        (name[5:].lower().replace("_", "-"), str(value)) for name, value in environ.items() if name.startswith("HTTP_")
    ]
    path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    return Request(
        method=environ["REQUEST_METHOD"].upper(),
        path=path or "/",
        headers=tuple(headers),
        peer=environ.get("REMOTE_ADDR") or None,
        raw=environ,
    )
