"""Where a request names its tenant. Resolvers are values; `Resolution` calls them.

Some authenticate: `ApiKey` and `Claim`. The others, `Subdomain`, `Header` and `PathPrefix`, read what anybody can
write, and have to agree with what has authenticated. They select a tenant alone only if they are configured to: a
header from gateways that are listed by address (`gateways`), a host or path of pages that anybody may see (`public`).
"""

from __future__ import annotations

import inspect
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from tenantry_app.keys import PREFIX, FindKey, Stored, hashed, is_valid, lookup_part
from tenantry_app.problems import Problem, unauthenticated
from tenantry_app.requests import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """What a resolver has read from a request."""

    names: tuple[str, ...]
    """Keys or slugs of tenants; all of them for a credential that is valid for several."""
    by: str
    """The resolver's name in messages."""
    authenticates: bool
    """Whether it is authenticated."""
    selects: bool = False
    """Whether it selects the tenant of a request without authentication: for pages that anybody may see."""
    scopes: frozenset[str] | None = None
    """Of "read" and "write"; None: both."""
    mount: str = ""
    """The part of the path that was read, below which the application is mounted."""
    subject: str | None = None
    """The caller: the lookup part of an API key, the `sub` of a token."""


Reading: TypeAlias = Identification | None
Claims: TypeAlias = Mapping[str, Any] | None


class Resolver(Protocol):
    """Reads a request's tenant."""

    def read(self, request: Request) -> Reading | Awaitable[Reading]:
        """What the request contains for this resolver; None if it contains nothing. Raises Problem for an error."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of `tenantry keys`: `Authorization: Bearer tk_…`, or `X-API-Key: tk_…`.

    `find` looks it up (tenantry_app.keys). A malformed key is refused without a query; an unknown, forged, expired or
    revoked one gets the same answer, 401.
    """

    find: FindKey
    header: str = "x-api-key"

    def read(self, request: Request) -> Reading | Awaitable[Reading]:
        """See Resolver."""
        given = request.one(self.header.lower())
        bearer = request.bearer()
        if bearer is not None and bearer.startswith(PREFIX):
            if given is not None:
                raise Problem(400, "two-values", f"Two keys are given: in authorization and in {self.header}.")
            given = bearer
        if given is None:
            return None
        lookup = lookup_part(given)
        if lookup is None:
            raise _bad_key()
        presented = hashed(given)
        found = self.find(lookup, presented)
        if inspect.isawaitable(found):
            return self._checked_async(lookup, presented, found)
        return self._checked(lookup, presented, found)

    async def _checked_async(self, lookup: str, presented: bytes, found: Awaitable[Stored]) -> Reading:
        return self._checked(lookup, presented, await found)

    def _checked(self, lookup: str, presented: bytes, stored: Stored) -> Reading:
        if not is_valid(stored, presented) or stored is None:
            raise _bad_key()
        return Identification(
            names=(stored.tenant,), by="the API key", authenticates=True, scopes=stored.scopes, subject=lookup
        )  # fmt: skip


def _bad_key() -> Problem:
    return unauthenticated("invalid-key", "The API key is not valid.")


@dataclass(frozen=True, slots=True)
class Claim:
    """A verified claim: of a token (`tenantry_app.jwt.Tokens`), or of a session that the framework has read.

    `claims`: a function, or an async one, from a Request to the verified claims; None if there are none. It raises
    Problem for a credential that is not valid. `name`: the claim that contains a tenant's key or slug, or a list of
    those of which the user is a member; another resolver then names the one. `scopes`: the claim that contains "read"
    and "write", as a list or a text with blanks; without one, both are granted.
    """

    claims: Callable[[Request], Claims | Awaitable[Claims]]
    name: str = "tenant"
    scopes: str | None = None

    def read(self, request: Request) -> Reading | Awaitable[Reading]:
        """See Resolver."""
        found = self.claims(request)
        return self._identified_async(found) if inspect.isawaitable(found) else self._identified(found)

    async def _identified_async(self, found: Awaitable[Claims]) -> Reading:
        return self._identified(await found)

    def _identified(self, claims: Claims) -> Reading:
        if claims is None:
            return None
        value = claims.get(self.name)
        names = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not names or not all(
            isinstance(one, str | int) and one != "" and not isinstance(one, bool) for one in names
        ):
            raise Problem(403, "no-tenant-claim", f"The credential has no tenant in its claim {self.name}.")
        subject = claims.get("sub")
        return Identification(
            names=tuple(map(str, names)), by=f"the claim {self.name}", authenticates=True, scopes=self._scopes(claims),
            subject=subject if isinstance(subject, str) else None,
        )  # fmt: skip

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str] | None:
        if self.scopes is None:
            return None
        value = claims.get(self.scopes)
        words = value.split() if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
        return frozenset(str(word) for word in words)


@dataclass(frozen=True, slots=True, init=False)
class Header:
    """A header, such as `X-Org-Id`, that contains a key or slug.

    It selects no tenant alone, unless the connection comes from one of `gateways`: addresses or networks of proxies
    that authenticate and always write the header themselves. Then it counts as authenticated.
    """

    name: str
    gateways: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    def __init__(self, name: str = "x-org-id", *, gateways: Iterable[str] = ()) -> None:
        """Raises ValueError for a text that is neither an address nor a network."""
        object.__setattr__(self, "name", name.lower())
        object.__setattr__(self, "gateways", tuple(ipaddress.ip_network(one) for one in gateways))

    def read(self, request: Request) -> Reading:
        """See Resolver."""
        value = request.one(self.name)
        if value is None:
            return None
        return Identification(
            names=(value,), by=f"the header {self.name}", authenticates=request.comes_from(self.gateways)
        )  # fmt: skip


_LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, init=False)
class Subdomain:
    """The label before one of the application's `domains` in the request's host: the slug, in Unicode if it is IDNA.

    The domain itself, the labels in `reserved`, addresses and other hosts name no tenant. A host with more than one
    label before the domain belongs to no tenant (404). With `public` the host selects the tenant of a request without a
    credential.
    """

    domains: tuple[str, ...]
    reserved: frozenset[str]
    public: bool

    def __init__(self, *domains: str, reserved: Iterable[str] = ("www",), public: bool = False) -> None:
        """Raises ValueError without a domain, or for a text that is not one."""
        ascii_domains = tuple(sorted((_ascii(one) for one in domains), key=len, reverse=True))
        if not ascii_domains or not all(ascii_domains):
            raise ValueError("Subdomain needs its own domains, such as shop.example")
        object.__setattr__(self, "domains", ascii_domains)
        object.__setattr__(self, "reserved", frozenset(reserved))
        object.__setattr__(self, "public", public)

    def read(self, request: Request) -> Reading:
        """See Resolver."""
        value = request.one("host")
        if value is None:
            return None
        host = _host(value)
        if host is None:
            return None
        for domain in self.domains:
            if host == domain:
                return None
            if host.endswith("." + domain):
                label = host[: -len(domain) - 1]
                if "." in label:
                    raise Problem(404, "unknown-tenant", "This host serves no tenant.")
                if label in self.reserved:
                    return None
                return Identification(names=(_unicode(label),), by="the host", authenticates=False, selects=self.public)
        return None


def _ascii(domain: str) -> str:
    try:
        return domain.rstrip(".").lower().encode("idna").decode()
    except UnicodeError:
        return ""


def _host(value: str) -> str | None:
    """The host's name in lower case, without port and trailing dot; None for an address. Raises Problem (400)."""
    if value.startswith("["):
        inside, bracket, port = value[1:].partition("]")
        if not bracket or not re.fullmatch(r"(:\d{0,5})?", port) or not _is_address(inside):
            raise _bad_host()
        return None
    name, colon, port = value.lower().partition(":")
    if colon and not re.fullmatch(r"\d{0,5}", port):
        raise _bad_host()
    if name.endswith("."):
        name = name[:-1]
    if _is_address(name):
        return None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise _bad_host()
    return name


def _unicode(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        text = label.encode().decode("idna")
        if text.encode("idna").decode() == label:
            return text
    except UnicodeError:
        pass
    raise _bad_host()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _bad_host() -> Problem:
    return Problem(400, "bad-host", "The header host is not a valid host name.")


@dataclass(frozen=True, slots=True)
class PathPrefix:
    """The part of the path after `prefix`: /t/acme/orders names acme, and is served as /orders of an application that
    is mounted at /t/acme.

    With `public` the path selects the tenant of a request without a credential.
    """

    prefix: str = "/t"
    public: bool = False

    def __post_init__(self) -> None:
        if not self.prefix.startswith("/") or self.prefix.endswith("/"):
            raise ValueError("a path's prefix begins with a slash, and does not end with one")

    def read(self, request: Request) -> Reading:
        """See Resolver."""
        if not request.path.startswith(self.prefix + "/"):
            return None
        name = request.path[len(self.prefix) + 1 :].partition("/")[0]
        if not name or not name.isprintable():
            raise Problem(404, "unknown-tenant", "This path serves no tenant.")
        return Identification(
            names=(name,), by="the path", authenticates=False, selects=self.public, mount=f"{self.prefix}/{name}"
        )
