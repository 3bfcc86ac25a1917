"""examples/enterprise, driven as a process: what it serves, and what attacks come to."""

from __future__ import annotations

import base64
import hmac
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from requesting import make_key
from servers import Database, Server
from serving import EXAMPLE, MADE, ROLE, build, uvicorn
from tenantry import revoke_key, rotate_key
from tenantry.postgres.connect import Target


@dataclass
class Service:
    """A service that runs."""

    base: str
    database: Database

    def ask(self, path: str, who: str | None = "north", method: str = "GET", **more: Any) -> httpx.Response:
        """As an organisation's key, a key itself, or nobody."""
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers.setdefault("X-API-Key", MADE["keys"].get(who, who))
        return httpx.request(method, self.base + path, headers=headers, timeout=30, **more)

    def move(self, who: str = "north", key: str | None = None, **body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        whole = {"movement_type": "receipt", "quantity": "1", **body}
        return self.ask("/api/movements", who, "POST", json=whole, headers=headers)

    def items(self, who: str = "north") -> list[dict[str, Any]]:
        return self.ask("/api/items-enterprise", who).json()["items"]  # type: ignore[no-any-return]

    def place(self, who: str = "north") -> dict[str, int]:
        """An item and a location, of one of the organisation's balances."""
        first = self.ask("/api/balances", who).json()["balances"][0]
        return {"item_id": first["item_id"], "location_id": first["location_id"]}


LOGIN, STRANGER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
PUBLIC = LOGIN.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)  # fmt: skip


def token(key: Any = LOGIN, algorithm: str | None = "RS256", **claims: Any) -> str:
    """What the login of people gives out, or somebody else."""
    organization = MADE["organizations"]["north"]
    known = {"aud": "enterprise-inventory", "exp": time.time() + 600, "sub": "somebody", "org": organization}
    whole = {name: value for name, value in {**known, "scope": "read", **claims}.items() if value is not None}
    return jwt.encode(whole, key, algorithm)


def signed_with_what_everybody_has() -> str:
    """HS256, with the public key for the secret."""
    parts = [{"alg": "HS256", "typ": "JWT"}, jwt.decode(token(), options={"verify_signature": False})]
    said = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    mac = base64.urlsafe_b64encode(hmac.new(PUBLIC, said, "sha256").digest()).rstrip(b"=")
    return f"{said.decode()}.{mac.decode()}"


@pytest.fixture(scope="module")
def service(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests here: those that write say what is their own."""
    key = tmp_path_factory.mktemp("login") / "public.pem"
    key.write_bytes(PUBLIC)
    database = server.create(f"example_{uuid.uuid4().hex[:8]}", server.template("example", build))
    settings = {"POOL_SIZE": "3", "DRIFT_SECONDS": "0", "TOKEN_KEY": str(key)}
    with uvicorn("app:app", EXAMPLE, DATABASE_URL=application(database), **settings) as base:
        yield Service(base, database)
    server.drop(database)


def application(database: Database) -> str:
    return f"{database.dsn} user={ROLE}".replace("user=postgres ", "")


def kind(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:tenantry:problem:")


# -- What it serves


def test_health(service: Service) -> None:
    assert service.ask("/health/live", None).json() == {"status": "live"}
    service.items()
    ready = service.ask("/health/ready", None)
    assert (ready.status_code, ready.json()) == (
        200, {"ready": True, "database": True, "migrated": True, "drift": "0"}
    )  # fmt: skip


def test_readiness_says_what_is_wrong(service: Service) -> None:
    """A balance that is not what its ledger says; a table without row security; a role that passes the policies."""
    database = service.database
    query = "SELECT oid::regclass::text FROM pg_class WHERE relname LIKE 'balances_%inventory%' AND relkind = 'r'"
    table = database.rows(query)[0][0]
    service.items()
    for wrong, right, found in (
        (
            f"UPDATE {table} SET quantity = quantity + 5",
            f"UPDATE {table} SET quantity = quantity - 5",
            {"migrated": True},
        ),
        (
            "ALTER TABLE items NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE items FORCE ROW LEVEL SECURITY",
            {"migrated": False},
        ),
        (f"ALTER ROLE {ROLE} BYPASSRLS", f"ALTER ROLE {ROLE} NOBYPASSRLS", {"migrated": False}),
    ):
        database.execute(wrong)
        try:
            ready = service.ask("/health/ready", None)
        finally:
            database.execute(right)
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert ready.json() | found == ready.json()
    assert service.ask("/health/ready", None).status_code == 200


def test_pages(service: Service) -> None:
    """Keyset pages, in each order, come to the whole; search takes its text as it is."""
    for sort in ("code", "name", "category"):
        found, path = [], f"/api/items-enterprise?limit=2&sort={sort}"
        cursor: str | None = ""
        while cursor is not None:
            page = service.ask(path + (f"&cursor={cursor}" if cursor else "")).json()
            found += page["items"]
            cursor = page["next"]
        assert [item["name"] for item in found] == [f"north item {number}" for number in (1, 2, 3)]
    for search, count in (("item 2", 1), ("ITEM", 3), ("I3", 1), ("%", 0), ("_", 0), ("\\", 0), ("", 3)):
        answer = service.ask("/api/items-enterprise", params={"search": search})
        assert len(answer.json()["items"]) == count
    assert len(service.ask("/api/items-enterprise?limit=100", "default").json()["items"]) > 3


def test_an_item_with_its_balances(service: Service) -> None:
    item = service.items()[0]
    answer = service.ask(f"/api/items-enterprise/{item['id']}")
    assert answer.json() | {"balances": []} == item | {"balances": []}
    assert {one["quantity"] for one in answer.json()["balances"]} >= {"10.000"}
    again = service.ask(f"/api/items-enterprise/{item['id']}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert kind(service.ask("/api/items-enterprise/999999999")) == "no-such-item"


def test_movements(service: Service) -> None:
    """Entered once for each Idempotency-Key, also where many come at once; balances follow."""
    place = service.place("south")
    key = uuid.uuid4().hex
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: service.move("south", key, **place, quantity="2.5"), range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 5
    query = {"item_id": place["item_id"], "location_id": place["location_id"]}
    balance = service.ask("/api/balances", "south", params=query).json()["balances"][0]["quantity"]
    assert Decimal(balance) == Decimal("12.5") == Decimal(answers[0].json()["balance"])
    assert kind(service.move("south", key, **place, quantity="3")) == "key-used"
    assert service.database.rows(f"SELECT count(*) FROM inventory_ledger WHERE id = {answers[0].json()['id']}") == [
        (1,)
    ]


@pytest.mark.parametrize(
    "body",
    [{"quantity": "-1"}, {"quantity": "0"}, {"quantity": "NaN"}, {"quantity": "Infinity"}, {"quantity": "1e30"},
     {"quantity": "0.0001"}, {"movement_type": "gift"}, {"reference": "a\0b"}, {"item_id": 2**63}, {"item_id": 0},
     {"org_id": "x"}, {"reference": "x" * 201}, {"lot_id": 999999}],
)  # fmt: skip
def test_bad_movements(service: Service, body: dict[str, Any]) -> None:
    before = service.database.rows("SELECT count(*) FROM inventory_ledger")
    answer = service.move(**(service.place() | body))
    assert answer.status_code == 422
    assert kind(answer) in ("bad-input", "bad-values", "bad-sign")
    assert service.database.rows("SELECT count(*) FROM inventory_ledger") == before


def test_a_key_that_may_only_read(service: Service) -> None:
    assert service.ask("/api/balances", MADE["reader"]).status_code == 200
    answer = service.ask("/api/movements", MADE["reader"], "POST", json={})
    assert (answer.status_code, kind(answer)) == (403, "insufficient-scope")


def test_a_key_that_is_rotated_and_revoked(service: Service) -> None:
    """The old one is good until the overlap is over; a revoked one is not served once it was forgotten."""
    target = Target(service.database.dsn)
    first = rotate_key(target, MADE["keys"]["default"])
    assert service.ask("/api/balances", first.secret).status_code == 200
    assert service.ask("/api/balances", "default").status_code == 200
    revoke_key(target, first.key.lookup)
    assert served_until(service, first.secret, 401)


def served_until(service: Service, key: str, status: int) -> bool:
    return any(service.ask("/api/balances", key).status_code == status or time.sleep(0.5) for _ in range(40))


def test_an_organisation_that_is_suspended(service: Service) -> None:
    """Once the directory has forgotten that it was active."""
    service.database.execute("UPDATE organizations SET status = 'suspended' WHERE slug = 'default'")
    assert served_until(service, MADE["keys"]["default"], 403)
    service.database.execute("UPDATE organizations SET status = 'active' WHERE slug = 'default'")
    assert served_until(service, MADE["keys"]["default"], 200)


# -- Attacks: none shows, or changes, what is another organisation's


@pytest.fixture
def unchanged(service: Service) -> Iterator[None]:
    """South has what it had."""
    query = (
        "SELECT (SELECT count(*) FROM inventory_ledger l WHERE l.org_id = o.id), (SELECT count(*) FROM items i WHERE"
        " i.org_id = o.id), (SELECT count(*) FROM request_keys k WHERE k.org_id = o.id) FROM organizations o"
        " WHERE slug = 'south'"
    )
    before = service.database.rows(query)
    yield
    assert service.database.rows(query) == before


@pytest.mark.usefixtures("unchanged")
def test_ids_of_others(service: Service) -> None:
    """In the path, in filters, in the body."""
    theirs, south = service.place("south"), service.items("south")[0]["id"]
    assert (
        service.ask(f"/api/items-enterprise/{south}").text
        == service.ask(f"/api/items-enterprise/{south}", "default").text
        != service.ask(f"/api/items-enterprise/{south}", "south").text
    )
    assert service.ask("/api/balances", params={"item_id": south}).json() == {"balances": [], "next": None}
    ours = service.place()
    for body in (theirs, ours | {"item_id": south}, ours | {"location_id": theirs["location_id"]}):
        assert kind(service.move(**body)) == "bad-values"
    for field in ("org_id", "tenant_id", "organization"):
        assert service.move(**ours, **{field: MADE["organizations"]["south"]}).status_code == 422
        assert (
            len(service.ask("/api/items-enterprise", params={field: MADE["organizations"]["south"]}).json()["items"])
            == 3
        )


@pytest.mark.usefixtures("unchanged")
def test_cursors_tags_and_idempotency_keys_of_others(service: Service) -> None:
    cursor = service.ask("/api/items-enterprise?limit=1", "south").json()["next"]
    found = service.ask("/api/items-enterprise", params={"cursor": cursor}).json()["items"]
    assert all(item["name"].startswith("north") for item in found)
    for made_up in ("x", "WzFd", "AAAA", "🦀", base64.b64encode(b"[" * 500).decode(), cursor[:-4]):
        assert service.ask("/api/items-enterprise", params={"cursor": made_up}).status_code == 400
    for values in ([1, 1], ["a", "b"], ["a", 2**70], ["a\0", 1], ["\ud800", 1], ["a", 1.5], ["a", True], [["a"], 1]):
        text = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
        assert service.ask("/api/items-enterprise", params={"cursor": text}).status_code == 400
    ours, theirs = service.items()[0]["id"], service.items("south")[0]["id"]
    tag = service.ask(f"/api/items-enterprise/{theirs}", "south").headers["etag"]
    assert service.ask(f"/api/items-enterprise/{theirs}", headers={"If-None-Match": tag}).status_code == 404
    assert service.ask(f"/api/items-enterprise/{ours}", headers={"If-None-Match": tag}).status_code == 200
    key = uuid.uuid4().hex
    first = service.move("default", key, **service.place("default"))
    second = service.move("north", key, **service.place())
    assert (first.status_code, second.status_code) == (201, 201)
    assert "idempotent-replayed" not in second.headers
    assert first.json()["id"] != second.json()["id"]


@pytest.mark.usefixtures("unchanged")
def test_headers_against_the_key(service: Service) -> None:
    south = MADE["organizations"]["south"]
    assert service.ask("/api/balances", headers={"X-Org-Id": "north"}).status_code == 200
    answers = {
        service.ask("/api/balances", headers={"X-Org-Id": name}).text for name in ("south", south, "nobody", "0")
    }
    assert len(answers) == 1
    assert "tenants-disagree" in answers.pop()
    assert kind(service.ask("/api/balances", None, headers={"X-Org-Id": "south"})) == "no-credential"
    for name in ("X-Forwarded-Host", "Forwarded", "X-Original-URL", "X-Tenant-Id", "X-Forwarded-For", "X_Org_Id"):
        names = {
            item["name"][:5] for item in service.ask("/api/items-enterprise", headers={name: south}).json()["items"]
        }
        assert names == {"north"}
    assert service.ask("/api/balances", headers={"Host": "south.evil.example"}).status_code == 200
    both = [("X-API-Key", MADE["keys"]["north"]), ("X-API-Key", MADE["keys"]["south"])]
    assert httpx.get(service.base + "/api/balances", headers=both).status_code == 400
    twice = [("X-API-Key", MADE["keys"]["north"]), ("X-Org-Id", "north"), ("X-Org-Id", "south")]
    assert httpx.get(service.base + "/api/balances", headers=twice).status_code == 400


@pytest.mark.usefixtures("unchanged")
def test_tokens_of_the_login(service: Service) -> None:
    """A token is its organisation's, and what its scope says; another's header or key beside it is refused."""
    bearer = {"Authorization": f"Bearer {token()}"}
    found = service.ask("/api/items-enterprise", None, headers=bearer)
    assert [item["name"] for item in found.json()["items"]] == [item["name"] for item in service.items()]
    assert service.ask("/api/movements", None, "POST", json={}, headers=bearer).status_code == 403
    south = MADE["organizations"]["south"]
    for headers in ({**bearer, "X-Org-Id": south}, {**bearer, "X-API-Key": MADE["keys"]["south"]}):
        refused = service.ask("/api/items-enterprise", None, headers=headers)
        assert (refused.status_code, kind(refused)) == (403, "tenants-disagree")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "made",
    [
        lambda: token(STRANGER),
        lambda: token(exp=time.time() - 5),
        lambda: token(nbf=time.time() + 600),
        lambda: token(aud="another"),
        lambda: token(aud=None),
        lambda: token(None, "none"),
        signed_with_what_everybody_has,
        lambda: token()[:-4] + "AAAA",
    ],
    ids=["forged", "expired", "not yet", "for another", "for nobody", "none", "by the public key", "changed"],
)  # fmt: skip
def test_bad_tokens(service: Service, made: Callable[[], str]) -> None:
    """None of them is believed, whichever organisation it names; a header beside it changes nothing."""
    for more in ({}, {"X-Org-Id": MADE["organizations"]["north"]}):
        refused = service.ask("/api/items-enterprise", None, headers={"Authorization": f"Bearer {made()}", **more})
        assert refused.status_code == 401


@pytest.mark.usefixtures("unchanged")
def test_guessed_keys(service: Service) -> None:
    """Unknown, forged, cut and mixed ones get one answer; and a guess of the secret costs as much as an unknown key."""
    known = MADE["keys"]["south"]
    guesses = [make_key("guess"), make_key(known[3:11], "x"), known[:-1], known + "x", known.upper(), "tk_", "", "null"]
    guesses.append(known[:12] + MADE["keys"]["north"][12:])
    answers = [service.ask("/api/balances", guess) for guess in guesses if guess]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "text",
    ["' OR true --", "'; DROP TABLE items; --", "1; RESET app.tenant_id", "$$", "\\'", "%27", "x' UNION SELECT 1"],
)
def test_sql_in_every_parameter(service: Service, text: str) -> None:
    """It is a value, or refused."""
    south = {item["name"] for item in service.items("south")}
    for path, name in (
        ("/api/items-enterprise", "search"), ("/api/items-enterprise", "sort"), ("/api/items-enterprise", "limit"),
        ("/api/items-enterprise", "cursor"), ("/api/balances", "item_id"), ("/api/balances", "location_id"), ("/api/balances", "cursor"),
    ):  # fmt: skip
        answer = service.ask(path, params={name: text})
        assert answer.status_code in (200, 400, 422)
        assert not any(name in answer.text for name in south)
    assert service.ask(f"/api/items-enterprise/{text}").status_code in (404, 422)
    for field in ("item_id", "location_id", "lot_id", "quantity", "movement_type"):
        assert service.move(**(service.place() | {field: text})).status_code == 422
    assert service.move(**service.place(), reference=text).status_code == 201
    assert service.move(key=text.replace(" ", "+"), **service.place()).status_code == 201
    for header in ("X-API-Key", "X-Org-Id"):
        assert service.ask("/api/balances", headers={header: text}).status_code in (400, 401, 403)


def test_a_client_that_goes_away(service: Service) -> None:
    """While its statement waits for a lock: whoever gets the connection next sees its own rows."""
    with psycopg.connect(service.database.dsn) as holding:
        holding.execute("LOCK TABLE items")
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                httpx.get(
                    service.base + "/api/items-enterprise", headers={"X-API-Key": MADE["keys"]["south"]}, timeout=0.5
                )
    for who in ("north", "south", "north", "south", "north"):
        assert {item["name"][:5] for item in service.items(who)} == {who}


def test_all_at_once(service: Service) -> None:
    """Three connections, many organisations: no answer has another one's rows."""
    who = ["north", "south"] * 40
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(service.items, who))
    for one, items in zip(who, found, strict=True):
        assert {item["name"][:5] for item in items} == {one}


def test_every_answer_is_as_documented(service: Service, tmp_path: Path) -> None:
    """schemathesis makes requests up from the OpenAPI document, good ones and bad: no 500, and each answer's status,
    type and body are in the document."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{service.base}/openapi.json", "--checks", checks,
            "--header", f"X-API-Key: {MADE['keys']['north']}", "--max-examples", "6", "--seed", "1",
            "--phases", "coverage,fuzzing", "--no-color",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert "6 selected" in done.stdout or "6 tested" in done.stdout, done.stdout[-3000:]
