"""Tenants, the text of their keys, and the directory in which they are looked up."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast
from uuid import UUID

from tenantry_app.errors import InvalidKey

Key: TypeAlias = str | int | UUID
"""The key of a tenant, as in the tenant table's primary key: a uuid, an integer or a text."""

ACTIVE = "active"
LOCATION = (
    "SELECT tenant, slug, location FROM tenantry.moves"
    " WHERE side = 'source' AND state IN ('switched', 'moved') AND (tenant = %(name)s OR slug = %(name)s)"
)
"""A query of a tenant, by key or slug, that has moved away from a database: its key, its slug, and where it is
(docs/contract.md). For the function `find` of a directory; the parameter `name` is in psycopg's style."""


def key_text(key: Key) -> str:
    """The text of a key, as in the setting (docs/contract.md).

    Raises InvalidKey for a value that cannot be a key: the empty text, one with a NUL character, or a value of another
    type.
    """
    if isinstance(key, UUID) or (isinstance(key, int) and not isinstance(key, bool)):
        return str(key)
    if not isinstance(key, str):
        raise InvalidKey(f"a tenant's key is a uuid, an integer or a text, and not {type(key).__name__}")
    if not key or "\0" in key:
        raise InvalidKey("a tenant's key is not empty and has no NUL character")
    return key


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant. Raises InvalidKey if `key` cannot be one."""

    key: str
    """The text of the tenant table's primary key; a UUID or an integer is converted."""
    slug: str | None = None
    """The tenant's short name, such as in host names."""
    status: str = ACTIVE
    """A tenant is served only if this is "active"."""
    location: str | None = None
    """Where the tenant's rows are, such as the name of a database; for the application's own use. LOCATION is the query
    of the location of a tenant that `tenantry tenants move` has moved."""

    def __post_init__(self) -> None:
        if (text := key_text(self.key)) is not self.key:
            object.__setattr__(self, "key", text)

    def __str__(self) -> str:
        return self.key if self.slug is None else f"{self.slug} ({self.key})"


Found: TypeAlias = Tenant | None
Name: TypeAlias = Key | Tenant


class Directory(Protocol):
    """Looks up tenants. Called whenever a context is entered by key or slug, from any thread or task."""

    def find(self, name: str) -> Found | Awaitable[Found]:
        """The tenant whose key or slug is `name`; None if there is none.

        If it is asynchronous, it needs `async with tenant(…)`.
        """


class FixedDirectory:
    """A directory with a fixed set of tenants, found by key and by slug."""

    def __init__(self, *tenants: Tenant) -> None:
        self._tenants: Mapping[str, Tenant] = {
            name: one for one in reversed(tenants) for name in (one.slug, one.key) if name is not None
        }

    def find(self, name: str) -> Found:
        """See Directory."""
        return self._tenants.get(name)


class CachedDirectory:
    """Caches the results of a function: tenants for `seconds`, the absence of one for `seconds_unknown`.

    `find` is a function, or an async one, that looks up a key or slug, such as by a query as a role that may read the
    entire tenant table. At most `size` names are cached. Errors that it raises are not cached.
    """

    def __init__(
        self,
        find: Callable[[str], Found | Awaitable[Found]],
        *,
        seconds: float = 60,
        seconds_unknown: float = 5,
        size: int = 10_000,
    ) -> None:
        self._find = find
        self._asynchronous = inspect.iscoroutinefunction(find)
        self._seconds, self._seconds_unknown, self._size = seconds, seconds_unknown, size
        self._known: dict[str, tuple[float, Found]] = {}
        self._lock = threading.Lock()

    def find(self, name: str) -> Found | Awaitable[Found]:
        """See Directory."""
        due, tenant = self._known.get(name, (0.0, None))
        if time.monotonic() < due:
            return tenant
        if self._asynchronous:
            return self._find_async(name)
        return self._remember(name, cast("Found", self._find(name)))

    def forget(self, name: str | None = None) -> None:
        """Remove this key or slug from the cache, or all of them, such as after a tenant's status has changed."""
        with self._lock:
            if name is None:
                self._known.clear()
            else:
                self._known.pop(name, None)

    async def _find_async(self, name: str) -> Found:
        return self._remember(name, await cast("Awaitable[Found]", self._find(name)))

    def _remember(self, name: str, found: Found) -> Found:
        with self._lock:
            self._known.pop(name, None)
            while len(self._known) >= self._size:
                del self._known[next(iter(self._known))]
            self._known[name] = (time.monotonic() + (self._seconds if found else self._seconds_unknown), found)
        return found
