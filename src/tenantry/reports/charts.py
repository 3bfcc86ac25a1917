"""The charts of a page, as SVG: described in Vega-Lite, drawn by vl-convert without browser or network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tenantry.model.plan import Phase
from tenantry.reports.report import Entry, TableRows, Wait
from tenantry.reports.text import bounded, visible

PACKAGE = "vl_convert"
VEGA_LITE = "5.21"
LANES, BARS, SLICES, TABLES, WAITS, TICKS = 25, 1_000, 8, 40, 20, 7
"""The limits of a chart: tables of the timeline, its longest bars, distinct tenants, tables, waits, numbers."""
NUMBERS = {"tickCount": TICKS, "labelSeparation": 10}
"""The distance of labels on an axis, so that they do not overlap in a wider font."""
OTHERS, WITHOUT = "all others", "without a tenant"
LOOKING, REST = "looking", "other tables"
COLOURS = {
    LOOKING: "#9aa0a6", Phase.EXPAND: "#4c78a8", Phase.BACKFILL: "#f58518", Phase.ENFORCE: "#54a24b",
    Phase.ISOLATE: "#b279a2", Phase.CONTRACT: "#9d755d", Phase.DISTRIBUTE: "#72b7b2",
}  # fmt: skip
TENANTS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#72b7b2", "#eeca3b", "#ff9da6", "#9d755d")


def can_draw() -> bool:
    """Whether the package that draws charts is installed: the extra `reports`."""
    return find_spec(PACKAGE) is not None


def timeline(entries: Sequence[Entry]) -> str:
    """What was done when: a lane for each table, in the order of their first step."""
    spent: Counter[str] = Counter()
    for entry in entries:
        spent[entry.table or LOOKING] += max(1, round(entry.milliseconds))
    named = {table for table, _ in spent.most_common(LANES)}
    lanes: dict[str, None] = {}
    for entry in sorted(entries, key=lambda entry: entry.at):
        lanes.setdefault(_lane(entry, named))
    bars = [
        {
            "lane": _lane(entry, named), "begin": entry.at / 1000, "end": (entry.at + entry.milliseconds) / 1000,
            "phase": entry.phase or LOOKING,
        }
        for entry in sorted(entries, key=lambda entry: -entry.milliseconds)[:BARS]
    ]  # fmt: skip
    phases = [phase for phase in COLOURS if any(bar["phase"] == phase for bar in bars)]
    return _draw(
        bars,
        # A line around each bar, so that the shortest can be seen.
        {"type": "bar", "height": {"band": 0.75}, "strokeWidth": 1},
        y=_axis("lane", sort=sorted(lanes, key=lambda lane: lane == REST)),
        x={"field": "begin", "type": "quantitative", "title": "seconds since the run began",
           "axis": NUMBERS},
        x2={"field": "end"},
        color=_legend("phase", phases, [COLOURS[phase] for phase in phases], columns=6),
        stroke=_legend("phase", phases, [COLOURS[phase] for phase in phases], columns=6),
    )  # fmt: skip


def distribution(tables: Sequence[TableRows]) -> str:
    """How each table's rows are spread over the tenants, as shares."""
    largest: Counter[str] = Counter()
    for table in tables:
        largest.update({_text(share.tenant): share.rows for share in table.largest})
    named = [tenant for tenant, _ in largest.most_common(SLICES)]
    order = [*named, OTHERS, WITHOUT]
    slices = [
        {"table": _text(table.table), "tenant": tenant, "rows": rows, "order": order.index(tenant)}
        for table in tables[:TABLES]
        for tenant, rows in _slices(table, named).items()
        if rows
    ]
    seen = [tenant for tenant in order if any(one["tenant"] == tenant for one in slices)]
    colours = dict(zip(order, (*TENANTS[: len(named)], "#9aa0a6", "#5b6770"), strict=True))
    return _draw(
        slices,
        {"type": "bar", "height": {"band": 0.75}},
        y=_axis("table", sort=None),
        x={"field": "rows", "type": "quantitative", "stack": "normalize", "title": "share of the rows",
           "axis": {"format": "%", **NUMBERS}},
        color=_legend("tenant", seen, [colours[tenant] for tenant in seen]),
        order={"field": "order", "type": "quantitative"},
    )  # fmt: skip


def waits(found: Sequence[Wait]) -> str:
    """The longest waits, in the order in which they occurred."""
    longest = sorted(sorted(found, key=lambda wait: -wait.milliseconds)[:WAITS], key=lambda wait: wait.at)
    bars = [
        {"wait": f"{number}. {_text(wait.table or wait.title)}", "seconds": wait.milliseconds / 1000}
        for number, wait in enumerate(longest, start=1)
    ]
    return _draw(
        bars,
        {"type": "bar", "height": {"band": 0.75}, "color": "#e45756"},
        y=_axis("wait", sort=None),
        x={"field": "seconds", "type": "quantitative", "title": "seconds of waiting", "axis": NUMBERS},
    )


def _slices(table: TableRows, named: Iterable[str]) -> dict[str, int]:
    rows = Counter({_text(share.tenant): share.rows for share in table.largest})
    slices = {tenant: rows[tenant] for tenant in named}
    others = table.rows - table.without_tenant - sum(slices.values())
    return {**slices, OTHERS: others, WITHOUT: table.without_tenant}


def _lane(entry: Entry, named: set[str]) -> str:
    lane = entry.table or LOOKING
    return _text(lane) if lane in named else REST


def _text(value: str) -> str:
    return str(bounded(visible(value), 60))


def _axis(field: str, *, sort: Sequence[str] | None) -> dict[str, Any]:
    return {"field": field, "type": "nominal", "title": None, "sort": sort, "axis": {"labelLimit": 190}}


def _legend(field: str, values: Sequence[str], colours: Sequence[str], *, columns: int = 3) -> dict[str, Any]:
    legend = {"orient": "bottom", "title": None, "columns": columns, "columnPadding": 120 // columns, "labelLimit": 150}
    return {
        "field": field,
        "type": "nominal",
        "scale": {"domain": list(values), "range": list(colours)},
        "legend": legend,
    }


def _draw(values: list[dict[str, Any]], mark: dict[str, Any], **encoding: Any) -> str:
    """Names are passed as data, which is never evaluated as an expression, and are escaped in the output."""
    grey = {"labelColor": "currentColor", "titleColor": "currentColor"}
    config = {
        "background": "transparent", "font": "sans-serif", "view": {"stroke": None},
        "axis": {**grey, "gridColor": "currentColor", "gridOpacity": 0.15, "labelFontSize": 12, "titleFontSize": 12,
                 "titleFontWeight": "normal"},
        "legend": {**grey, "labelFontSize": 12},
    }  # fmt: skip
    padding = {"left": 40, "top": 5, "right": 15, "bottom": 5}
    chart = {
        "data": {"values": values}, "mark": mark, "encoding": encoding, "width": 560, "height": {"step": 24},
        "padding": padding, "config": config,
    }  # fmt: skip
    # Imported here: it loads a JavaScript engine, which nothing else needs.
    return str(import_module(PACKAGE).vegalite_to_svg(chart, vl_version=VEGA_LITE))
