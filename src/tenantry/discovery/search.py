"""Which tables have a tenant, and along which paths: found by a few rounds of queries of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tenantry.discovery.audit import MISTAKES, audits
from tenantry.discovery.draft import Draft, disputed, evidence_of, tells
from tenantry.discovery.links import Link
from tenantry.discovery.profile import census, unchanged
from tenantry.model.evidence import Census, Evidence, TableEvidence
from tenantry.model.name import Name
from tenantry.model.ownership import Ownership
from tenantry.planning.ownership import resolve

Ask = Callable[[Census], Evidence]
"""A function that takes the census: run_census with a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The draft that the data confirms, with the evidence.

    `all` has every path that was tested, and `first` the first results; `refused` are the tables whose children do not
    determine a tenant.
    """

    draft: Draft
    evidence: Evidence
    all: Draft
    first: Evidence
    refused: dict[Name, TableEvidence]


def search(draft: Draft, ask: Ask) -> Search:
    """Follow every path; test the children of tables that are not reached, until nothing new is found; prune."""
    draft = draft.followed()
    evidence = ask(_census(draft))
    found = audits(draft, evidence)
    if found:
        before, draft = draft, replace(draft, audits=found, ways={}).followed()
        evidence = _again(draft, before, evidence, ask)
    refused: dict[Name, TableEvidence] = {}
    while children := _asked(draft, evidence, refused):
        # Whether children agree is tested before anything is derived from them.
        answers = ask(_census(draft.asking(children), evidence.tables))
        refused |= {name: answers.tables[name] for name in children if not _agree(answers.tables[name])}
        accepted = {name: links for name, links in children.items() if name not in refused}
        if accepted:
            before, draft = draft, draft.asking(accepted).followed()
            evidence = _again(draft, before, evidence, ask)
    pruned = _pruned(draft, evidence)
    final = _again(pruned, draft, evidence, ask)
    return Search(draft=pruned, evidence=final, all=draft, first=evidence, refused=refused)


def _ownership(draft: Draft) -> Ownership:
    return resolve(draft.spec(), draft.links.schema)


def _census(draft: Draft, known: Mapping[Name, TableEvidence] | None = None) -> Census:
    return census(_ownership(draft), draft.links.schema, known=known)


def _again(draft: Draft, before: Draft, evidence: Evidence, ask: Ask) -> Evidence:
    """The evidence of a draft, given that of another one: only the differences are queried."""
    schema, now = draft.links.schema, _ownership(draft)
    same = unchanged(now, _ownership(before), schema)
    return ask(census(now, schema, known={name: evidence.tables[name] for name in same}))


def _asked(draft: Draft, evidence: Evidence, refused: dict[Name, TableEvidence]) -> dict[Name, tuple[Link, ...]]:
    """The tables that are not reached, with their links from tables that have tenants. A link that names the writer of
    a row may lead to another tenant's, so it does not determine the tenant of its parent."""
    children = {
        name: tuple(
            link
            for link in draft.links.down[name]
            if tells(evidence, link.table) and not link.itself and link not in draft.audits
        )
        for name in draft.others
        if name not in draft.ways and name not in draft.children and name not in refused
    }
    return {name: links for name, links in children.items() if links}


def _agree(evidence: TableEvidence) -> bool:
    """Whether children determine their parents' tenants, except for a few mistakes, which are then shown."""
    return evidence.found > 0 and evidence.several and disputed(evidence) * MISTAKES <= evidence.found


def _pruned(draft: Draft, evidence: Evidence) -> Draft:
    """Without the paths that lead to shared tables, and those that are redundant beside a sure path or a column that
    holds the tenant itself."""
    shared = {name for name, one in evidence.tables.items() if one.rows > 0 and one.found == 0}
    ways = {}
    for name, links in draft.ways.items():
        kept = tuple(link for link in links if link.parent not in shared)
        if name in shared:
            continue
        direct = tuple(link for link in kept if draft.is_direct(link))
        if direct:
            kept = direct
        elif kept and kept[0].parent not in draft.children and _is_sure(kept[0], evidence.tables[name]):
            kept = kept[:1] if disputed(evidence.tables[name]) == 0 else kept
        ways[name] = tuple(link for link in kept if not link.itself or _brings(link, evidence.tables[name]))
    return replace(draft, ways=_leading(draft, ways))


def _leading(draft: Draft, ways: dict[Name, tuple[Link, ...]]) -> dict[Name, tuple[Link, ...]]:
    """Without the paths to tables that have lost all of theirs."""
    while True:
        ends = {draft.table, *draft.children, *(name for name, links in ways.items() if links)}
        kept = {name: tuple(link for link in links if link.parent in ends) for name, links in ways.items()}
        # A table that refers only to itself leads nowhere.
        kept = {name: links for name, links in kept.items() if any(not link.itself for link in links)}
        if kept == ways:
            return kept
        ways = kept


def _is_sure(link: Link, evidence: TableEvidence) -> bool:
    """Every row, including future ones, finds its tenant along the link."""
    way = evidence_of(link, evidence)
    return not link.nullable and way is not None and way.found == evidence.rows


def _brings(link: Link, evidence: TableEvidence) -> bool:
    way = evidence_of(link, evidence)
    return way is not None and way.alone > 0
