"""Names that lead to names: which of them form a circle, and in which order they come."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from graphlib import TopologicalSorter
from heapq import heappop, heappush

from tenantry.model.name import Name

Graph = Mapping[Name, Collection[Name]]
"""To which names each leads; each has an entry."""


def components(graph: Graph) -> Iterator[tuple[Name, ...]]:
    """The names in parts, each sorted: those of a part lead to one another, also by way of others. Most are alone."""
    backwards: dict[Name, list[Name]] = {name: [] for name in graph}
    for name, others in graph.items():
        for other in others:
            backwards[other].append(name)
    found: set[Name] = set()
    for name in reversed(_left(graph)):
        part, waiting = [], [name]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                part.append(one)
                waiting += backwards[one]
        if part:
            yield tuple(sorted(part))


def in_order(graph: Graph) -> Iterator[tuple[Name, ...]]:
    """The components, each behind all that lead to it; where that leaves a choice, the first by name comes first."""
    part_of = {name: part for part in components(graph) for name in part}
    sorter: TopologicalSorter[tuple[Name, ...]] = TopologicalSorter(dict.fromkeys(part_of.values(), ()))
    for name, others in graph.items():
        for other in others:
            if part_of[name] != part_of[other]:
                sorter.add(part_of[other], part_of[name])
    sorter.prepare()
    ready: list[tuple[Name, ...]] = []
    while sorter.is_active():
        for part in sorter.get_ready():
            heappush(ready, part)
        first = heappop(ready)
        yield first
        sorter.done(first)


def _left(graph: Graph) -> list[Name]:
    """The names in the order in which a walk along the edges, deeper first, is done with them."""
    left, seen = [], set()
    for root in graph:
        walk = [] if root in seen else [(root, iter(graph[root]))]
        seen.add(root)
        while walk:
            name, others = walk[-1]
            deeper = next((other for other in others if other not in seen), None)
            if deeper is None:
                left.append(name)
                walk.pop()
            else:
                seen.add(deeper)
                walk.append((deeper, iter(graph[deeper])))
    return left
