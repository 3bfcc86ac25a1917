"""The tenant of a request, for WSGI and ASGI."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, cast

from django.http import Http404, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from tenantry_app.context import tenant
from tenantry_app.django import named, options
from tenantry_app.errors import InactiveTenant, InvalidKey, UnknownTenant
from tenantry_app.problems import Problem, is_unavailable, unavailable
from tenantry_app.requests import Request, from_environ, from_scope
from tenantry_app.resolution import Resolution, Resolved
from tenantry_app.tenants import Name, Tenant

_NOT_SERVED = (UnknownTenant, InactiveTenant, InvalidKey)


@sync_and_async_middleware
def tenant_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Serve each request in the block of the tenant that TENANTRY["RESOLVER"] finds, including its streamed content.

    If there is no such tenant, or it is not active, the answer is 404. If the resolver returns None, the request has no
    tenant, and the first statement raises TenantRequired.
    """
    if options()["RESOLUTION"] is not None:
        return _by_resolution(named("RESOLUTION"), get_response)
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


def _by_resolution(resolution: Resolution, get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same with a Resolution. A view finds the `Resolved` as `request.tenantry`."""
    serve: Callable[[Any], Any]
    if inspect.iscoroutinefunction(get_response):

        async def serve(request: Any) -> Any:
            try:
                request.tenantry = await resolution.resolve_async(_head(request))
            except Problem as problem:
                return _answer(problem)
            async with request.tenantry.block():
                return _spanned(await get_response(request), request.tenantry)

    else:

        def serve(request: Any) -> Any:
            try:
                request.tenantry = resolution.resolve(_head(request))
            except Problem as problem:
                return _answer(problem)
            with request.tenantry.block():
                return _spanned(get_response(request), request.tenantry)

    # Django calls this with what a view has raised.
    cast("Any", serve).process_exception = _refused
    return serve


def _head(request: Any) -> Request:
    head = from_environ(request.environ) if hasattr(request, "environ") else from_scope(request.scope)
    # For Claim, with what earlier middleware has found: a session, a user.
    return replace(head, raw={**head.raw, "django.request": request})


def _refused(request: Any, error: Exception) -> HttpResponse | None:
    if isinstance(error, Problem):
        return _answer(error)
    return _answer(unavailable()) if is_unavailable(error) else None


def _answer(problem: Problem) -> HttpResponse:
    return HttpResponse(problem.body, status=problem.status, headers=problem.all_headers)


def _spanned(response: Any, resolved: Resolved) -> Any:
    return response if resolved.tenant is None else _streamed(response, resolved.tenant, read_only=resolved.read_only)


class _Served:
    """A block that raises Http404 if the tenant is not served."""

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


def _streamed(response: Any, served: Tenant, *, read_only: bool = False) -> Any:
    """The content of a streamed response is produced after the middleware has returned."""
    if getattr(response, "streaming", False):
        content = response.streaming_content
        response.streaming_content = (
            _asynchronous(content, served, read_only) if response.is_async else _synchronous(content, served, read_only)
        )
    return response


def _synchronous(content: Any, served: Tenant, read_only: bool) -> Iterator[Any]:
    @tenant(served, read_only=read_only)
    def parts() -> Iterator[Any]:
        yield from content

    return parts()


def _asynchronous(content: Any, served: Tenant, read_only: bool) -> AsyncIterator[Any]:
    @tenant(served, read_only=read_only)
    async def parts() -> AsyncIterator[Any]:
        async for part in content:
            yield part

    return parts()
