"""The answer to a request that is refused: a status and an application/problem+json document (RFC 9457)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from tenantry_app.errors import TenantError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 2
"""Seconds after which a client may try again while the database is unavailable."""

_LOST = ("08", "57P01", "57P02", "57P03", "53300")
"""The beginnings of SQLSTATEs with which a server reports that it is unavailable: no connection, shutting down, too
many."""
_UNREACHABLE = {"psycopg": "OperationalError", "psycopg2": "OperationalError", "sqlalchemy.exc": "TimeoutError"}
"""Errors of drivers and pools without a SQLSTATE, raised if the server did not answer."""


class Problem(TenantError):
    """A request is not served. `status`: the HTTP status; `kind`: a short name of the reason, the last part of its
    `type`; `detail`: one sentence for the client; `headers`: further ones of the answer."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = dict(headers or {})
        super().__init__(detail)

    @property
    def document(self) -> dict[str, str | int]:
        """The members of RFC 9457."""
        return {
            "type": f"urn:tenantry:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }

    @property
    def body(self) -> bytes:
        """The document as JSON, in ASCII."""
        return json.dumps(self.document).encode()

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers of the answer, including those of its body."""
        return {
            "content-type": MEDIA_TYPE,
            "content-length": str(len(self.body)),
            "cache-control": "no-store",
            **self.headers,
        }


def unauthenticated(kind: str, detail: str) -> Problem:
    """401. If a credential was given and is not valid, the challenge states that."""
    error = "" if kind == "no-credential" else ', error="invalid_token"'
    return Problem(401, kind, detail, {"www-authenticate": f'Bearer realm="tenants"{error}'})


def unavailable() -> Problem:
    """503: the database is unavailable."""
    return Problem(
        503, "database-unavailable", "The database cannot be reached; try again.", {"retry-after": str(RETRY_AFTER)}
    )


def is_unavailable(error: BaseException) -> bool:
    """Whether an error of a driver or framework means that the database is unavailable, and not that a statement is
    wrong: connections refused or lost, a server that starts or stops, or has no connection left."""
    return any(_is_lost(one) for one in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = getattr(error, "orig", None) or error.__cause__


def _is_lost(error: BaseException) -> bool:
    if isinstance(error, ConnectionError):
        return True
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_LOST)
    for module, name in _UNREACHABLE.items():
        if module in sys.modules and isinstance(error, getattr(sys.modules[module], name)):
            return True
    # asyncpg has one error both for wrong use and for connections and pools that are closed.
    asyncpg = sys.modules.get("asyncpg")
    return asyncpg is not None and type(error) is asyncpg.InterfaceError and "clos" in str(error)
