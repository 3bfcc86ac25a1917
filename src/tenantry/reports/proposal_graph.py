"""The layout of a proposal's tables in the picture of its paths: the tenant table on the left, then the tables that are
one step away from it, and so on; tables that no path reaches on the right."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenantry.discovery.links import Link
from tenantry.discovery.proposal import Decision, Proposal
from tenantry.model.name import Name
from tenantry.model.wording import counted

HEIGHT, ROW, GAP, LETTER, MARGIN = 22, 30, 90, 6.7, 18
"""In pixels: a table's height, its row's height, the space between columns, a letter's width, and the space around a
name."""
LONGEST = 48
"""The number of letters of a name that are shown; the full name is in its tooltip."""
SHAPE = 1.7
"""The approximate ratio of width to height of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A table, by its number, and its position."""

    number: int
    name: str
    shown: str
    kind: str
    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A link from a table to another, by their numbers. `manner`: path, child (the rows at the other end determine the
    owner), or other: a path that the spec does not follow."""

    start: int
    end: int
    columns: str
    manner: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Tables and links, each column of tables with its heading, in a space of `width` by `height`."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    headings: tuple[tuple[float, str], ...]
    width: float
    height: float


def graph(proposal: Proposal) -> Graph:
    """The picture of a proposal; the same proposal gives the same picture."""
    numbers = {name: number for number, name in enumerate((proposal.tenant, *proposal.decisions))}
    blocks = _blocks(proposal)
    longest = max(len(_shown(_written(proposal, name))) for name in numbers)
    rows = _rows([len(names) for _, names in blocks], longest * LETTER + MARGIN + GAP)
    nodes: dict[Name, Node] = {}
    headings: list[tuple[float, str]] = []
    x = float(GAP) / 2
    for heading, names in blocks:
        headings.append((x, heading))
        for first in range(0, len(names), rows):
            column = names[first : first + rows]
            shown = {name: _shown(_written(proposal, name)) for name in column}
            width = max(max(map(len, shown.values())) * LETTER + MARGIN, len(heading) * LETTER if first == 0 else 0)
            for row, name in enumerate(column):
                nodes[name] = Node(
                    number=numbers[name], name=_written(proposal, name), shown=shown[name],
                    kind=proposal.decisions[name].kind if name in proposal.decisions else "tenant",
                    x=x, y=(row + 2) * ROW, width=width,
                )  # fmt: skip
            x += width + GAP
    edges = [edge for decision in proposal.decisions.values() for edge in _edges(decision, nodes)]
    deepest = max(node.y for node in nodes.values())
    return Graph(
        nodes=tuple(sorted(nodes.values(), key=lambda node: node.number)), edges=tuple(edges),
        headings=tuple(headings), width=x - GAP / 2, height=deepest + 2 * ROW,
    )  # fmt: skip


def _written(proposal: Proposal, name: Name) -> str:
    return proposal.decisions[name].part.name if name in proposal.decisions else proposal.spec.tenant.table


def _shown(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _blocks(proposal: Proposal) -> list[tuple[str, list[Name]]]:
    """The tables of each column with their headings; those that lead to the same parents are next to each other."""
    steps = _steps(proposal)
    blocks: list[tuple[str, list[Name]]] = [("tenants", [proposal.tenant])]
    places: dict[Name, int] = {proposal.tenant: 0}
    for step in range(1, max(steps.values(), default=0) + 1):
        names = [name for name, found in steps.items() if found == step]
        names.sort(key=lambda name: (_parent_place(proposal.decisions[name], places), name))
        places |= {name: place for place, name in enumerate(names)}
        blocks.append((f"{counted(step, 'step')} away", names))
    rest = [name for name in proposal.decisions if name not in steps]
    for kind, heading in (("owned", "by rule"), ("mixed", "by rule"), ("undecided", "undecided"), ("shared", "shared")):
        names = [name for name in rest if proposal.decisions[name].kind == kind]
        if names:
            blocks.append((heading, sorted(names)))
    return blocks


def _parent_place(decision: Decision, places: Mapping[Name, int]) -> int:
    ends = (_end(decision, link) for link in decision.links)
    return min((places[end] for end in ends if end in places), default=len(places))


def _end(decision: Decision, link: Link) -> Name:
    """The other end of a link: a parent, or a child whose rows determine the owner."""
    return link.parent if link.table == decision.table else link.table


def _steps(proposal: Proposal) -> dict[Name, int]:
    """The number of links between each table and the tenant table, along those that the spec follows."""
    towards: dict[Name, list[Name]] = {}
    for decision in proposal.decisions.values():
        for link in decision.links:
            towards.setdefault(_end(decision, link), []).append(decision.table)
    steps = {proposal.tenant: 0}
    waiting = deque([proposal.tenant])
    while waiting:
        name = waiting.popleft()
        for other in towards.get(name, ()):
            if other not in steps:
                steps[other] = steps[name] + 1
                waiting.append(other)
    del steps[proposal.tenant]
    return steps


def _rows(counts: Sequence[int], width: float) -> int:
    """The number of rows in a column, so that the picture has about the ratio SHAPE with columns of such a width."""

    def off(rows: int) -> float:
        columns = sum(-(-count // rows) for count in counts)
        return abs(columns * width / (rows * ROW) - SHAPE)

    return min(range(8, max(9, max(counts) + 1)), key=off)


def _edges(decision: Decision, nodes: Mapping[Name, Node]) -> list[Edge]:
    found = []
    for manner, links in (("", decision.links), ("other", decision.others)):
        for link in links:
            end = _end(decision, link)
            if end in nodes:
                told = manner or ("child" if link.table != decision.table else "path")
                found.append(_edge(nodes[decision.table], nodes[end], link, told))
    return found


def _edge(start: Node, end: Node, link: Link, manner: str) -> Edge:
    """A curve from one side of a table to the nearer side of the other."""
    top = start.y + HEIGHT / 2, end.y + HEIGHT / 2
    if start is end or abs(start.x - end.x) < 1:
        one = other = start.x
        bends = start.x - GAP / 2, start.x - GAP / 2
        # For a link of a table to itself a loop.
        top = (top[0] - 6, top[1] + 6) if start is end else top
    else:
        forward = start.x > end.x
        one = start.x if forward else start.x + start.width
        other = end.x + end.width if forward else end.x
        bends = (one + other) / 2, (one + other) / 2
    points = (bends[0], top[0], bends[1], top[1], other, top[1])
    path = f"M{one:.0f} {top[0]:.0f}C{' '.join(f'{point:.0f}' for point in points)}"
    return Edge(start=start.number, end=end.number, columns=", ".join(link.columns), manner=manner, path=path)
