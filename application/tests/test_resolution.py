"""Whose a request is: every resolver alone and in pairs, through ASGI and WSGI."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from requesting import WAYS, Answer, Counting, make_key, stored
from tenantry_app import ApiKey, Claim, Header, PathPrefix, Problem, Resolution, Subdomain, Tenant, configure, current
from tenantry_app.requests import from_scope
from tenantry_app.resolvers import Resolver

TENANTS = (
    Tenant("1", "acme"), Tenant("2", "blue"), Tenant("3", "münchen"), Tenant("9", "shut", status="suspended"),
)  # fmt: skip
SOON = datetime.now(UTC) + timedelta(hours=1)
PAST = datetime.now(UTC) - timedelta(seconds=1)
ACME, BLUE, SHUT, GONE, READER, WRITER = map(make_key, ("acme", "blue", "shut", "gone", "reader", "writer"))
EXPIRED, FORGED, STRANGE = make_key("expired"), make_key("acme", "x"), make_key("strange")
KEYS = (
    stored(ACME, "1", ends_at=SOON), stored(BLUE, "2"), stored(SHUT, "9"), stored(GONE, "77"), stored(EXPIRED, "1", ends_at=PAST),
    stored(READER, "1", ["read"]), stored(WRITER, "1", ["write"]),
)  # fmt: skip
HOST = "shop.example"


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


def x_api_key(token: str) -> tuple[str, str]:
    return "X-API-Key", token


def org(name: str) -> tuple[str, str]:
    return "X-Org-Id", name


def host(name: str) -> tuple[str, str]:
    return "Host", name


def session(*names: Any, **claims: Any) -> Claim:
    """Claims that a session holds."""
    value = names[0] if len(names) == 1 else list(names)
    return Claim(lambda request: {"tenant": value, **claims}, scopes="scope" if "scope" in claims else None)


def no_session() -> Claim:
    return Claim(lambda request: None)


@pytest.fixture
def directory() -> Counting:
    return Counting(TENANTS, KEYS)


Ask = Callable[..., Answer]


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest, directory: Counting) -> Ask:
    """Asks for the tenant by these resolvers, where "key" stands for ApiKey."""

    def ask(resolvers: Iterable[Resolver | str], *headers: tuple[str, str], **more: Any) -> Answer:
        chosen = [ApiKey(directory.find_key) if isinstance(one, str) else one for one in resolvers]
        return request.param(Resolution(*chosen, directory=directory), headers, **more)

    return ask


# -- Each alone

ALONE: list[tuple[str, Any, list[tuple[str, str]], int, str, int]] = [
    ("key", "key", [bearer(ACME)], 200, "1", 2),
    ("key in its header", "key", [x_api_key(ACME)], 200, "1", 2),
    ("the scheme in lower case", "key", [("authorization", f"bearer {ACME}")], 200, "1", 2),
    ("no key", "key", [], 401, "no-credential", 0),
    ("another scheme", "key", [("Authorization", "Basic YTpi")], 401, "no-credential", 0),
    ("a token that is no key", "key", [bearer("abc.def.ghi")], 401, "no-credential", 0),
    ("malformed key", "key", [bearer("tk_acme")], 401, "invalid-key", 0),
    ("a typing error", "key", [bearer(ACME[:-8] + "Z" + ACME[-7:])], 401, "invalid-key", 0),
    ("unknown key", "key", [bearer(STRANGE)], 401, "invalid-key", 1),
    ("another secret", "key", [bearer(FORGED)], 401, "invalid-key", 1),
    ("expired key", "key", [bearer(EXPIRED)], 401, "invalid-key", 1),
    ("two keys in one header", "key", [x_api_key(ACME), x_api_key(BLUE)], 400, "two-values", 0),
    ("one key twice", "key", [x_api_key(ACME), x_api_key(ACME)], 400, "two-values", 0),
    ("two authorizations", "key", [bearer(ACME), bearer(BLUE)], 400, "two-values", 0),
    ("joined", "key", [x_api_key(f"{ACME}, {BLUE}")], 400, "two-values", 0),
    ("joined as servers do", "key", [bearer(f"{ACME},Bearer {BLUE}")], 400, "two-values", 0),
    ("keys in both headers", "key", [bearer(ACME), x_api_key(BLUE)], 400, "two-values", 0),
    ("no token", "key", [("Authorization", "Bearer ")], 400, "bad-header", 0),
    ("empty key", "key", [x_api_key(" ")], 400, "bad-header", 0),
    ("key that is no ASCII", "key", [x_api_key("tk_é")], 400, "bad-header", 0),
    ("suspended", "key", [bearer(SHUT)], 403, "inactive-tenant", 2),
    ("unknown tenant", "key", [bearer(GONE)], 404, "unknown-tenant", 2),
    ("claim", session("acme"), [], 200, "1", 1),
    ("claim that is a number", session(1), [], 200, "1", 1),
    ("no claims", no_session(), [], 401, "no-credential", 0),
    ("no such claim", Claim(lambda request: {"sub": "ann"}), [], 403, "no-tenant-claim", 0),
    ("empty claim", session(""), [], 403, "no-tenant-claim", 0),
    ("claim of a wrong kind", session({"a": 1}), [], 403, "no-tenant-claim", 0),
    ("claim true", session(True), [], 403, "no-tenant-claim", 0),
    ("claim with NUL", session("a\0"), [], 404, "unknown-tenant", 1),
    ("unknown in a claim", session("none"), [], 404, "unknown-tenant", 1),
    ("suspended in a claim", session("shut"), [], 403, "inactive-tenant", 1),
    ("member of several", session("acme", "blue"), [], 400, "tenant-not-selected", 0),
    ("header", Header(), [org("acme")], 401, "no-credential", 0),
    ("header of nobody", Header(), [org("none")], 401, "no-credential", 0),
    ("header of a gateway elsewhere", Header(gateways=["10.0.0.0/8"]), [org("acme")], 401, "no-credential", 0),
    ("header of the gateway", Header(gateways=["192.0.2.0/24"]), [org("acme")], 200, "1", 1),
    ("gateway says nothing", Header(gateways=["192.0.2.1"]), [], 401, "no-credential", 0),
    ("gateway says two", Header(gateways=["192.0.2.1"]), [org("acme"), org("blue")], 400, "two-values", 0),
    ("gateway says unknown", Header(gateways=["192.0.2.1"]), [org("none")], 404, "unknown-tenant", 1),
    ("gateway says suspended", Header(gateways=["192.0.2.1"]), [org("shut")], 403, "inactive-tenant", 1),
    ("host", Subdomain(HOST), [host("acme.shop.example")], 401, "no-credential", 0),
    ("public", Subdomain(HOST, public=True), [host("acme.shop.example")], 200, "1", 1),
    ("upper case", Subdomain(HOST, public=True), [host("ACME.Shop.Example")], 200, "1", 1),
    ("port", Subdomain(HOST, public=True), [host("acme.shop.example:8443")], 200, "1", 1),
    ("trailing dot", Subdomain(HOST, public=True), [host("acme.shop.example.")], 200, "1", 1),
    ("dot and port", Subdomain(HOST, public=True), [host("acme.shop.example.:80")], 200, "1", 1),
    ("IDNA", Subdomain(HOST, public=True), [host("xn--mnchen-3ya.shop.example")], 200, "3", 1),
    ("own domain in Unicode", Subdomain("bücher.example", public=True), [host("acme.xn--bcher-kva.example")], 200, "1", 1),
    ("broken IDNA", Subdomain(HOST, public=True), [host("xn--99999999.shop.example")], 400, "bad-host", 0),
    ("Unicode in the header", Subdomain(HOST, public=True), [host("münchen.shop.example")], 400, "bad-header", 0),
    ("apex", Subdomain(HOST, public=True), [host("shop.example")], 401, "no-credential", 0),
    ("www", Subdomain(HOST, public=True), [host("www.shop.example")], 401, "no-credential", 0),
    ("IPv4", Subdomain(HOST, public=True), [host("127.0.0.1:80")], 401, "no-credential", 0),
    ("IPv6", Subdomain(HOST, public=True), [host("[::1]:80")], 401, "no-credential", 0),
    ("foreign host", Subdomain(HOST, public=True), [host("acme.evil.example")], 401, "no-credential", 0),
    ("ends alike", Subdomain(HOST, public=True), [host("acmeshop.example")], 401, "no-credential", 0),
    ("ours in front", Subdomain(HOST, public=True), [host("acme.shop.example.evil.example")], 401, "no-credential", 0),
    ("deeper", Subdomain(HOST, public=True), [host("a.acme.shop.example")], 404, "unknown-tenant", 0),
    ("longest domain first", Subdomain("example", HOST, public=True), [host("acme.shop.example")], 200, "1", 1),
    ("empty label", Subdomain(HOST, public=True), [host(".shop.example")], 400, "bad-host", 0),
    ("two dots", Subdomain(HOST, public=True), [host("acme.shop.example..")], 400, "bad-host", 0),
    ("user in the host", Subdomain(HOST, public=True), [host("acme@shop.example")], 400, "bad-host", 0),
    ("path in the host", Subdomain(HOST, public=True), [host("acme.shop.example/x")], 400, "bad-host", 0),
    ("no port", Subdomain(HOST, public=True), [host("acme.shop.example:x")], 400, "bad-host", 0),
    ("no bracket", Subdomain(HOST, public=True), [host("[::1")], 400, "bad-host", 0),
    ("two hosts", Subdomain(HOST, public=True), [host("acme.shop.example"), host("blue.shop.example")], 400, "two-values", 0),
    ("no host", Subdomain(HOST, public=True), [], 401, "no-credential", 0),
    ("host of nobody", Subdomain(HOST, public=True), [host("none.shop.example")], 404, "unknown-tenant", 1),
    ("host of a suspended one", Subdomain(HOST, public=True), [host("shut.shop.example")], 403, "inactive-tenant", 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("resolver", "headers", "status", "what", "asked"), [row[1:] for row in ALONE], ids=[row[0] for row in ALONE]
)
def test_alone(ask: Ask, directory: Counting, resolver: Any, headers: Any, status: int, what: str, asked: int) -> None:
    """The answer, and how many questions left."""
    answer = ask([resolver], *headers)
    assert answer.status == status
    assert (answer.served, len(directory.asked)) == (what if status == 200 else None, asked)
    if status != 200:
        assert answer.kind == what
    assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(
    ("path", "public", "status", "what", "asked"),
    [
        ("/t/acme/orders", True, 200, "1", 1),
        ("/t/acme", True, 200, "1", 1),
        ("/t/münchen/x", True, 200, "3", 1),
        ("/t/acme/orders", False, 401, "no-credential", 0),
        ("/t/none/orders", True, 404, "unknown-tenant", 1),
        ("/t/shut/orders", True, 403, "inactive-tenant", 1),
        ("/t//acme", True, 404, "unknown-tenant", 0),
        ("/t/", True, 404, "unknown-tenant", 0),
        ("/t/a\0b/", True, 404, "unknown-tenant", 0),
        ("/t", True, 401, "no-credential", 0),
        ("/tacme/x", True, 401, "no-credential", 0),
        ("/orders/t/acme", True, 401, "no-credential", 0),
    ],
)
def test_path(ask: Ask, directory: Counting, path: str, public: bool, status: int, what: str, asked: int) -> None:
    answer = ask([PathPrefix("/t", public=public)], path=path)
    assert (answer.status, answer.served, len(directory.asked)) == (status, what if status == 200 else None, asked)
    if status != 200:
        assert answer.kind == what


def test_the_application_is_mounted_below_the_path(ask: Ask) -> None:
    assert ask([PathPrefix(public=True)], path="/t/acme/orders").mounted == ("/t/acme", "/t/acme/orders")


# -- In pairs: the first that authenticates decides, the others must agree

SAYS: dict[str, Callable[[str], tuple[Any, list[tuple[str, str]], str]]] = {
    "key": lambda slug: ("key", [bearer({"acme": ACME, "blue": BLUE, "shut": SHUT, "none": GONE}[slug])], "/"),
    "claim": lambda slug: (session(slug), [], "/"),
    "gateway": lambda slug: (Header("x-gate", gateways=["192.0.2.1"]), [("X-Gate", slug)], "/"),
    "header": lambda slug: (Header(), [org(slug)], "/"),
    "host": lambda slug: (Subdomain(HOST), [host(f"{slug}.{HOST}")], "/"),
    "public host": lambda slug: (Subdomain(HOST, public=True), [host(f"{slug}.{HOST}")], "/"),
    "path": lambda slug: (PathPrefix(), [], f"/t/{slug}/x"),
}
PROVE = ("key", "claim", "gateway")
PAIRS = [(one, other) for one in SAYS for other in SAYS if one != other and {one, other} != {"host", "public host"}]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=map("+".join, PAIRS))
def test_pairs(ask: Ask, directory: Counting, one: str, other: str) -> None:
    """Agreement, disagreement with another, an unknown and a suspended tenant, silence of the second."""

    def both(first: str, second: str | None) -> Answer:
        resolvers, headers, path = [], [], "/"
        for name, slug in ((one, first), (other, second)):
            if slug is not None:
                resolver, more, where = SAYS[name](slug)
                headers += more
                path = where if where != "/" else path
            else:
                resolver = SAYS[name]("acme")[0] if name != "claim" else no_session()
            resolvers.append(resolver)
        directory.asked.clear()
        return ask(resolvers, *headers, path=path)

    proved = one in PROVE or other in PROVE
    selected = proved or "public host" in (one, other)
    agreed = both("acme", "acme")
    assert (agreed.status, agreed.served) == ((200, "1") if selected else (401, None))
    for first, second in (("acme", "blue"), ("acme", "none"), ("acme", "shut"), ("blue", "acme")):
        answer = both(first, second)
        decider = next(name for kinds in (PROVE, ("public host",), SAYS) for name in (one, other) if name in kinds)
        decided = first if decider == one else second
        if not selected:
            assert (answer.status, answer.kind, directory.asked) == (401, "no-credential", [])
        elif decided == "none":
            assert (answer.status, answer.kind) == (404, "unknown-tenant")
        else:
            assert (answer.status, answer.kind) == (403, "tenants-disagree")
    alone = both("acme", None)
    assert alone.status == (200 if one in PROVE or one == "public host" else 401)
    if selected:
        assert both("shut", "shut").kind == "inactive-tenant"
        assert both("none", "none").status == 404


def test_a_disagreement_says_nothing_of_other_tenants(ask: Ask) -> None:
    """Existing, suspended and unknown: one answer, to the letter."""
    answers = {ask(["key", Header()], bearer(ACME), org(name)).body for name in ("blue", "shut", "none", "2")}
    assert len(answers) == 1


def test_an_invalid_credential_is_not_passed_over(ask: Ask) -> None:
    """Another one that is valid does not make up for it."""
    assert ask([session("acme"), "key"], bearer(FORGED)).kind == "invalid-key"
    assert ask(["key", session("acme")], bearer(EXPIRED)).kind == "invalid-key"
    assert ask([Subdomain(HOST, public=True), "key"], bearer(FORGED), host(f"acme.{HOST}")).kind == "invalid-key"


def test_a_key_is_named_by_slug_and_by_key(ask: Ask) -> None:
    assert ask(["key", Header()], bearer(ACME), org("1")).served == "1"
    assert ask(["key", Header()], bearer(ACME), org("acme")).served == "1"


def test_three(ask: Ask) -> None:
    resolvers = ["key", Header(), Subdomain(HOST)]
    assert ask(resolvers, bearer(ACME), org("acme"), host(f"acme.{HOST}")).served == "1"
    assert ask(resolvers, bearer(ACME), org("acme"), host(f"blue.{HOST}")).status == 403
    assert ask(resolvers, org("acme"), host(f"acme.{HOST}")).status == 401


def test_members_of_several_say_which(ask: Ask) -> None:
    """By a header, which counts among the tenants of the claim alone."""
    member = session("acme", "2", "shut")
    assert ask([member, Header()], org("blue")).served == "2"
    assert ask([member, Header()], org("1")).served == "1"
    assert ask([member, Header()], org("münchen".encode().decode("latin-1"))).status == 400
    assert ask([member, Header()], org("3")).kind == "tenants-disagree"
    assert ask([member, Header()], org("none")).kind == "tenants-disagree"
    assert ask([member, Header()], org("shut")).kind == "inactive-tenant"
    assert ask([member, "key"], bearer(BLUE)).served == "2"


# -- Gateways


@pytest.mark.parametrize(
    ("peer", "status"),
    [("10.1.2.3", 200), ("::ffff:10.1.2.3", 200), ("fd00::1", 200), ("192.0.2.7", 401), ("10.1.2.3, 1.1.1.1", 401),
     ("", 401), (None, 401), ("testclient", 401)],
)  # fmt: skip
def test_gateways_are_named_by_address(ask: Ask, peer: str | None, status: int) -> None:
    gateway = Header(gateways=["10.0.0.0/8", "fd00::/8"])
    assert (
        ask([gateway], org("acme"), ("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Host", HOST), peer=peer).status
        == status
    )


# -- Scopes


@pytest.mark.parametrize(
    ("key", "method", "status", "read_only"),
    [(READER, "GET", 200, True), (READER, "HEAD", 200, True), (READER, "POST", 403, False), (READER, "DELETE", 403, False),
     (READER, "PURGE", 403, False), (WRITER, "POST", 200, False), (WRITER, "GET", 403, False), (ACME, "POST", 200, False)],
)  # fmt: skip
def test_scopes(ask: Ask, directory: Counting, key: str, method: str, status: int, read_only: bool) -> None:
    """Who may only read has transactions that are read-only, whatever the application does."""
    answer = ask(["key"], bearer(key), method=method)
    assert (answer.status, answer.read_only) == (status, read_only)
    if status == 403:
        assert answer.kind == "insufficient-scope"
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert len(directory.asked) == 1


def test_scopes_of_all_that_authenticate(ask: Ask) -> None:
    """A public host, or a gateway, in front of a key adds nothing to what that may."""
    for first in (Subdomain(HOST, public=True), Header(gateways=["192.0.2.1"]), session("acme", scope="read write")):
        answer = ask([first, "key"], bearer(READER), org("acme"), host(f"acme.{HOST}"), method="POST")
        assert answer.kind == "insufficient-scope"
    assert ask([session("acme", scope="write")], method="GET").status == 403
    assert ask([session("acme", scope=["read"])], method="GET").read_only


# -- Paths that are open


@pytest.mark.parametrize(
    ("path", "open"), [("/health", True), ("/health/", False), ("/docs/a", True), ("/docs", False), ("//health", False)]
)
def test_open_paths_have_no_tenant(request: pytest.FixtureRequest, directory: Counting, path: str, open: bool) -> None:
    resolution = Resolution(ApiKey(directory.find_key), directory=directory, open=["/health", "/docs/*"])
    for way in WAYS:
        answer = way(resolution, [bearer(FORGED)], path=path)
        assert (answer.status, answer.served) == ((200, "nobody") if open else (401, None))


# -- What it is made of


def test_the_directory_of_the_process(directory: Counting) -> None:
    resolution = Resolution(session("acme"))
    for way in WAYS:
        assert way(resolution).served == "acme"
        configure(directory=directory)
        assert way(resolution).served == "1"
        configure()


@pytest.mark.parametrize(
    "make",
    [Resolution, Subdomain, lambda: Subdomain(""), lambda: Header(gateways=["proxy"]), lambda: PathPrefix("t"), lambda: PathPrefix("/")],
)  # fmt: skip
def test_what_cannot_be_meant(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()


def test_a_resolver_of_ones_own(ask: Ask) -> None:
    class Refusing:
        def read(self, request: Any) -> None:
            raise Problem(451, "not-here", "Not from there.")

    answer = ask([Refusing()])
    assert (answer.status, answer.kind) == (451, "not-here")


def test_where_a_tenants_rows_are(directory: Counting) -> None:
    """The directory says it, and the request's tenant has it: which pool to take."""
    placed = Counting((Tenant("1", "acme", location="east"), Tenant("2", "blue", location="west")), KEYS)
    seen = []

    class Placed:
        def read(self, request: Any) -> None:
            return None

    resolution = Resolution(Placed(), ApiKey(placed.find_key), directory=placed)
    for key in (ACME, BLUE):
        request = from_scope({"type": "http", "method": "GET", "path": "/", "headers": [(b"x-api-key", key.encode())]})
        with resolution.resolve(request).block():
            seen.append(current().location)
    assert seen == ["east", "west"]
