"""The inventory of many organisations, served from one database that tenantry has migrated.

    DATABASE_URL=… uvicorn app:app

No statement names a tenant: the middleware finds out whose a request is, and the connection sets it in each
transaction. The role that it connects as sees nothing without that.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import errors, sql
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

import tenantry_app
from tenantry_app import ApiKey, CachedDirectory, Claim, Problem, Resolution, Tenant, check_async
from tenantry_app import Header as TenantHeader
from tenantry_app.fastapi import CurrentTenant, problem_responses, use_tenants
from tenantry_app.keys import AsyncPoolKeys, CachedKeys
from tenantry_app.problems import is_unavailable
from tenantry_app.psycopg import AsyncTenantConnection

pool = AsyncConnectionPool(
    os.environ["DATABASE_URL"], connection_class=AsyncTenantConnection, kwargs={"row_factory": dict_row}, open=False,
    min_size=1, max_size=int(os.environ.get("POOL_SIZE", "10")), timeout=3,
)  # fmt: skip


# -- Whose a request is


async def find_organization(name: str) -> Tenant | None:
    """The application's role sees the row of the organisation that it serves, and no other."""
    query = "SELECT id::text, slug, status FROM organizations"
    try:
        async with tenantry_app.tenant(Tenant(name)), pool.connection() as connection:
            row = await (await connection.execute(query)).fetchone()
    except errors.DataError:  # not the text of a uuid
        return None
    return None if row is None else Tenant(row["id"], row["slug"], row["status"])


async def find_key(lookup: str, presented: bytes) -> Any:
    return await AsyncPoolKeys(pool)(lookup, presented)


organizations = CachedDirectory(find_organization, seconds=10)
keys = CachedKeys(find_key, seconds=5)
AUDIENCE = "enterprise-inventory"


def people() -> list[Claim]:
    """Those who have logged in elsewhere: by JSON Web Tokens, where TOKEN_KEY names the file with the public key."""
    key = os.environ.get("TOKEN_KEY")
    if key is None:
        return []
    from tenantry_app.jwt import Tokens

    tokens = Tokens(audience=AUDIENCE, algorithms=["RS256"], key=FilePath(key).read_text(encoding="ascii"))
    return [Claim(tokens, "org", scopes="scope")]


resolution = Resolution(
    ApiKey(keys), *people(), TenantHeader("X-Org-Id"), directory=organizations,
    open=["/health/live", "/health/ready", "/openapi.json", "/docs"],
)  # fmt: skip


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with pool:
        yield


app = FastAPI(title="Enterprise inventory", version="1", lifespan=lifespan, redoc_url=None)
use_tenants(app, resolution)
PROBLEMS = problem_responses(400, 401, 403, 404, 422, 503)


@app.exception_handler(RequestValidationError)
async def refuse_input(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return answer_problem(Problem(422, "bad-input", f"{place}: {first['msg']}"))


@app.exception_handler(errors.IntegrityError)
async def refuse_values(request: Request, error: Exception) -> Response:
    # Keys hold the tenant: a row of another organisation is as good as none.
    return answer_problem(Problem(422, "bad-values", "These values do not go together, or name what is not there."))


def answer_problem(problem: Problem) -> Response:
    return Response(problem.body, problem.status, problem.all_headers)


# -- Health


class Health(BaseModel):
    status: str


class Readiness(BaseModel):
    """`drift`: by how much balances differ from their ledgers, of the organisations that were served of late."""

    ready: bool
    database: bool
    migrated: bool
    drift: Decimal


DRIFT_SECONDS = float(os.environ.get("DRIFT_SECONDS", "60"))
_drift: dict[str, tuple[float, Decimal]] = {}
SECURED = """SELECT coalesce(bool_and(c.relrowsecurity AND c.relforcerowsecurity), false) AS migrated
FROM pg_catalog.pg_class c WHERE c.relname IN ('items', 'inventory_ledger', 'locations', 'lots') AND c.relkind = 'r'
  AND c.relnamespace = 'public'::regnamespace"""
DRIFT = """SELECT abs((SELECT coalesce(sum(quantity), 0) FROM inventory_ledger)
  - (SELECT coalesce(sum(quantity), 0) FROM inventory_balances)) AS drift"""


@app.get("/health/live", tags=["health"])
async def live() -> Health:
    """The process answers."""
    return Health(status="live")


@app.get("/health/ready", tags=["health"], responses={503: {"model": Readiness}})
async def ready() -> JSONResponse:
    """Requests can be served: the database is there and migrated, our role cannot pass its policies, and balances are
    what their ledgers say."""
    found = Readiness(ready=False, database=False, migrated=False, drift=Decimal(0))
    try:
        async with tenantry_app.without_tenant(), pool.connection() as connection:
            found.database = True
            await check_async(connection)
            row = await (await connection.execute(SECURED)).fetchone()
            found.migrated = row is not None and row["migrated"]
        for key in list(_drift):
            found.drift = max(found.drift, await drift_of(key))
    except tenantry_app.RoleRefused:
        pass
    except Exception as error:
        if not is_unavailable(error):
            raise
        found.database = False
    found.ready = found.database and found.migrated and found.drift == 0
    return JSONResponse(json.loads(found.model_dump_json()), 200 if found.ready else 503)


async def drift_of(key: str) -> Decimal:
    """It sums a ledger up, and so is looked at once a minute."""
    due, drift = _drift[key]
    if time.monotonic() >= due:
        async with tenantry_app.tenant(Tenant(key), read_only=True), pool.connection() as connection:
            row = await (await connection.execute(DRIFT)).fetchone()
        drift = row["drift"] if row is not None else Decimal(0)
        _drift[key] = (time.monotonic() + DRIFT_SECONDS, drift)
    return drift


async def served(organization: CurrentTenant) -> Tenant:
    """The organisation, which readiness looks at from now on."""
    if organization.key not in _drift and len(_drift) < 100:
        _drift[organization.key] = (0.0, Decimal(0))
    return organization


Organization = Annotated[Tenant, Depends(served)]


# -- Items


def without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


Text = Annotated[str, Field(max_length=200), AfterValidator(without_nul)]
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=1000)]


class Item(BaseModel):
    id: int
    code: str
    name: str
    category: str
    unit: str
    unit_cost: Decimal


class Items(BaseModel):
    """`next`: the cursor of the following page; null on the last."""

    items: list[Item]
    next: str | None


class Balance(BaseModel):
    item_id: int
    location_id: int
    lot_id: int | None
    quantity: Decimal


class ItemWithBalances(Item):
    balances: list[Balance]


class Balances(BaseModel):
    balances: list[Balance]
    next: str | None


class Sort(StrEnum):
    CODE = "code"
    NAME = "name"
    CATEGORY = "category"


def write_cursor(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def read_cursor(text: str, *types: type) -> list[Any]:
    """A cursor says where to go on, and nothing of whose rows: one that somebody made up reads his own."""
    try:
        values = json.loads(base64.urlsafe_b64decode(text))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise Problem(400, "bad-cursor", "This cursor was not made here.") from error
    fits = isinstance(values, list) and len(values) == len(types)
    if not fits or not all(type(value) is kind for value, kind in zip(values, types, strict=True)):
        raise Problem(400, "bad-cursor", "This cursor was not made here.")
    for value in values:
        if (isinstance(value, int) and abs(value) >= 2**63) or (isinstance(value, str) and not storable(value)):
            raise Problem(400, "bad-cursor", "This cursor was not made here.")
    return values


def storable(text: str) -> bool:
    """Whether PostgreSQL can hold it."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


@app.get("/api/items-enterprise", tags=["items"], responses=PROBLEMS)
async def list_items(
    organization: Organization, search: Annotated[Text | None, Query()] = None, sort: Sort = Sort.CODE,
    limit: Limit = 50, cursor: Cursor = None,
) -> Items:  # fmt: skip
    """The organisation's items, a page at a time."""
    column = sql.Identifier(sort.value)
    conditions, values = [sql.SQL("true")], []
    if search:
        conditions.append(sql.SQL("(name ILIKE %s OR code ILIKE %s)"))
        pattern = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        values += [pattern, pattern]
    if cursor is not None:
        conditions.append(sql.SQL("({}, id) > (%s, %s)").format(column))
        values += read_cursor(cursor, str, int)
    query = sql.SQL(
        "SELECT id, code, name, category, unit, unit_cost FROM items WHERE {} ORDER BY {}, id LIMIT %s"
    ).format(sql.SQL(" AND ").join(conditions), column)
    async with pool.connection() as connection:
        rows = await (await connection.execute(query, [*values, limit + 1])).fetchall()
    last = rows[limit - 1] if len(rows) > limit else None
    return Items(
        items=[Item(**row) for row in rows[:limit]],
        next=None if last is None else write_cursor(last[sort.value], last["id"]),
    )


@app.get("/api/items-enterprise/{id}", tags=["items"], responses=PROBLEMS | {304: {"description": "As it was"}})
async def read_item(
    organization: Organization, id: Annotated[Id, Path()], response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> ItemWithBalances:  # fmt: skip
    """An item, with its balances of each location and lot."""
    query = "SELECT id, code, name, category, unit, unit_cost FROM items WHERE id = %s"
    balances = (
        "SELECT item_id, location_id, lot_id, quantity FROM inventory_balances WHERE item_id = %s"
        " ORDER BY location_id, lot_id NULLS FIRST"
    )
    async with pool.connection() as connection:
        row = await (await connection.execute(query, [id])).fetchone()
        if row is None:
            raise Problem(404, "no-such-item", "The organisation has no such item.")
        found = await (await connection.execute(balances, [id])).fetchall()
    item = ItemWithBalances(**row, balances=[Balance(**one) for one in found])
    # The organisation is a part of it: a tag of another one's item never fits.
    text = f"{organization.key} {item.model_dump_json()}"
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    if if_none_match is not None and tag in [one.strip() for one in if_none_match.split(",")]:
        return Response(status_code=304, headers={"etag": tag, "vary": VARY})  # type: ignore[return-value]
    response.headers["etag"], response.headers["vary"] = tag, VARY
    response.headers["cache-control"] = "private, no-cache"
    return item


VARY = "Authorization, X-API-Key, X-Org-Id"


# -- Balances and movements


@app.get("/api/balances", tags=["balances"], responses=PROBLEMS)
async def list_balances(
    organization: Organization, item_id: Annotated[Id | None, Query()] = None,
    location_id: Annotated[Id | None, Query()] = None, limit: Limit = 50, cursor: Cursor = None,
) -> Balances:  # fmt: skip
    """What is on hand: one row for each item, location and lot."""
    conditions, values = [sql.SQL("true")], []
    for name, value in (("item_id", item_id), ("location_id", location_id)):
        if value is not None:
            conditions.append(sql.SQL("{} = %s").format(sql.Identifier(name)))
            values.append(value)
    if cursor is not None:
        conditions.append(sql.SQL("(item_id, location_id, coalesce(lot_id, 0)) > (%s, %s, %s)"))
        values += read_cursor(cursor, int, int, int)
    query = sql.SQL(
        "SELECT item_id, location_id, lot_id, quantity FROM inventory_balances WHERE {}"
        " ORDER BY item_id, location_id, coalesce(lot_id, 0) LIMIT %s"
    ).format(sql.SQL(" AND ").join(conditions))
    async with pool.connection() as connection:
        rows = await (await connection.execute(query, [*values, limit + 1])).fetchall()
    last = rows[limit - 1] if len(rows) > limit else None
    return Balances(
        balances=[Balance(**row) for row in rows[:limit]],
        next=None if last is None else write_cursor(last["item_id"], last["location_id"], last["lot_id"] or 0),
    )


class MovementType(StrEnum):
    RECEIPT = "receipt"
    RETURN = "return"
    ISSUE = "issue"
    WASTE = "waste"
    ADJUSTMENT = "adjustment"


class Movement(BaseModel):
    """`quantity` is signed: receipts and returns add, issues and waste take away."""

    model_config = ConfigDict(extra="forbid")

    item_id: Id
    location_id: Id
    lot_id: Id | None = None
    movement_type: MovementType
    quantity: Annotated[Decimal, Field(max_digits=14, decimal_places=3)]
    reference: Text | None = None


class Moved(BaseModel):
    id: int
    balance: Decimal


@app.post("/api/movements", status_code=201, tags=["movements"], responses=PROBLEMS)
async def add_movement(
    organization: Organization, movement: Movement, response: Response,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200, pattern=r"^[!-~]+$")],
) -> Moved:  # fmt: skip
    """Enter a movement, once for each Idempotency-Key: the key is written in the movement's own transaction."""
    if not fits(movement):
        raise Problem(422, "bad-sign", "Receipts and returns add, issues and waste take away, and nothing is 0.")
    fingerprint = hashlib.sha256(movement.model_dump_json().encode()).hexdigest()
    async with pool.connection() as connection:
        claim = await connection.execute(
            "INSERT INTO request_keys (key, fingerprint) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING key",
            [idempotency_key, fingerprint],
        )
        if await claim.fetchone() is None:
            response.headers["idempotent-replayed"] = "true"
            return await replayed(connection, idempotency_key, fingerprint)
        entered = await connection.execute(
            "INSERT INTO inventory_ledger (item_id, location_id, lot_id, movement_type, quantity, reference)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            [
                movement.item_id, movement.location_id, movement.lot_id, movement.movement_type.value,
                movement.quantity, movement.reference,
            ],
        )  # fmt: skip
        row = await entered.fetchone()
        balance = await connection.execute(
            "SELECT quantity FROM inventory_balances WHERE item_id = %s AND location_id = %s"
            " AND lot_id IS NOT DISTINCT FROM %s",
            [movement.item_id, movement.location_id, movement.lot_id],
        )
        found = await balance.fetchone()
        assert row is not None
        moved = Moved(id=row["id"], balance=found["quantity"] if found is not None else Decimal(0))
        await connection.execute(
            "UPDATE request_keys SET movement_id = %s, balance = %s WHERE key = %s",
            [moved.id, moved.balance, idempotency_key],
        )
    return moved


async def replayed(connection: Any, key: str, fingerprint: str) -> Moved:
    query = "SELECT fingerprint, movement_id AS id, balance FROM request_keys WHERE key = %s"
    row = await (await connection.execute(query, [key])).fetchone()
    if row is None or row.pop("fingerprint") != fingerprint:
        raise Problem(422, "key-used", "This Idempotency-Key was used for another movement.")
    return Moved(**row)


def fits(movement: Movement) -> bool:
    adds = movement.movement_type in (MovementType.RECEIPT, MovementType.RETURN)
    takes = movement.movement_type in (MovementType.ISSUE, MovementType.WASTE)
    quantity = movement.quantity
    return quantity.is_finite() and quantity != 0 and (quantity > 0 or not adds) and (quantity < 0 or not takes)
