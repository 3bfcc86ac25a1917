"""JSON Web Tokens, verified with PyJWT: pip install "tenantry-app[jwt]".

tokens = Tokens(audience="shop", algorithms=["RS256"], issuer="https://login.example", jwks="https://login.example/jwks")
Resolution(Claim(tokens, "org"), directory=directory)
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import jwt

from tenantry_app.keys import PREFIX
from tenantry_app.problems import RETRY_AFTER, Problem, unauthenticated
from tenantry_app.requests import Request

_SYMMETRIC = frozenset({"HS256", "HS384", "HS512"})


class Tokens:
    """The verified claims of `Authorization: Bearer`, for Claim. It raises Problem: 401 for a token that is forged,
    expired, not yet valid, of another audience or issuer, or of an algorithm that is not listed.

    `audience`: the required audience. `algorithms`: those that are accepted. `key`: the key for verification, a secret
    or a public key; or `jwks`: the address of a JSON Web Key Set, or a `KeySet`. `issuer`: the required issuer.
    `leeway`: the allowed difference of clocks, in seconds. `asynchronous`: for ASGI, where a key set is fetched outside
    of the event loop.

    Raises ValueError for no audience, no algorithm, "none", an unknown algorithm, secrets together with public keys, or
    neither or both of `key` and `jwks`.
    """

    def __init__(
        self, *, audience: str | Sequence[str], algorithms: Sequence[str], key: Any = None,
        jwks: str | KeySet | None = None, issuer: str | None = None, leeway: float = 0, asynchronous: bool = True,
    ) -> None:  # fmt: skip
        cached = set(jwt.algorithms.get_default_algorithms()) - {"none"}
        if not audience or isinstance(algorithms, str) or not algorithms or not set(algorithms) <= cached:
            raise ValueError(f"Tokens needs an audience and a list of algorithms among {', '.join(sorted(cached))}")
        if (key is None) == (jwks is None):
            raise ValueError("Tokens needs either a key or a key set")
        if _SYMMETRIC & set(algorithms) and (jwks is not None or not set(algorithms) <= _SYMMETRIC):
            # Otherwise a public key would be accepted as a secret, with which anybody can sign.
            raise ValueError("algorithms with a secret (HS…) cannot be combined with those that use public keys")
        self._audience, self._algorithms = audience, list(algorithms)
        self._key, self._issuer, self._leeway = key, issuer, leeway
        self._keys = KeySet(jwks) if isinstance(jwks, str) else jwks
        self._asynchronous = asynchronous

    def __call__(self, request: Request) -> Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None:
        """The claims of a request's token; None if it has none, or an API key in its place."""
        token = request.bearer()
        if token is None or token.startswith(PREFIX):
            return None
        if self._keys is None:
            return self._verified(token, self._key)
        name = self._key_name(token)
        cached = self._keys.cached(name)
        if cached is not None:
            return self._verified(token, cached)
        return self._fetched_async(token, name) if self._asynchronous else self._fetched(token, name)

    async def _fetched_async(self, token: str, name: str) -> Mapping[str, Any]:
        return await asyncio.to_thread(self._fetched, token, name)

    def _fetched(self, token: str, name: str) -> Mapping[str, Any]:
        assert self._keys is not None
        key = self._keys.find(name)
        if key is None:
            raise _invalid("its key is unknown")
        return self._verified(token, key)

    def _key_name(self, token: str) -> str:
        try:
            head = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise _invalid("it is malformed") from error
        if head.get("alg") not in self._algorithms or not isinstance(head.get("kid"), str):
            raise _invalid("its algorithm or its key is not accepted")
        return str(head["kid"])

    def _verified(self, token: str, key: Any) -> Mapping[str, Any]:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token, key, algorithms=self._algorithms, audience=self._audience, issuer=self._issuer,
                leeway=self._leeway, options={"require": ["exp", "aud"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError as error:
            raise _invalid("it has expired") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _invalid("it was made for another service, or by another issuer") from error
        return claims


def _invalid(reason: str) -> Problem:
    return unauthenticated("invalid-token", f"The token is not valid: {reason}.")


class KeySet:
    """A JSON Web Key Set at an address, cached for `seconds`. For a key that is not in it the set is fetched again, but
    not within `pause` seconds of the last time, so that tokens with invented keys cause no more requests than that.
    While it cannot be fetched, the cached keys are used."""

    def __init__(
        self, address: str, *, seconds: float = 300, pause: float = 10, timeout: float = 5,
        fetch: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        if fetch is None and not address.startswith(("https://", "http://localhost", "http://127.0.0.1")):
            raise ValueError(f"a key set is fetched by https only, and not from {address!r}")
        self._address, self._timeout = address, timeout
        self._seconds, self._pause = seconds, pause
        self._fetch = fetch or self._fetch_address
        self._keys: dict[str, Any] = {}
        self._due = self._next_fetch = 0.0
        self._lock = threading.Lock()

    def cached(self, name: str) -> Any:
        """The key with this name, if it is cached."""
        return self._keys.get(name) if time.monotonic() < self._due else None

    def find(self, name: str) -> Any:
        """The key with this name; None if there is none. Raises Problem (503) if the set cannot be fetched at all."""
        with self._lock:
            found, now = self.cached(name), time.monotonic()
            if found is None and now >= self._next_fetch:
                self._next_fetch = now + self._pause
                try:
                    fetched = jwt.PyJWKSet.from_dict(dict(self._fetch()))
                except (OSError, ValueError, jwt.PyJWTError) as error:
                    if not self._keys:
                        self._next_fetch = 0.0
                        raise Problem(
                            503, "key-set-unavailable", "The keys that verify tokens cannot be fetched; try again.",
                            {"retry-after": str(RETRY_AFTER)},
                        ) from error  # fmt: skip
                else:
                    self._keys = {key.key_id: key for key in fetched.keys if key.key_id is not None}
                    self._due = now + self._seconds
            return self._keys.get(name)

    def _fetch_address(self) -> Mapping[str, Any]:
        with urllib.request.urlopen(self._address, timeout=self._timeout) as answer:
            found: Mapping[str, Any] = json.loads(answer.read(1 << 20))
        return found
