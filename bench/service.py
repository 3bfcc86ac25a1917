"""The service that `bench.requests` asks: one balance look-up, written in three ways. DATABASE_URL is the application's
role, OPERATOR_URL one that no policy holds, KEYS the API keys and their organisations as JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from psycopg_pool import AsyncConnectionPool

from tenantry_app import ApiKey, FixedDirectory, Resolution, Tenant
from tenantry_app.fastapi import use_tenants
from tenantry_app.keys import AsyncPoolKeys, CachedKeys
from tenantry_app.psycopg import async_pool

SIZE = {"min_size": 4, "max_size": 4}
tenants = async_pool(os.environ["DATABASE_URL"], **SIZE)
everybody = AsyncConnectionPool(os.environ["OPERATOR_URL"], open=False, **SIZE)
KEYS: dict[str, str] = json.loads(os.environ["KEYS"])

BALANCES = "SELECT location_id, quantity FROM inventory_balances WHERE item_id = %s"
BY_HAND = "SELECT location_id, quantity FROM inventory_balances WHERE org_id = %s AND item_id = %s"
SUMS = "SELECT location_id, sum(quantity) FROM inventory_ledger WHERE item_id = %s GROUP BY location_id, lot_id"


def answer(rows: list[Any]) -> list[dict[str, Any]]:
    return [{"location": location, "quantity": str(quantity)} for location, quantity in rows]


ours = FastAPI()
use_tenants(
    ours, Resolution(ApiKey(CachedKeys(AsyncPoolKeys(tenants))), directory=FixedDirectory(*map(Tenant, KEYS.values())))
)  # fmt: skip


@ours.get("/balances/{item}")
async def balances(item: int) -> list[dict[str, Any]]:
    async with tenants.connection() as connection:
        return answer(await (await connection.execute(BALANCES, [item])).fetchall())


@ours.get("/sums/{item}")
async def sums(item: int) -> list[dict[str, Any]]:
    async with tenants.connection() as connection:
        return answer(await (await connection.execute(SUMS, [item])).fetchall())


by_hand = FastAPI()
HASHES = {hashlib.sha256(key.encode()).digest(): organization for key, organization in KEYS.items()}


@by_hand.get("/balances/{item}")
async def balances_by_hand(item: int, request: Request) -> list[dict[str, Any]]:
    organization = HASHES.get(hashlib.sha256(request.headers.get("x-api-key", "").encode()).digest())
    if organization is None:
        raise HTTPException(401)
    async with everybody.connection() as connection:
        return answer(await (await connection.execute(BY_HAND, [organization, item])).fetchall())


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with tenants, everybody:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/ours", ours)
app.mount("/by-hand", by_hand)
