"""Tables, and what hangs below them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.model.schema import Kind, Table, View
from unit.schemas import name, schema, table


def part(called: str, of: str, kind: Kind = Kind.TABLE) -> Table:
    return replace(table(called), partition_of=name(of), kind=kind)


def names(tables: object) -> list[str]:
    return [one.name.name for one in tables]  # type: ignore[attr-defined]


SCHEMA = schema(
    replace(table("whole"), kind=Kind.PARTITIONED), part("a_leaf", "z_middle"), part("z_middle", "whole", Kind.PARTITIONED),
    part("b_leaf", "whole"), part("b_middle", "z_middle", Kind.PARTITIONED), part("a_middle", "b_middle", Kind.PARTITIONED),
    table("base"), replace(table("left"), inherits=(name("base"),)),
    replace(table("right"), inherits=(name("base"),)), replace(table("both"), inherits=(name("left"), name("right"))),
)  # fmt: skip


def test_partitions() -> None:
    """Parents before children, at any depth."""
    assert names(SCHEMA.partitions(name("whole"))) == [
        "z_middle", "b_middle", "a_middle", "a_leaf", "b_leaf"
    ]  # fmt: skip
    assert names(SCHEMA.leaves(name("whole"))) == ["a_leaf", "b_leaf"]
    assert names(SCHEMA.tree(name("base"))) == ["base"]
    assert list(SCHEMA.lineage(name("a_leaf"))) == [name("a_leaf"), name("z_middle"), name("whole")]
    assert SCHEMA.topmost(name("a_leaf")) == name("whole")
    assert SCHEMA.topmost(name("nowhere")) == name("nowhere")


def test_heirs() -> None:
    """Each once, by however many ways."""
    assert sorted(names(SCHEMA.heirs(name("base")))) == ["both", "left", "right"]
    assert names(SCHEMA.heirs(name("right"))) == ["both"]
    assert names(SCHEMA.heirs(name("whole"))) == []


@pytest.mark.parametrize(
    ("option", "invoker"),
    [("security_invoker=true", True), ("SECURITY_INVOKER=ON", True), ("security_invoker=1", True),
     ("security_invoker=false", False), ("security_barrier=true", False)],
)  # fmt: skip
def test_as_whom_a_view_runs(option: str, *, invoker: bool) -> None:
    view = View(name=name("v"), kind=Kind.VIEW, owner="owner", options=("check_option=local", option))
    assert view.invoker == invoker


def test_versions_and_columns() -> None:
    assert schema(version=140012).major == 14
    assert table("sales", "note").column("note") is not None
    assert table("sales").column("note") is None
