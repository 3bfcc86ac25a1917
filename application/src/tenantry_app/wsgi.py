"""WSGI: each request is served in its tenant's block, including its streamed body.

    application = TenantMiddleware(application, Resolution(ApiKey(keys), directory=directory))

For Flask see tenantry_app.flask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, TypeAlias

from tenantry_app.problems import Problem, is_unavailable, unavailable
from tenantry_app.requests import from_environ
from tenantry_app.resolution import Resolution, Resolved

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
Application: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

KEY = "tenantry_app.resolved"
"""The key of an environ under which the application finds the `Resolved`."""


class TenantMiddleware:
    """Serves requests in their tenants' blocks, and answers those that have none with a problem (RFC 9457).

    The application finds a `Resolved` under environ["tenantry_app.resolved"]. If it raises because the database is
    unavailable, and has not begun to answer, the answer is 503 with Retry-After.
    """

    def __init__(self, app: Application, resolution: Resolution) -> None:
        self.app = app
        self.resolution = resolution

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve it."""
        begun = False

        def watched(*args: Any) -> Any:
            nonlocal begun
            begun = True
            return start_response(*args)

        try:
            resolved = self.resolution.resolve(from_environ(environ))
            inner = environ | {KEY: resolved}
            if resolved.mount:
                mount = resolved.mount.encode().decode("latin-1")
                inner["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + mount
                inner["PATH_INFO"] = environ["PATH_INFO"][len(mount) :]
            with resolved.block():
                parts = self.app(inner, watched)
        except Exception as error:
            problem = error if isinstance(error, Problem) else unavailable() if is_unavailable(error) else None
            if problem is None or begun:
                raise
            return refuse(problem, start_response)
        return parts if isinstance(parts, list | tuple) else _Body(parts, resolved)


def refuse(problem: Problem, start_response: StartResponse) -> list[bytes]:
    """Answer with a problem."""
    start_response(f"{problem.status} {HTTPStatus(problem.status).phrase}", list(problem.all_headers.items()))
    return [problem.body]


class _Body:
    """A body that is produced while the server reads it: each part in the tenant's block, which the server has not
    entered."""

    def __init__(self, parts: Iterable[bytes], resolved: Resolved) -> None:
        self._parts = parts
        self._resolved = resolved
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._resolved.block():
            if self._iterator is None:
                self._iterator = iter(self._parts)
            return next(self._iterator)

    def close(self) -> None:
        """The server has sent the body, or its client has disconnected."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            with self._resolved.block():
                close()
