"""Tokens, and the parts that remember: forged ones, those of others, key sets that change or cannot be fetched."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from requesting import WAYS, Answer, make_key, stored
from tenantry_app import Claim, Resolution
from tenantry_app.jwt import KeySet, Tokens
from tenantry_app.keys import CachedKeys, StoredKey, checksum, hashed, lookup_part

KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
SECRET = "s" * 32
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)  # fmt: skip
CLAIMS = {"org": "acme", "aud": "shop", "iss": "login", "sub": "ann", "exp": datetime(2100, 1, 1, tzinfo=UTC)}


def token(key: Any = KEY, algorithm: str = "RS256", kid: str | None = "k1", **claims: Any) -> str:
    whole = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.encode(whole, key, algorithm=algorithm, headers={"kid": kid} if kid else {})


def unsigned() -> str:
    parts = [{"alg": "none", "typ": "JWT", "kid": "k1"}, {**CLAIMS, "exp": 4102444800}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts) + "."


def confused() -> str:
    """Signed with the public key as if it were a secret."""
    head, body = (
        base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=")
        for one in ({"alg": "HS256", "kid": "k1"}, {**CLAIMS, "exp": 4102444800})
    )
    import hashlib
    import hmac

    sign = base64.urlsafe_b64encode(hmac.digest(PUBLIC, head + b"." + body, hashlib.sha256)).rstrip(b"=")
    return b".".join((head, body, sign)).decode()


def tokens(**more: Any) -> Tokens:
    return Tokens(**{"audience": "shop", "algorithms": ["RS256"], "issuer": "login", "key": PUBLIC} | more)


def ask(verifier: Tokens, text: str, way: Callable[..., Answer] = WAYS[0]) -> Answer:
    return way(Resolution(Claim(verifier, "org")), [("Authorization", f"Bearer {text}")])


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (token, 200),
        (lambda: token(OTHER), 401),
        (lambda: token(exp=datetime.now(UTC) - timedelta(seconds=1)), 401),
        (lambda: token(nbf=datetime.now(UTC) + timedelta(hours=1)), 401),
        (lambda: token(aud="bank"), 401),
        (lambda: token(aud=["bank", "shop"]), 200),
        (lambda: token(aud=None), 401),
        (lambda: token(exp=None), 401),
        (lambda: token(iss="evil"), 401),
        (lambda: token(iss=None), 401),
        (lambda: token(org=None), 403),
        (lambda: token(SECRET, "HS256"), 401),
        (lambda: token(ec.generate_private_key(ec.SECP256R1()), "ES256"), 401),
        (unsigned, 401),
        (confused, 401),
        (lambda: token()[:-4] + "AAAA", 401),
        (lambda: token() + "x", 401),
        (lambda: "a.b.c", 401),
        (lambda: "garbage", 401),
    ],
)  # fmt: skip
@pytest.mark.parametrize("fetched", [False, True], ids=["key", "set"])
def test_tokens(make: Callable[[], str], status: int, fetched: bool) -> None:
    """By a key, and by a set of keys, through ASGI and WSGI."""
    text = make()
    for way in WAYS:
        more: dict[str, Any] = {"key": None, "jwks": key_set(lambda: document(k1=KEY))} if fetched else {}
        answer = ask(tokens(asynchronous=way is WAYS[0], **more), text, way)
        assert (answer.status, answer.served) == (status, "acme" if status == 200 else None)
        if status == 401:
            assert answer.kind == "invalid-token"
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_secret_works_too() -> None:
    assert ask(tokens(key=SECRET, algorithms=["HS256"]), token(SECRET, "HS256")).status == 200
    assert ask(tokens(key=SECRET, algorithms=["HS256"]), token("t" * 32, "HS256")).status == 401


@pytest.mark.parametrize(
    "more",
    [{"audience": ""}, {"algorithms": []}, {"algorithms": ["none"]}, {"algorithms": "RS256"}, {"algorithms": ["XX"]},
     {"algorithms": ["RS256", "HS256"]}, {"key": None}, {"jwks": "https://login"}, {"key": None, "jwks": "http://login.example"},
     {"key": None, "jwks": "file:///etc/passwd"}, {"key": None, "jwks": "https://login", "algorithms": ["HS256"]}],
)  # fmt: skip
def test_what_is_refused_at_the_start(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        tokens(**more)


# -- Key sets


def document(**keys: rsa.RSAPrivateKey) -> dict[str, Any]:
    return {
        "keys": [
            json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
            | {"kid": name, "alg": "RS256", "use": "sig"}
            for name, key in keys.items()
        ]
    }


def key_set(fetch: Callable[[], Any], **more: Any) -> KeySet:
    return KeySet("", fetch=fetch, **more)


def test_a_key_set_is_fetched_once() -> None:
    fetches = []

    def fetch() -> Any:
        fetches.append(1)
        return document(k1=KEY)

    verifier = tokens(key=None, jwks=key_set(fetch))
    assert {ask(verifier, token()).status for _ in range(5)} == {200}
    assert {ask(verifier, token(OTHER, kid=f"made up {number}")).status for number in range(5)} == {401}
    assert len(fetches) == 1  # strangers cannot have it fetched again and again


def test_a_new_key_is_found() -> None:
    keys = {"k1": KEY}
    verifier = tokens(key=None, jwks=key_set(lambda: document(**keys), pause=0))
    assert ask(verifier, token()).status == 200
    keys["k2"] = OTHER
    assert ask(verifier, token(OTHER, kid="k2")).status == 200
    assert ask(verifier, token(kid=None)).status == 401


def test_a_key_set_that_cannot_be_fetched() -> None:
    """503 where nothing is known, and what is known counts on."""
    state = {"away": True}

    def fetch() -> Any:
        if state["away"]:
            raise OSError("no route")
        return document(k1=KEY)

    verifier = tokens(key=None, jwks=key_set(fetch, seconds=0, pause=0))
    answer = ask(verifier, token())
    assert (answer.status, answer.kind) == (503, "key-set-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    state["away"] = False
    assert ask(verifier, token()).status == 200
    state["away"] = True
    assert ask(verifier, token()).status == 200


def test_an_api_key_is_no_token() -> None:
    answer = ask(tokens(), make_key("acme"))
    assert answer.kind == "no-credential"


# -- API keys: their form, and what is remembered


def test_the_checksum() -> None:
    """Any one character that is wrong is told."""
    key = make_key("acme")
    assert lookup_part(key) == "0000acme"
    for place in range(len(key)):
        for wrong in "0Zz_":
            if key[place] != wrong:
                assert lookup_part(key[:place] + wrong + key[place + 1 :]) is None
    assert lookup_part(key + "\n") is None
    assert len(checksum("x")) == 6


def test_keys_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    known = dict([stored(make_key("acme"), "1")])

    def find(lookup: str, presented: bytes) -> StoredKey | None:
        asked.append(lookup)
        return next((one for key, one in known.items() if lookup_part(key) == lookup), None)

    keys = CachedKeys(find, seconds=10, seconds_unknown=5, size=3)
    assert keys("0000acme", b"") is not None
    now[0] += 9
    assert keys("0000acme", b"") is not None
    assert asked == ["0000acme"]
    now[0] += 2
    known.clear()  # revoked: until now it was served
    assert keys("0000acme", b"") is None
    assert keys("0000acme", b"") is None
    assert asked == ["0000acme"] * 2
    now[0] += 6
    known.update([stored(make_key("acme"), "1")])
    assert keys("0000acme", b"") is not None
    asked.clear()
    for number in range(50):
        assert keys(f"{number:08}", b"") is None
    assert keys("0000acme", b"") is not None  # strangers do not displace what is known
    assert len(asked) == 50
    keys.forget()
    keys("0000acme", b"")
    assert len(asked) == 51


def test_asynchronous_keys_are_remembered() -> None:
    asked: list[str] = []
    key = make_key("acme")

    async def find(lookup: str, presented: bytes) -> StoredKey:
        asked.append(lookup)
        return stored(key, "1")[1]

    async def main() -> None:
        keys = CachedKeys(find)
        first = keys("0000acme", hashed(key))
        assert await first == stored(key, "1")[1]  # type: ignore[misc]
        assert keys("0000acme", hashed(key)) == stored(key, "1")[1]

    asyncio.run(main())
    assert len(asked) == 1
