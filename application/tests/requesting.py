"""Requests that are put to both middlewares, below any server: what a server would not let through is seen as well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tenantry_app import Resolution, Tenant, TenantRequired, current
from tenantry_app.asgi import KEY as ASGI_KEY
from tenantry_app.asgi import TenantMiddleware as Asgi
from tenantry_app.keys import StoredKey, checksum, hashed, lookup_part
from tenantry_app.wsgi import KEY as WSGI_KEY
from tenantry_app.wsgi import TenantMiddleware as Wsgi

Headers = Iterable[tuple[str, str]]


@dataclass
class Answer:
    """`served`: the tenant's key, as the application has seen it; None where it was not reached."""

    status: int
    headers: dict[str, str]
    body: bytes
    served: str | None = None
    read_only: bool = False
    mounted: tuple[str, str] = ("", "")

    @property
    def kind(self) -> str:
        """Of a problem, whose document is as RFC 9457 says."""
        assert self.headers["content-type"] == "application/problem+json"
        document = json.loads(self.body)
        assert document.keys() == {"type", "title", "status", "detail"}
        assert document["status"] == self.status
        return document["type"].removeprefix("urn:tenantry:problem:")


def key_in_block() -> str:
    """What the application is served as."""
    try:
        return current().key
    except TenantRequired:
        return "nobody"


def by_asgi(
    resolution: Resolution, headers: Headers = (), path: str = "/", method: str = "GET", peer: str | None = "192.0.2.1"
) -> Answer:
    """Through the ASGI middleware."""
    seen = Answer(0, {}, b"")

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.served, seen.read_only = key_in_block(), scope[ASGI_KEY].read_only
        seen.mounted = scope["root_path"], scope["path"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            seen.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            seen.body += message["body"]

    scope = {
        "type": "http", "method": method, "path": path, "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": None if peer is None else (peer, 1),
    }  # fmt: skip
    asyncio.run(Asgi(application, resolution)(scope, receive, send))
    return seen


def by_wsgi(
    resolution: Resolution, headers: Headers = (), path: str = "/", method: str = "GET", peer: str | None = "192.0.2.1"
) -> Answer:
    """Through the WSGI middleware; headers that come twice are joined, as servers do."""
    seen = Answer(0, {}, b"")

    def application(environ: Any, start_response: Any) -> Any:
        seen.served, seen.read_only = key_in_block(), environ[WSGI_KEY].read_only
        seen.mounted = environ["SCRIPT_NAME"], environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        start_response("200 OK", [])
        return []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        seen.status, seen.headers = int(status[:3]), dict(headers)

    environ: dict[str, Any] = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "REMOTE_ADDR": peer or ""}
    environ["PATH_INFO"] = path.encode().decode("latin-1")
    for name, value in headers:
        known = "HTTP_" + name.upper().replace("-", "_")
        environ[known] = f"{environ[known]},{value}" if known in environ else value
    seen.body = b"".join(Wsgi(application, resolution)(environ, start_response))
    return seen


WAYS: tuple[Callable[..., Answer], ...] = (by_asgi, by_wsgi)


@dataclass
class Counting:
    """A directory, and keys, that count what they are asked."""

    tenants: tuple[Tenant, ...]
    keys: tuple[tuple[str, StoredKey], ...] = ()
    asked: list[str] = field(default_factory=list)

    def find(self, name: str) -> Tenant | None:
        self.asked.append(f"tenant {name}")
        return next((one for one in self.tenants if name in (one.key, one.slug)), None)

    def find_key(self, lookup: str, presented: bytes) -> StoredKey | None:
        self.asked.append(f"key {lookup}")
        return next((stored for key, stored in self.keys if lookup_part(key) == lookup), None)


def make_key(lookup: str, secret: str = "s") -> str:
    """A key that is well formed."""
    text = f"tk_{lookup:0>8}_{secret * 40:.40}"
    return text + checksum(text)


def stored(key: str, tenant: str, scopes: Iterable[str] = ("read", "write"), **more: Any) -> tuple[str, StoredKey]:
    """The key as it is stored."""
    return key, StoredKey(hashed(key), tenant, frozenset(scopes), **more)
