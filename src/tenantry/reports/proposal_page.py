"""A proposal of discover as one HTML page that makes no request: the picture of the paths, the questions, and each
table with its reasons and samples."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from tenantry.discovery.proposal import Decision, Proposal
from tenantry.discovery.spec_file import part_line, totals
from tenantry.model.evidence import Sample, TableEvidence
from tenantry.model.name import Name
from tenantry.reports.page import environment
from tenantry.reports.proposal_graph import HEIGHT, Node, graph
from tenantry.reports.text import bounded

FOLDER = Path(__file__).with_name("templates")
SAMPLES = 10
"""The number of rows of a table that are shown."""
KINDS = {
    "undecided": "Undecided: a person must decide",
    "owned": "Owned: each row belongs to one tenant",
    "mixed": "Mixed: rows without a tenant are shared",
    "shared": "Shared: the same rows for all tenants",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Rows of one kind: a heading, the names of the columns, and the rows as text."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEntry:
    """A table as the page lists it; `rows` is None if they were not counted."""

    number: int
    decision: Decision
    line: str
    rows: int | None
    samples: tuple[Samples, ...]


def proposal_html(proposal: Proposal) -> str:
    """The page of a proposal; the same proposal gives the same page."""
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("proposal.css", "proposal.js"))
    shared = (FOLDER / "report.css").read_text(encoding="utf-8")
    style = f"{shared}{style}"
    drawn = graph(proposal)
    entries = [_entry(proposal, number, name) for number, name in enumerate(proposal.decisions, start=1)]
    return environment().get_template("proposal.html").render(
        style=Markup(style),  # files of the package
        script=Markup(script),
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:;"
        " base-uri 'none'; form-action 'none'",
        proposal=proposal, tenant=proposal.spec.tenant.table, totals=totals(proposal), graph=drawn, height=HEIGHT,
        nodes=[(node, _tooltip(node)) for node in drawn.nodes],
        questions=list(proposal.questions.items()),
        numbers={name: number for number, name in enumerate(proposal.decisions, start=1)},
        groups=[
            (kind, heading, [entry for entry in entries if entry.decision.kind == kind])
            for kind, heading in KINDS.items()
        ],
    )  # fmt: skip


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _tooltip(node: Node) -> str:
    return f"{node.name}: {'the tenant table' if node.kind == 'tenant' else node.kind}"


def _entry(proposal: Proposal, number: int, name: Name) -> PageEntry:
    decision, evidence = proposal.decisions[name], proposal.evidence.tables.get(name)
    return PageEntry(
        number=number, decision=decision, line=part_line(decision.part),
        rows=evidence.rows if evidence is not None else None,
        samples=tuple(_samples(evidence)) if evidence is not None else (),
    )  # fmt: skip


def _samples(evidence: TableEvidence) -> Iterator[Samples]:
    for heading, samples, count in (
        ("Rows that lead to several tenants", evidence.conflict_samples, evidence.conflicts),
        ("Rows that find no tenant", evidence.orphan_samples, evidence.orphans),
    ):
        if samples:
            shown = samples[:SAMPLES]
            keys = tuple(dict.fromkeys(column for sample in shown for column in sample.key))
            ways = tuple(dict.fromkeys(way for sample in shown for way in sample.tenants))
            yield Samples(
                heading=heading, columns=(*keys, *ways), more=count - len(shown),
                rows=tuple(tuple(_cells(sample, keys, ways)) for sample in shown),
            )  # fmt: skip


def _cells(sample: Sample, keys: tuple[str, ...], ways: tuple[str, ...]) -> Iterator[str]:
    yield from ("NULL" if (value := sample.key.get(key)) is None else bounded(str(value)) for key in keys)
    yield from (bounded(" and ".join(sample.tenants.get(way, ()))) for way in ways)
