"""The derivation paths as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.discovery.links import Link
from tenantry.discovery.proposal import Decision, Proposal
from tenantry.model.name import Name

_STYLES = {
    "tenant": "fill:#fde68a,stroke:#b45309,stroke-width:3px,color:#111",
    "owned": "fill:#bbf7d0,stroke:#15803d,color:#111",
    "mixed": "fill:#bae6fd,stroke:#0369a1,color:#111",
    "shared": "fill:#e5e7eb,stroke:#6b7280,color:#111",
    "undecided": "fill:#fecaca,stroke:#b91c1c,stroke-dasharray:4,color:#111",
}


def diagram(proposal: Proposal) -> str:
    """Solid arrows are paths that the spec follows, dotted ones others; thick ones lead to children."""
    numbers = {name: f"t{number}" for number, name in enumerate((proposal.tenant, *proposal.decisions))}
    lines = ["flowchart LR", *(f"    classDef {kind} {style}" for kind, style in _STYLES.items())]
    lines.append(_node(numbers[proposal.tenant], proposal.spec.tenant.table, "tenant"))
    for name, decision in proposal.decisions.items():
        lines.append(_node(numbers[name], decision.part.name, decision.kind))
    for decision in proposal.decisions.values():
        lines += _arrows(decision, numbers)
    return "\n".join(lines) + "\n"


def _node(number: str, text: str, kind: str) -> str:
    return f'    {number}["{_escaped(text)}"]:::{kind}'


def _arrows(decision: Decision, numbers: dict[Name, str]) -> Iterator[str]:
    for link in decision.links:
        if link.table == decision.table:
            yield _arrow(link, "-->", numbers, decision.table, link.parent)
        else:
            yield _arrow(link, "==>", numbers, decision.table, link.table)
    for link in decision.others:
        yield _arrow(link, "-.->", numbers, decision.table, link.parent)


def _arrow(link: Link, kind: str, numbers: dict[Name, str], start: Name, end: Name) -> str:
    return f'    {numbers[start]} {kind}|"{_escaped(", ".join(link.columns))}"| {numbers[end]}'


def _escaped(text: str) -> str:
    """Mermaid reads #number; as a character; every character that could end a label is written in that form."""
    return "".join(letter if letter.isalnum() or letter in " _.,-" else f"#{ord(letter)};" for letter in text)
