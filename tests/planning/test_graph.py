"""Circles, and the order of derivation, as another implementation has them."""

from __future__ import annotations

import networkx
from hypothesis import given
from hypothesis import strategies as st

from tenantry.model.graph import components, in_order
from tenantry.model.name import Name

NAMES = [Name("public", f"t{number}") for number in range(9)]
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4)).map(
    lambda edges: {
        name: edges.get(name, []) for name in sorted({*edges, *(o for some in edges.values() for o in some)})
    }
)


@given(GRAPHS)
def test_parts_and_their_order(graph: dict[Name, list[Name]]) -> None:
    other = networkx.DiGraph()
    other.add_nodes_from(graph)
    other.add_edges_from((name, one) for name, others in graph.items() for one in others)
    assert sorted(components(graph)) == sorted(tuple(sorted(p)) for p in networkx.strongly_connected_components(other))
    condensed = networkx.condensation(other)
    parts = {node: tuple(sorted(data["members"])) for node, data in condensed.nodes(data=True)}
    assert list(in_order(graph)) == [
        parts[node] for node in networkx.lexicographical_topological_sort(condensed, key=lambda node: parts[node])
    ]


def test_a_chain_longer_than_any_stack() -> None:
    names = [Name("public", f"t{number:05d}") for number in range(5000)]
    chain = {name: [following] for name, following in zip(names, [*names[1:], names[0]], strict=True)}
    assert list(components(chain)) == [tuple(names)]
    chain[names[-1]] = []
    assert list(in_order(chain)) == [(name,) for name in names]
