"""The Node sibling of the example, with pg and with Prisma, on the same database."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from requesting import make_key
from servers import Database, Server
from serving import EXAMPLE, MADE, ROLE, address, build, ended

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not there"),
]


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    made = server.create(f"node_{uuid.uuid4().hex[:8]}", server.template("example", build))
    yield made
    server.drop(made)


@pytest.fixture(scope="module")
def base(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its modules are installed, and Prisma's client made: neither needs Prisma's engines, which are elsewhere."""
    folder = tmp_path_factory.mktemp("node") / "node"
    shutil.copytree(EXAMPLE / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    environment = {**os.environ, "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true", "CHECKPOINT_DISABLE": "1"}
    for command in (["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], ["npm", "run", "generate"]):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr
    options = conninfo_to_dict(database.dsn)
    process = subprocess.Popen(
        ["node", "server.js"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PORT": "0", "PGHOST": str(options["host"]), "PGPORT": str(options.get("port") or 5432),
             "PGDATABASE": str(options["dbname"]), "PGUSER": ROLE},
    )  # fmt: skip
    with ended(process) as reading:
        yield address(process, reading)


def ask(base: str, path: str, key: str | None = None, **headers: str) -> httpx.Response:
    if key is not None:
        headers["X-API-Key"] = key
    return httpx.get(base + path, headers=headers, timeout=30)


@pytest.mark.parametrize("path", ["/api/items-enterprise", "/api/items-prisma"])
def test_items(base: str, database: Database, path: str) -> None:
    """Each organisation its own, whatever a header says; one answer for all keys that are none."""
    keys, organizations = MADE["keys"], MADE["organizations"]
    for who in ("north", "south", "north"):
        found = ask(base, path, keys[who]).json()["items"]
        assert [item["name"] for item in found] == [f"{who} item {number}" for number in (1, 2, 3)]
        assert len(ask(base, path + "?limit=1", Authorization=f"Bearer {keys[who]}").json()["items"]) == 1
    north = keys["north"]
    for name in ("north", organizations["north"]):
        assert ask(base, path, north, **{"X-Org-Id": name}).status_code == 200
    for name in ("south", organizations["south"], "nobody"):
        assert ask(base, path, north, **{"X-Org-Id": name}).status_code == 403
    assert ask(base, path, **{"X-Org-Id": "north"}).status_code == 401
    refused = {ask(base, path, key).text for key in (make_key("none"), make_key(north[3:11], "x"), north[:-1], "tk_")}
    assert len(refused) == 1
    twice = [("X-API-Key", north), ("X-API-Key", keys["south"])]
    assert httpx.get(base + path, headers=twice).status_code == 400
    assert ask(base, path + "?limit=1;DROP", north).status_code == 422
    assert httpx.post(base + path, headers={"X-API-Key": north}).status_code == 405


def test_the_database_goes_away(base: str, database: Database) -> None:
    """Its connections are ended: 503 at most, then service."""
    for path in ("/api/items-enterprise", "/api/items-prisma"):
        assert ask(base, path, MADE["keys"]["north"]).status_code == 200
        with psycopg.connect(database.dsn) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [ROLE])
        statuses = [ask(base, path, MADE["keys"]["north"]).status_code for _ in range(4)]
        assert set(statuses) <= {200, 503}
        assert statuses[-1] == 200
