"""API keys, as `tenantry keys create` makes them (docs/contract.md): what one looks like, and where they are looked up.

    keys = CachedKeys(PoolKeys(pool))           # psycopg_pool.ConnectionPool of TenantConnection
    keys = CachedKeys(AsyncPoolKeys(pool))      # psycopg_pool.AsyncConnectionPool of AsyncTenantConnection
    keys = CachedKeys(AsyncpgKeys(pool))        # asyncpg.create_pool(connection_class=TenantConnection)

The application's role reads them by one function, which gives the one whose lookup part it is asked for. It holds no
key, but its SHA-256.
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
"""One row in any case: to read the row of a key takes time, by which it could be told from one that nobody knows."""

_FORM = re.compile(r"tk_([0-9A-Za-z]{8})_[0-9A-Za-z]{40}([0-9A-Za-z]{6})")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NEVER = bytes(32)
"""What a key is compared with where there is none to compare it with, so that it takes as long."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is known of a key."""

    hash: bytes
    """SHA-256 of the whole key."""
    tenant: str
    """The key of its tenant."""
    scopes: frozenset[str]
    """Of "read" and "write"."""
    ends_at: datetime | None = None
    """When it expires, was revoked, or is replaced; with a time zone. None: never."""

    def is_valid(self, presented: bytes) -> bool:
        """Whether `presented` is its hash, compared in constant time, and it has not ended."""
        same = hmac.compare_digest(self.hash, presented)
        return same and (self.ends_at is None or datetime.now(UTC) < self.ends_at)


Stored: TypeAlias = StoredKey | None
FindKey: TypeAlias = Callable[[str, bytes], "Stored | Awaitable[Stored]"]
"""Finds the key that has this lookup part; the hash is what was presented, so that its use can be noted. It may be
called from any thread or task."""


def lookup_part(key: str) -> str | None:
    """The eight characters by which a key is looked up; None where the text is no key, by its form or checksum."""
    found = _FORM.fullmatch(key)
    if found is None or not hmac.compare_digest(found[2], checksum(key[:-6])):
        return None
    return found[1]


def checksum(text: str) -> str:
    """CRC-32 of a key without it, in six digits of base 62: a typing error is told before anybody is asked."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits


def hashed(key: str) -> bytes:
    """SHA-256 of a key. Its secret has 238 random bits, so there is nothing for a slow hash to make harder."""
    return hashlib.sha256(key.encode()).digest()


def is_valid(stored: Stored, presented: bytes) -> bool:
    """Whether a key was presented that is stored and has not ended; as long for one that nobody knows."""
    return (stored or StoredKey(_NEVER, "-", frozenset(), datetime.min.replace(tzinfo=UTC))).is_valid(presented)


class CachedKeys:
    """Remembers what `find` finds: keys for `seconds`, which is how long one that is revoked may still be served, that
    there is none for `seconds_unknown`. At most `size` are remembered; of each kind the other cannot displace any."""

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
        """Look all keys up anew."""
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
    """What QUERY has found: a row, in order, whose hash is empty where there is no such key."""
    found, tenant, scopes, ends_at = row or (b"", "-", (), None)
    key = StoredKey(bytes(found), tenant, frozenset(scopes), ends_at)
    return key if key.hash else None


class PoolKeys:
    """Looks keys up over a pool of psycopg: its `connection()` is used, once for each call."""

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
    """Looks keys up over a pool of asyncpg."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def __call__(self, lookup: str, presented: bytes) -> Stored:
        """See FindKey. Raises the driver's errors."""
        async with without_tenant(), self._pool.acquire() as connection, connection.transaction():
            return read_row(await connection.fetchrow(QUERY.format("$1", "$2"), lookup, presented))
