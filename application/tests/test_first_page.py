"""The first lines of docs/application.md, as they stand there: twelve for each framework, and each sees one tenant's rows."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from conftest import application
from django_project import Project
from requesting import make_key
from servers import Database
from shop import APPLICATION, NORTH, SOUTH, SPEC
from tenantry import create_key, revoke_key
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry_app import RoleRefused
from tenantry_app.asyncpg import TenantConnection as AsyncpgConnection
from tenantry_app.keys import AsyncpgKeys, AsyncPoolKeys, PoolKeys, StoredKey, hashed
from tenantry_app.psycopg import async_pool, pool

pytestmark = pytest.mark.server

PAGE = (Path(__file__).parents[2] / "docs" / "application.md").read_text()
ORDERS = {"north": [[1, "n1"], [2, "n2"], [3, "n3"]], "south": [[4, "s1"], [5, "s2"]]}


def blocks(framework: str) -> list[str]:
    """The code of a framework, which has twelve lines at most."""
    part = PAGE.split(f"### {framework}\n")[1].split("\n#")[0]
    found = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    assert 0 < sum(bool(line.strip()) for block in found for line in block.splitlines()) <= 12
    return found


@pytest.fixture
def keys(shop: Database) -> dict[str, str]:
    """A key for each tenant."""
    target, spec = Target(shop.dsn), Spec.parse(SPEC)
    return {slug: create_key(target, spec, slug, "till").secret for slug in ORDERS}


@pytest.fixture
def environment(shop: Database, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where the page's database is."""
    options = conninfo_to_dict(shop.dsn)
    monkeypatch.setenv("PGHOST", str(options["host"]))
    monkeypatch.setenv("PGPORT", str(options.get("port") or 5432))
    return {"dbname=shop": f"dbname={options['dbname']}"}


def module(code: str, replacing: dict[str, str]) -> ModuleType:
    for one, other in replacing.items():
        assert one in code
        code = code.replace(one, other)
    made = ModuleType("page")
    exec(compile(code, "docs/application.md", "exec"), vars(made))
    return made


def check_answers(
    ask: Callable[[dict[str, str]], httpx.Response], keys: dict[str, str], orders: Callable[[Any], Any]
) -> None:
    """Each key its rows, by both headers; none and a stranger's 401."""
    for slug, rows in ORDERS.items():
        for headers in ({"X-API-Key": keys[slug]}, {"Authorization": f"Bearer {keys[slug]}"}):
            answer = ask(headers)
            assert (answer.status_code, orders(answer.json())) == (200, rows)
    assert ask({}).status_code == ask({"X-API-Key": make_key("nobody")}).status_code == 401


def test_fastapi(keys: dict[str, str], environment: dict[str, str]) -> None:
    page = module(*blocks("FastAPI"), environment)

    async def answers() -> None:
        transport = httpx.ASGITransport(page.app)
        async with page.app.router.lifespan_context(page.app):
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                found = {
                    tuple(sorted(headers.items())): await client.get("/orders", headers=headers)
                    for key in (*keys.values(), make_key("nobody"))
                    for headers in ({}, {"X-API-Key": key}, {"Authorization": f"Bearer {key}"})
                }
        check_answers(lambda headers: found[tuple(sorted(headers.items()))], keys, lambda rows: rows)

    asyncio.run(answers())


def test_flask(keys: dict[str, str], environment: dict[str, str]) -> None:
    page = module(*blocks("Flask"), environment)
    try:
        with httpx.Client(transport=httpx.WSGITransport(page.app), base_url="http://x") as client:
            check_answers(lambda headers: client.get("/orders", headers=headers), keys, lambda rows: rows)
    finally:
        page.connections.close()


MODELS = """
from django.db import models
class Order(models.Model):
    note = models.TextField(null=True)
    class Meta:
        db_table = "orders"
"""
ASK = """
import asyncio, json, sys, django
django.setup()
from django.test import AsyncClient, Client
for line in sys.stdin:
    headers = json.loads(line)
    answers = [Client().get("/orders", headers=headers), asyncio.run(AsyncClient().get("/orders", headers=headers))]
    assert answers[0].content == answers[1].content
    print(json.dumps([answers[0].status_code, answers[0].content.decode()]))
"""


def test_django(keys: dict[str, str], environment: dict[str, str], shop: Database, tmp_path: Path) -> None:
    """In a project of its own, under WSGI and ASGI."""
    import json
    import subprocess

    project = Project(tmp_path, "shop", MODELS)
    settings, view = blocks("Django")
    settings = settings.replace('"NAME": "shop"', f'"NAME": "{conninfo_to_dict(shop.dsn)["dbname"]}"')
    settings = settings.replace('["tenantry_app.django"]', '["tenantry_app.django", "shop"]')
    (tmp_path / "settings.py").write_text(settings + 'ROOT_URLCONF = "shop.urls"\nALLOWED_HOSTS = ["*"]\n')
    (tmp_path / "shop" / "urls.py").write_text(
        view + 'from django.urls import path\nurlpatterns = [path("orders", orders)]\n'
    )
    asked = [{}, *({"X-API-Key": key} for key in (*keys.values(), make_key("nobody"))),
             *({"Authorization": f"Bearer {key}"} for key in keys.values())]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, input="\n".join(map(json.dumps, asked)),
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": f"{project.folder}:{Path(__file__).parents[1] / 'src'}"},
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(asked), done.stderr
    found = {
        json.dumps(one): httpx.Response(status, text=text) for one, (status, text) in zip(asked, lines, strict=True)
    }
    check_answers(lambda headers: found[json.dumps(headers)], keys, lambda document: document["orders"])


# -- Looking keys up, by each driver


@pytest.fixture
def looking(shop: Database, keys: dict[str, str]) -> tuple[str, str, str]:
    return application(shop), keys["north"], keys["south"]


def test_each_driver(shop: Database, looking: tuple[str, str, str]) -> None:
    """One key at a time; the last use of one that was presented is noted; none for a stranger."""
    dsn, north, south = looking
    revoke_key(Target(shop.dsn), south[3:11])

    def check(one: StoredKey | None, ended: StoredKey | None, none: StoredKey | None) -> None:
        assert one is not None
        assert ended is not None
        assert (one.tenant, one.scopes, none) == (NORTH, {"read", "write"}, None)
        assert (one.is_valid(hashed(north)), one.is_valid(hashed(south)), ended.tenant) == (True, False, SOUTH)
        assert not ended.is_valid(hashed(south))

    asked = [(north[3:11], hashed(north)), (south[3:11], hashed(south)), ("zzzzzzzz", b"")]
    with pool(dsn, min_size=1, max_size=1) as connections:
        check(*(PoolKeys(connections)(*one) for one in asked))
    assert shop.rows(
        f"SELECT count(*) FROM tenantry.api_keys WHERE last_used_at IS NOT NULL AND tenant = '{NORTH}'"
    ) == [(1,)]

    async def asynchronous() -> None:
        import asyncpg

        async with async_pool(dsn, min_size=1, max_size=1) as connections:
            check(*[await AsyncPoolKeys(connections)(*one) for one in asked])
        async with asyncpg.create_pool(
            host=conninfo_to_dict(dsn)["host"], port=int(conninfo_to_dict(dsn).get("port") or 5432), user=APPLICATION,
            database=conninfo_to_dict(dsn)["dbname"], connection_class=AsyncpgConnection, min_size=1, max_size=1,
        ) as connections:  # fmt: skip
            check(*[await AsyncpgKeys(connections)(*one) for one in asked])

    asyncio.run(asynchronous())


def test_a_pool_looks_at_its_role(shop: Database) -> None:
    """A role that passes the policies serves nobody."""
    with pool(shop.dsn, min_size=0, max_size=1, open=False, reconnect_timeout=1) as connections:
        connection = psycopg.connect(shop.dsn)
        with connection, pytest.raises(RoleRefused):
            connections._configure(connection)
