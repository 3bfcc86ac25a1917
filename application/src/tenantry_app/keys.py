"""API keys, as `tenantry keys create` makes them (docs/contract.md): their form, and where they are looked up.

    keys = CachedKeys(PoolKeys(pool))           # psycopg_pool.ConnectionPool of TenantConnection
    keys = CachedKeys(AsyncPoolKeys(pool))      # psycopg_pool.AsyncConnectionPool of AsyncTenantConnection
    keys = CachedKeys(AsyncpgKeys(pool))        # asyncpg.create_pool(connection_class=TenantConnection)

The application's role reads them with a single function, which returns the one with the given lookup part: not the key
itself, but its SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import re
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from tenantry_app.context import without_tenant

PREFIX = "tk_"
QUERY = (
    "SELECT hash, tenant, scopes, ends_at FROM tenantry.api_key({}, {})"
    " UNION ALL SELECT ''::bytea, '-', ARRAY['read', 'write'], now() LIMIT 1"
)
"""It returns one row in any case: the time for reading the row of a key would show whether the key exists."""

_FORM = re.compile(r"tk_([0-9A-Za-z]{8})_[0-9A-Za-z]{40}([0-9A-Za-z]{6})")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NEVER = bytes(32)
"""Compared with a key if none is stored, so that the comparison takes as long."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The stored data of a key."""

    hash: bytes
    """SHA-256 of the whole key."""
    tenant: str
    """The key of its tenant."""
    scopes: frozenset[str]
    """Of "read" and "write"."""
    ends_at: datetime | None = None
    """When it expires, was revoked, or is replaced; with a time zone. None: never."""

    def is_valid(self, presented: bytes) -> bool:
        """Whether `presented` is its hash, compared in constant time, and the key has not ended."""
        same = hmac.compare_digest(self.hash, presented)
        return same and (self.ends_at is None or datetime.now(UTC) < self.ends_at)


Stored: TypeAlias = StoredKey | None
FindKey: TypeAlias = Callable[[str, bytes], "Stored | Awaitable[Stored]"]
"""Finds the key with this lookup part; the hash of the presented key is passed so that its use can be recorded. It may
be called from any thread or task."""


def lookup_part(key: str) -> str | None:
    """The eight characters by which a key is looked up; None if the text is not a key, by its form or checksum."""
    found = _FORM.fullmatch(key)
    if found is None or not hmac.compare_digest(found[2], checksum(key[:-6])):
        return None
    return found[1]


def checksum(text: str) -> str:
    """CRC-32 of a key without it, in six digits of base 62: typing errors are detected without a query."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits


def hashed(key: str) -> bytes:
    """SHA-256 of a key. Its secret has 238 random bits, so there is nothing for a slow hash to make harder."""
    return hashlib.sha256(key.encode()).digest()


def is_valid(stored: Stored, presented: bytes) -> bool:
    """Whether the presented key is stored and has not ended; takes as long for an unknown one."""
    return (stored or StoredKey(_NEVER, "-", frozenset(), datetime.min.replace(tzinfo=UTC))).is_valid(presented)


class CachedKeys:
    """Caches the results of `find`: keys for `seconds`, which is how long a revoked one may still be accepted, and the
    absence of one for `seconds_unknown`. At most `size` entries of each kind are cached, in separate caches, so that
    unknown keys cannot displace known ones."""

    def __init__(self, find: FindKey, *, seconds: float = 10, seconds_unknown: float = 5, size: int = 10_000) -> None:
        self._find = find
        self._seconds = {True: seconds, False: seconds_unknown}
        self._size = size
        self._known: dict[bool, dict[str, tuple[float, Stored]]] = {True: {}, False: {}}
        self._lock = threading.Lock()

    def __call__(self, lookup: str, presented: bytes) -> Stored | Awaitable[Stored]:
        """See FindKey."""
        for known in self._known.values():
            due, stored = known.get(lookup, (0.0, None))
            if time.monotonic() < due:
                return stored
        found = self._find(lookup, presented)
        if inspect.isawaitable(found):
            return self._remember_async(lookup, found)
        return self._remember(lookup, found)

    def forget(self) -> None:
        """Empty the cache."""
        with self._lock:
            for known in self._known.values():
                known.clear()

    async def _remember_async(self, lookup: str, found: Awaitable[Stored]) -> Stored:
        return self._remember(lookup, await found)

    def _remember(self, lookup: str, stored: Stored) -> Stored:
        with self._lock:
            for known in self._known.values():
                known.pop(lookup, None)
            known = self._known[stored is not None]
            while len(known) >= self._size:
                del known[next(iter(known))]
            known[lookup] = (time.monotonic() + self._seconds[stored is not None], stored)
        return stored


def read_row(row: Iterable[Any] | None) -> Stored:
    """The result of QUERY: a row as a tuple, with an empty hash if there is no such key."""
    found, tenant, scopes, ends_at = row or (b"", "-", (), None)
    key = StoredKey(bytes(found), tenant, frozenset(scopes), ends_at)
    return key if key.hash else None


class PoolKeys:
    """Looks keys up with a pool of psycopg: its `connection()` is used, once for each call."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __call__(self, lookup: str, presented: bytes) -> Stored:
        """See FindKey. Raises the driver's errors."""
        from psycopg.rows import tuple_row

        with (
            without_tenant(),
            self._pool.connection() as connection,
            connection.cursor(row_factory=tuple_row) as cursor,
        ):
            return read_row(cursor.execute(QUERY.format("%s", "%s"), (lookup, presented)).fetchone())


class AsyncPoolKeys:
    """PoolKeys for asyncio."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def __call__(self, lookup: str, presented: bytes) -> Stored:
        """See FindKey. Raises the driver's errors."""
        from psycopg.rows import tuple_row

        async with without_tenant(), self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(QUERY.format("%s", "%s"), (lookup, presented))
            return read_row(await cursor.fetchone())


class AsyncpgKeys:
    """Looks keys up with a pool of asyncpg."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def __call__(self, lookup: str, presented: bytes) -> Stored:
        """See FindKey. Raises the driver's errors."""
        async with without_tenant(), self._pool.acquire() as connection, connection.transaction():
            return read_row(await connection.fetchrow(QUERY.format("$1", "$2"), lookup, presented))
