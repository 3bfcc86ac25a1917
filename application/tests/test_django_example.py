"""The Django sibling of the example: its admin, and its page for programs, as a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from servers import Database, Server
from serving import EXAMPLE, MADE, PATHS, ROLE, address, build, ended


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    made = server.create(f"django_{uuid.uuid4().hex[:8]}", server.template("example", build))
    yield made
    server.drop(made)


@pytest.fixture(scope="module")
def base(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = conninfo_to_dict(database.dsn)
    process = subprocess.Popen(
        [sys.executable, "serve.py", "0", "ann", MADE["organizations"]["north"]],
        cwd=EXAMPLE / "django", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={
            **os.environ, "PYTHONPATH": PATHS, "PGHOST": str(options["host"]), "PGPORT": str(options.get("port") or 5432),
            "PGDATABASE": str(options["dbname"]), "PGUSER": ROLE, "PASSWORD": "ann's", "SECRET_KEY": uuid.uuid4().hex,
            "CONTROL": str(tmp_path_factory.mktemp("control") / "control.sqlite3"), "PYTHONDONTWRITEBYTECODE": "1",
        },
    )  # fmt: skip
    with ended(process) as reading:
        yield address(process, reading)


@pytest.fixture
def ann(base: str) -> Iterator[httpx.Client]:
    """Ann of north, who has logged in."""
    with httpx.Client(base_url=base, follow_redirects=True, timeout=30) as client:
        page = client.get("/admin/login/?next=/admin/")
        answer = client.post(
            "/admin/login/?next=/admin/",
            data={"username": "ann", "password": "ann's", "csrfmiddlewaretoken": token(page), "next": "/admin/"},
        )
        assert answer.status_code == 200
        yield client


def token(page: httpx.Response) -> str:
    return re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[0]


def test_the_admin(ann: httpx.Client, database: Database) -> None:
    """It lists, adds and changes what is north's; what is south's is not there for it."""
    page = ann.get("/admin/inventory/item/")
    assert all(f"north item {number}" in page.text for number in (1, 2, 3))
    assert "south item" not in page.text
    form = ann.get("/admin/inventory/item/add/")
    values = {"code": "I9", "name": "north item 9", "category": "dry", "unit": "kg", "unit_cost": "1", "_save": "Save"}
    assert (
        "was added successfully"
        in ann.post("/admin/inventory/item/add/", data=values | {"csrfmiddlewaretoken": token(form)}).text
    )
    query = "SELECT o.slug FROM items i JOIN organizations o ON o.id = i.org_id WHERE i.name = 'north item 9'"
    assert database.rows(query) == [("north",)]
    south = database.rows(
        "SELECT min(i.id) FROM items i JOIN organizations o ON o.id = i.org_id WHERE o.slug = 'south'"
    )[0][0]
    for path in (f"/admin/inventory/item/{south}/change/", f"/admin/inventory/item/{south}/delete/"):
        assert "doesn’t exist" in ann.get(path).text
    place = database.rows(
        "SELECT min(l.id) FROM locations l JOIN organizations o ON o.id = l.org_id WHERE o.slug = 'north'"
    )[0][0]
    form = ann.get("/admin/inventory/movement/add/")
    values = {"item": str(south), "location": str(place), "movement_type": "receipt", "quantity": "1", "reference": ""}
    refused = ann.post("/admin/inventory/movement/add/", data=values | {"csrfmiddlewaretoken": token(form)})
    assert "Select a valid choice" in refused.text


def test_whose_it_is(ann: httpx.Client, base: str) -> None:
    """The session decides; header and key have to agree; without either nothing is served."""
    assert ann.get("/api/items-enterprise").json()["items"][0]["name"] == "north item 1"
    keys, organizations = MADE["keys"], MADE["organizations"]
    for headers in ({"X-Org-Id": organizations["south"]}, {"X-API-Key": keys["south"]}, {"X-Org-Id": "nobody"}):
        answer = ann.get("/api/items-enterprise", headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:tenantry:problem:tenants-disagree")
    assert ann.get("/api/items-enterprise", headers={"X-API-Key": keys["north"]}).status_code == 200
    south = httpx.get(base + "/api/items-enterprise", headers={"X-API-Key": keys["south"]})
    assert [item["name"] for item in south.json()["items"]] == [f"south item {number}" for number in (1, 2, 3)]
    for path in ("/api/items-enterprise", "/admin/", "/admin/inventory/item/"):
        assert httpx.get(base + path).status_code == 401
