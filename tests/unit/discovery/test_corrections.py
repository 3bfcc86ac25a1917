"""Statements that make rows follow one of two ways; where only a person can tell, there is none, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.discovery.corrections import PathCorrection, corrections
from tenantry.model.schema import Table
from unit.planning.shop import STORES, STORES_PART
from unit.schemas import plan_context, spec, table

USERS, TEAMS = table("users", "tenant_id > tenants"), table("teams", "lead_id > users")
ORDERS = table("orders", "tenant_id > tenants", "team_id? > teams")
SAID = ('users paths = [["tenant_id"]]', 'teams paths = [["lead_id"]]')
OWN, TEAM = "tenant_id", "team_id > public.teams"


def correction_of(
    orders: Table, part: str, *pairs: tuple[str, str]
) -> dict[tuple[str, str], tuple[PathCorrection, ...]]:
    context = plan_context(spec(*SAID, STORES_PART, f"orders {part}"), USERS, TEAMS, STORES, orders)
    owned = context.ownership.of(orders.name)
    assert owned is not None
    return corrections(pairs, owned, context.ownership, context.schema)


def test_both_ways() -> None:
    """The tenant's column gets the other way's tenant; a key that may be NULL lets go of its row."""
    ((first, second),) = correction_of(ORDERS, 'paths = [["tenant_id"], ["team_id"]]', (OWN, TEAM)).values()
    assert (first.wrong, first.right) == (OWN, TEAM)
    assert first.statement == (
        'UPDATE "public"."orders" AS t SET "tenant_id" = s.tenant FROM (SELECT "r"."id", "a2"."tenant_id" AS tenant'
        ' FROM "public"."orders" AS r JOIN "public"."teams" AS "a1" ON "a1"."id" OPERATOR("pg_catalog".=) "r"."team_id"'
        ' JOIN "public"."users" AS "a2" ON "a2"."id" OPERATOR("pg_catalog".=) "a1"."lead_id" WHERE NOT "r"."tenant_id"'
        ' OPERATOR("pg_catalog".=) "a2"."tenant_id") AS s WHERE "t"."id" = "s"."id"'
    )
    assert second.statement is not None
    assert 'SET "team_id" = NULL FROM' in second.statement


@pytest.mark.parametrize(
    ("orders", "reason"),
    [
        (table("orders", "tenant_id > tenants", "team_id > teams"), "only a person can tell which"),
        (replace(ORDERS, primary_key=()), "has no primary key"),
    ],
)
def test_only_a_person_can_tell(orders: Table, reason: str) -> None:
    ((_, second),) = correction_of(orders, 'paths = [["tenant_id"], ["team_id"]]', (OWN, TEAM)).values()
    assert second.statement is None
    assert reason in second.reason


def test_children_and_cycles() -> None:
    """Whose children disagree cannot be said by a statement; nor what a table knows by way of itself."""
    boxes = table("boxes", "store_id? > stores")
    sales = table("sales", "store_id > stores", "box_id > boxes")
    context = plan_context(
        spec(STORES_PART, 'sales paths = [["store_id"]]', 'boxes paths = [["store_id"]]\nchildren = ["sales.box_id"]'),
        STORES, sales, boxes,
    )  # fmt: skip
    owned = context.ownership.of(boxes.name)
    assert owned is not None
    pair = ("store_id > public.stores", "public.sales.box_id")
    both = corrections([pair], owned, context.ownership, context.schema)[pair]
    assert [one.statement for one in both] == [None, None]
    assert "its children" in both[0].reason


def test_pairs_that_have_none() -> None:
    """A way that disagrees with itself, and the spec's own assignment."""
    part = 'paths = [["tenant_id"], ["team_id"]]'
    assert correction_of(ORDERS, part, (OWN, OWN), ("assign", OWN)) == {}
    assert len(correction_of(ORDERS, part, (OWN, TEAM), (OWN, TEAM))) == 1
