"""The picture of the paths: nothing of a name ends a label."""

from __future__ import annotations

from dataclasses import replace

from tenantry.discovery.diagram import diagram
from unit.discovery.answering import proposed
from unit.planning.shop import PRODUCTS, STORES
from unit.schemas import name, table


def test_tables_and_arrows() -> None:
    """Solid ones are followed, dotted ones could be, thick ones lead to children."""
    boxes = table("boxes")
    sales = table("sales", "store_id > stores", "tenant_id? > tenants", "box_id > boxes")
    picture = diagram(proposed(STORES, sales, boxes, PRODUCTS)).splitlines()
    numbers = {
        line.partition('"')[2].partition('"')[0]: line.split("[")[0].strip() for line in picture if ":::" in line
    }
    assert set(numbers) == {"tenants", "stores", "sales", "boxes", "products"}
    arrows = {line.strip() for line in picture if "|" in line}
    assert f'{numbers["sales"]} -->|"tenant_id"| {numbers["tenants"]}' in arrows
    assert f'{numbers["sales"]} -.->|"store_id"| {numbers["stores"]}' in arrows
    assert f'{numbers["boxes"]} ==>|"box_id"| {numbers["sales"]}' in arrows
    assert any(line.endswith(":::undecided") and '"products"' in line for line in picture)


def test_hostile_names() -> None:
    hostile = replace(STORES, name=name(']] --> "t0"; click#'))
    picture = diagram(proposed(hostile, PRODUCTS))
    nodes = [line for line in picture.splitlines() if ":::" in line]
    assert len(nodes) == 3
    assert all(line.count('"') == 2 and line.count("[") == 1 for line in nodes)
    assert "--> #34;" not in picture
    assert "#93;#93; --#62; #34;#34;t0#34;#34;#59; click#35;" in picture
