"""Charts: what they show where there is more than they have room for. What draws is asked for a picture only once."""

from __future__ import annotations

from typing import Any

import pytest

from tenantry.reports import charts
from tenantry.reports.report import Action, Entry, Share, TableRows, Wait


class Described(dict[str, Any]):
    """What would have been drawn."""


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Described:
    """The values and the encoding of the last chart, in the place of its picture."""
    last = Described()

    def draw(values: list[dict[str, Any]], mark: dict[str, Any], **encoding: Any) -> str:
        last.clear()
        last.update(values=values, **encoding)
        return ""

    monkeypatch.setattr(charts, "_draw", draw)
    return last


def entry(table: str | None, at: float, milliseconds: float, phase: str | None = "expand") -> Entry:
    return Entry(at=at, milliseconds=milliseconds, action=Action.APPLIED, title="x", table=table, phase=phase)


def test_lanes_of_a_timeline(described: Described) -> None:
    """In the order of their first step; of many tables those that took longest, and the rest together at the end."""
    entries = [entry(f"t{number:02}", number, 10 + number) for number in range(charts.LANES + 5)]
    charts.timeline([*entries, entry(None, 999, 5000, None)])
    lanes = described["y"]["sort"]
    assert lanes[-1] == charts.REST
    assert lanes[:2] == ["t06", "t07"]
    assert charts.LOOKING in lanes
    assert len(lanes) == charts.LANES + 1
    assert {bar["end"] - bar["begin"] for bar in described["values"] if bar["lane"] == charts.LOOKING} == {5.0}
    assert described["color"]["scale"]["domain"] == [charts.LOOKING, "expand"]


def rows(table: str, without: int = 0, **shares: int) -> TableRows:
    return TableRows(
        table=table, rows=sum(shares.values()) + without, without_tenant=without, tenants=len(shares), empty=0, typical=0,
        largest=[Share(tenant=name, rows=count) for name, count in shares.items()],
    )  # fmt: skip


def test_slices_of_a_table(described: Described) -> None:
    """The tenants with the most rows in all, the others together, and rows without one."""
    many = {f"x{number}": 100 - number for number in range(charts.SLICES + 2)}
    charts.distribution([rows("a", without=3, **many), rows("b", x9=1)])
    first = {slice_["tenant"]: slice_["rows"] for slice_ in described["values"] if slice_["table"] == "a"}
    assert len(first) == charts.SLICES + 2
    assert first[charts.OTHERS] == many["x8"] + many["x9"]
    assert first[charts.WITHOUT] == 3
    assert [slice_ for slice_ in described["values"] if slice_["table"] == "b"] == [
        {"table": "b", "tenant": charts.OTHERS, "rows": 1, "order": charts.SLICES}
    ]
    assert described["color"]["scale"]["domain"][-2:] == [charts.OTHERS, charts.WITHOUT]


def test_the_longest_waits(described: Described) -> None:
    """Numbered in the order in which they came."""
    waits = [
        Wait(at=number, milliseconds=number, table=None if number % 2 else "t", title="x", blocked_by=[])
        for number in range(charts.WAITS + 5)
    ]
    charts.waits(waits)
    bars = described["values"]
    assert len(bars) == charts.WAITS
    assert (bars[0]["wait"], bars[1]["wait"]) == ("1. x", "2. t")
    assert bars[0]["seconds"] == 0.005


def test_names_are_data() -> None:
    """No name is markup in a picture, and a long one is cut."""
    hostile = '</svg><script>alert("x")</script>'
    picture = charts.waits([Wait(at=0, milliseconds=5, table=hostile + "x" * 99, title="x", blocked_by=[])])
    assert picture.startswith("<svg")
    assert "<script" not in picture
    assert "x" * 60 not in picture
