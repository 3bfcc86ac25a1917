"""API keys: how a new one is made, and what is stored of one. docs/contract.md describes their form."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

Scope: TypeAlias = Literal["read", "write"]
SCOPES: tuple[Scope, ...] = ("read", "write")

PREFIX = "tk_"
LOOKUP_LENGTH = 8
SECRET_LENGTH = 40
CHECKSUM_LENGTH = 6
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """The stored data of a key. `tenant` is the tenant's key, `lookup` the eight characters that name the API key."""

    lookup: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str
    ends_at: datetime | None = None
    """When it expires, was revoked, or is replaced; None: never."""
    replaced_by: str | None = None
    """The lookup part of the key that it was rotated to."""
    last_used_at: datetime | None = None
    """To the minute."""
    slug: str = ""
    """The tenant's slug; empty if the tenant no longer exists."""
    active: bool = True

    @property
    def lifetime(self) -> timedelta | None:
        """The duration for which it was created; None: without end."""
        return None if self.ends_at is None else self.ends_at - self.created_at


def new_key() -> str:
    """A new random key: 8 characters by which it is looked up, 40 that are secret (238 bits), and a checksum."""
    text = f"{PREFIX}{_characters(LOOKUP_LENGTH)}_{_characters(SECRET_LENGTH)}"
    return text + checksum(text)


def checksum(text: str) -> str:
    """CRC-32 in six digits of base 62. It detects typing errors, and keys in files, without a query."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits


def hashed(key: str) -> bytes:
    """SHA-256, the only form in which a key is stored."""
    return hashlib.sha256(key.encode()).digest()


def lookup_part(text: str) -> str:
    """The lookup part of what a person enters to name a key: that part, with or without `tk_`, or the entire key.
    Raises ValueError."""
    part = text.removeprefix(PREFIX).partition("_")[0]
    if len(part) != LOOKUP_LENGTH or not set(part) <= set(DIGITS):
        raise ValueError(f"{text[: len(PREFIX) + LOOKUP_LENGTH]!r} is not a key: write its {LOOKUP_LENGTH} characters")
    return part


def _characters(count: int) -> str:
    return "".join(secrets.choice(DIGITS) for _ in range(count))
