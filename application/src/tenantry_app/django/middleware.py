"""The tenant of a request, for WSGI and ASGI."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from django.http import Http404
from django.utils.decorators import sync_and_async_middleware

from tenantry_app.context import tenant
from tenantry_app.django import named
from tenantry_app.errors import InactiveTenant, InvalidKey, UnknownTenant
from tenantry_app.tenants import Name, Tenant

_NOT_SERVED = (UnknownTenant, InactiveTenant, InvalidKey)


@sync_and_async_middleware
def tenant_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Serve each request in the block of the tenant that TENANTRY["RESOLVER"] finds, its streamed content included.

    Where there is no such tenant, or it is not active, the answer is 404. Where the resolver says None the request has
    no tenant, and the first statement raises TenantRequired.
    """
    resolve = named("RESOLVER")
    if inspect.iscoroutinefunction(get_response):

        async def serve_async(request: Any) -> Any:
            found = resolve(request)
            name: Name | None = await found if inspect.isawaitable(found) else found
            if name is None:
                return await get_response(request)
            async with _Served(name) as served:
                return _streamed(await get_response(request), served)

        return serve_async

    def serve(request: Any) -> Any:
        name: Name | None = resolve(request)
        if name is None:
            return get_response(request)
        with _Served(name) as served:
            return _streamed(get_response(request), served)

    return serve


class _Served:
    """A block that raises Http404 where the tenant is not served."""

    def __init__(self, name: Name) -> None:
        try:
            self._block = tenant(name)
        except InvalidKey as error:
            raise Http404 from error

    def __enter__(self) -> Tenant:
        try:
            return self._block.__enter__()
        except _NOT_SERVED as error:
            raise Http404 from error

    def __exit__(self, *error: Any) -> None:
        self._block.__exit__(*error)

    async def __aenter__(self) -> Tenant:
        try:
            found = await self._block.__aenter__()
        except _NOT_SERVED as error:
            raise Http404 from error
        assert found is not None
        return found

    async def __aexit__(self, *error: Any) -> None:
        await self._block.__aexit__(*error)


def _streamed(response: Any, served: Tenant) -> Any:
    """What a response streams is made when the middleware has long returned."""
    if getattr(response, "streaming", False):
        content = response.streaming_content
        response.streaming_content = (
            _asynchronous(content, served) if response.is_async else _synchronous(content, served)
        )
    return response


def _synchronous(content: Any, served: Tenant) -> Iterator[Any]:
    @tenant(served)
    def parts() -> Iterator[Any]:
        yield from content

    return parts()


def _asynchronous(content: Any, served: Tenant) -> AsyncIterator[Any]:
    @tenant(served)
    async def parts() -> AsyncIterator[Any]:
        async for part in content:
            yield part

    return parts()
