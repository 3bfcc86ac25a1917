"""ASGI: each request, and each WebSocket, is served in its tenant's block.

    app = TenantMiddleware(app, Resolution(ApiKey(keys), directory=directory))

The block spans all that the application does for the request: streamed bodies, background tasks, the messages of a
WebSocket. The tenant of a WebSocket is determined by its handshake. For FastAPI see tenantry_app.fastapi.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from tenantry_app.problems import Problem, is_unavailable, unavailable
from tenantry_app.requests import from_scope
from tenantry_app.resolution import Resolution

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY = "tenantry_app"
"""The key of a scope under which the application finds the `Resolved`."""


class TenantMiddleware:
    """Serves requests in their tenants' blocks, and answers those that have none with a problem (RFC 9457).

    The application finds a `Resolved` under scope["tenantry_app"]. If the application raises because the database is
    unavailable, and has not begun to answer, the answer is 503 with Retry-After.
    """

    def __init__(self, app: Application, resolution: Resolution) -> None:
        self.app = app
        self.resolution = resolution

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. Lifespan events, and everything else that is not a request, are passed to the
        application."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            resolved = await self.resolution.resolve_async(from_scope(scope))
            inner = dict(scope) | {KEY: resolved}
            if resolved.mount:
                inner["root_path"] = (scope.get("root_path") or "") + resolved.mount
            async with resolved.block():
                await self.app(inner, receive, watched)
        except Exception as error:
            problem = error if isinstance(error, Problem) else unavailable() if is_unavailable(error) else None
            if problem is None or begun:
                raise
            await refuse(problem, scope, receive, send)


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a problem; a WebSocket is not accepted, with the problem as the answer if the server supports
    that."""
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": problem.kind})
            return
        kind = "websocket.http.response"
    headers = [(name.encode(), value.encode()) for name, value in problem.all_headers.items()]
    await send({"type": f"{kind}.start", "status": problem.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": problem.body})
