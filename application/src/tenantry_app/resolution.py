"""The tenant of a request: the first resolver that authenticates decides, and the others must agree."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tenantry_app import context
from tenantry_app.errors import InvalidKey, TenantError
from tenantry_app.problems import Problem, is_unavailable, unauthenticated, unavailable
from tenantry_app.requests import Request
from tenantry_app.resolvers import Identification, Resolver
from tenantry_app.tenants import ACTIVE, Directory, Found, Tenant

_Work: TypeAlias = Generator[Any, Any, "Resolved"]
"""Yields objects that may have to be awaited, and is sent their results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The result for a request."""

    tenant: Tenant | None
    """None for an open path, which has no tenant."""
    read_only: bool = False
    """Whether the credential's scopes exclude writing: transactions are read-only then."""
    by: str = ""
    """The resolver that has decided."""
    subject: str | None = None
    """The caller: the lookup part of an API key, the `sub` of a token."""
    mount: str = ""
    """The part of the path that was read, and so belongs to the path at which the application is mounted."""

    def block(self) -> context.tenant | context.without_tenant:
        """The block in which the request is served."""
        if self.tenant is None:
            return context.without_tenant()
        return context.tenant(self.tenant, read_only=self.read_only)


class Resolution:
    """How requests find their tenants.

    `resolvers`, in this order: the first that authenticates decides. `directory`: where keys and slugs are looked up,
    that of `configure()` unless given; without one each name is taken for a key. `open`: paths that are served without
    a tenant, such as "/health"; one that ends in "/*" is open with all below.

        Resolution(ApiKey(keys), Header("X-Org-Id"), directory=directory, open=["/health"])

    | | |
    |---|---|
    | 400 | a header has two values, or cannot be read; a credential is for several tenants, and none was selected |
    | 401 | nothing authenticates, or a credential is not valid |
    | 403 | two resolvers do not agree; the tenant is not active; the scope does not suffice |
    | 404 | there is no such tenant |
    | 503 | the database is unavailable |
    """

    def __init__(self, *resolvers: Resolver, directory: Directory | None = None, open: Iterable[str] = ()) -> None:
        if not resolvers:
            raise ValueError("a Resolution needs at least one resolver, such as ApiKey")
        self.resolvers = resolvers
        self.directory = directory
        whole = tuple(open)
        self._open = frozenset(one for one in whole if not one.endswith("/*"))
        self._below = tuple(one[:-1] for one in whole if one.endswith("/*"))

    def resolve(self, request: Request) -> Resolved:
        """The tenant of a request. Raises Problem; TenantError if a resolver or the directory is asynchronous."""
        work = self._work(request)
        try:
            asked = next(work)
            while True:
                if inspect.isawaitable(asked):
                    if inspect.iscoroutine(asked):
                        asked.close()
                    raise TenantError("a resolver or the directory is asynchronous, and the application is not")
                asked = work.send(asked)
        except StopIteration as end:
            return _resolved(end)
        except Exception as error:
            raise _problem(error) from error

    async def resolve_async(self, request: Request) -> Resolved:
        """The tenant of a request. Raises Problem."""
        work = self._work(request)
        try:
            asked = next(work)
            while True:
                asked = work.send(await asked if inspect.isawaitable(asked) else asked)
        except StopIteration as end:
            return _resolved(end)
        except Exception as error:
            raise _problem(error) from error

    def _work(self, request: Request) -> _Work:
        if request.path in self._open or request.path.startswith(self._below):
            return Resolved(tenant=None, by="an open path")
        identifications: list[Identification] = []
        for resolver in self.resolvers:
            reading = yield resolver.read(request)
            if reading is not None:
                identifications.append(reading)
        deciders = [one for one in identifications if one.authenticates] or [
            one for one in identifications if one.selects
        ]
        if not deciders:
            raise unauthenticated("no-credential", "The request has no credential that identifies its tenant.")
        decider = deciders[0]
        scopes = _scopes(deciders)
        _require_scope(request, scopes)
        # Nothing is looked up before authentication, so that nobody can find out which tenants exist.
        decided = yield from self._decided(decider, [one for one in identifications if one is not decider])
        if decided.status != ACTIVE:
            raise Problem(403, "inactive-tenant", "The tenant is not active.")
        return Resolved(
            tenant=decided, by=decider.by, subject=decider.subject, read_only="write" not in scopes,
            mount=next((one.mount for one in identifications if one.mount), ""),
        )  # fmt: skip

    def _decided(self, decider: Identification, others: list[Identification]) -> Generator[Any, Any, Tenant]:
        if len(decider.names) == 1:
            decided: Found = yield from self._find(decider.names[0])
            if decided is None:
                raise Problem(404, "unknown-tenant", "The tenant does not exist.")
        else:
            decided = yield from self._selected(decider, others)
        for other in others:
            if not (yield from self._agrees(decided, other)):
                raise _disagreement(decider, other)
        return decided

    def _selected(self, decider: Identification, others: list[Identification]) -> Generator[Any, Any, Tenant]:
        """For a credential that is valid for several tenants, the one that another resolver names."""
        if not others:
            raise Problem(400, "tenant-not-selected", f"Choose a tenant: {decider.by} is valid for several.")
        selected: Found = None
        if len(others[0].names) == 1:
            selected = yield from self._find(others[0].names[0])
        if selected is None or not {selected.key, selected.slug} & set(decider.names):
            raise _disagreement(decider, others[0])
        return selected

    def _agrees(self, decided: Tenant, other: Identification) -> Generator[Any, Any, bool]:
        if {decided.key, decided.slug} & set(other.names):
            return True
        for name in other.names:
            found: Found = yield from self._find(name)
            if found is not None and found.key == decided.key:
                return True
        return False

    def _find(self, name: str) -> Generator[Any, Any, Found]:
        directory = self.directory or context.directory()
        try:
            if directory is None:
                return Tenant(name)
            found: Found = yield directory.find(name)
        except InvalidKey:
            return None
        return found


def _scopes(deciders: list[Identification]) -> frozenset[str]:
    """What all that have authenticated permit the request to do."""
    scopes = frozenset({"read", "write"})
    for one in deciders:
        scopes &= scopes if one.scopes is None else one.scopes
    return scopes


def _require_scope(request: Request, scopes: frozenset[str]) -> None:
    needed = "write" if request.writes else "read"
    if needed not in scopes:
        raise Problem(
            403, "insufficient-scope", f"The credential's scopes do not allow it to {needed}.",
            {"www-authenticate": f'Bearer realm="tenants", error="insufficient_scope", scope="{needed}"'},
        )  # fmt: skip


def _disagreement(decider: Identification, other: Identification) -> Problem:
    # The same whether the other tenant exists or not.
    return Problem(403, "tenants-disagree", f"{_upper(decider.by)} and {other.by} identify different tenants.")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _problem(error: Exception) -> Exception:
    return unavailable() if is_unavailable(error) else error


def _resolved(end: StopIteration) -> Resolved:
    found: Resolved = end.value
    return found
