"""FastAPI and Starlette: pip install "tenantry-app[fastapi]".

app = FastAPI()
use_tenants(app, Resolution(ApiKey(keys), directory=directory, open=["/health"]))

@app.get("/orders")
async def orders(tenant: CurrentTenant): …
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.applications import Starlette
from starlette.responses import Response

from tenantry_app.asgi import KEY, TenantMiddleware
from tenantry_app.context import current
from tenantry_app.problems import MEDIA_TYPE, Problem
from tenantry_app.resolution import Resolution, Resolved
from tenantry_app.tenants import Tenant

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
"""The JSON Schema of a problem."""


def use_tenants(app: Starlette, resolution: Resolution) -> None:
    """Serve each request of `app` in its tenant's block (see asgi.TenantMiddleware), and answer with a Problem if a
    route raises one. Middleware that is added later is outside of it, as CORSMiddleware has to be."""
    app.add_middleware(TenantMiddleware, resolution=resolution)
    app.add_exception_handler(Problem, _answer)


def opened(*pools: Any) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """A lifespan: these pools, or any other async context managers, are open while the application runs."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for pool in pools:
                await stack.enter_async_context(pool)
            yield

    return lifespan


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=`: documents that these statuses are answered with a problem."""
    return {
        status: {"description": "A problem (RFC 9457)", "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
        for status in statuses
    }


async def _tenant() -> Tenant:
    return current()


CurrentTenant = Annotated[Tenant, Depends(_tenant)]
"""A parameter with the request's tenant. Raises TenantRequired on an open path."""


async def _resolved(request: Request) -> Resolved:
    found: Resolved = request.scope[KEY]
    return found


RequestOf = Annotated[Resolved, Depends(_resolved)]
"""A parameter with the `Resolved`: the tenant, the caller, and whether it may write."""


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    headers: Mapping[str, str] = error.all_headers
    return Response(error.body, error.status, dict(headers))
