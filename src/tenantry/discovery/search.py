"""Which tables have a tenant, and along which paths: found by a few rounds of queries of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tenantry.discovery.audit import MISTAKES, audits
from tenantry.discovery.draft import Draft, disputed, evidence_of, has_tenants
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
        before, draft = draft, replace(draft, audits=found, path_links={}).followed()
        evidence = _count_differences(draft, before, evidence, ask)
    refused: dict[Name, TableEvidence] = {}
    while children := _possible_children(draft, evidence, refused):
        # Whether children agree is tested before anything is derived from them.
        answers = ask(_census(draft.asking(children), evidence.tables))
        refused |= {name: answers.tables[name] for name in children if not _agree(answers.tables[name])}
        accepted = {name: links for name, links in children.items() if name not in refused}
        if accepted:
            before, draft = draft, draft.asking(accepted).followed()
            evidence = _count_differences(draft, before, evidence, ask)
    pruned = _pruned(draft, evidence)
    final = _count_differences(pruned, draft, evidence, ask)
    return Search(draft=pruned, evidence=final, all=draft, first=evidence, refused=refused)


def _ownership(draft: Draft) -> Ownership:
    return resolve(draft.spec(), draft.links.schema)


def _census(draft: Draft, known: Mapping[Name, TableEvidence] | None = None) -> Census:
    return census(_ownership(draft), draft.links.schema, known=known)


def _count_differences(draft: Draft, before: Draft, evidence: Evidence, ask: Ask) -> Evidence:
    """The evidence of a draft, given that of another one: only the differences are queried."""
    schema, now = draft.links.schema, _ownership(draft)
    same = unchanged(now, _ownership(before), schema)
    return ask(census(now, schema, known={name: evidence.tables[name] for name in same}))


def _possible_children(
    draft: Draft, evidence: Evidence, refused: dict[Name, TableEvidence]
) -> dict[Name, tuple[Link, ...]]:
    """The tables that are not reached, with their links from tables that have tenants. A link that names the writer of
    a row may lead to another tenant's, so it does not determine the tenant of its parent."""
    children = {
        name: tuple(
            link
            for link in draft.links.down[name]
            if has_tenants(evidence, link.table) and not link.itself and link not in draft.audits
        )
        for name in draft.others
        if name not in draft.path_links and name not in draft.children and name not in refused
    }
    return {name: links for name, links in children.items() if links}


def _agree(evidence: TableEvidence) -> bool:
    """Whether children determine their parents' tenants, except for a few mistakes, which are then shown."""
    return evidence.with_tenant > 0 and evidence.several and disputed(evidence) * MISTAKES <= evidence.with_tenant


def _pruned(draft: Draft, evidence: Evidence) -> Draft:
    """Without the paths that lead to shared tables, and those that are redundant beside a sure path or a column that
    holds the tenant itself."""
    shared = {name for name, one in evidence.tables.items() if one.rows > 0 and one.with_tenant == 0}
    path_links = {}
    for name, links in draft.path_links.items():
        kept = tuple(link for link in links if link.parent not in shared)
        if name in shared:
            continue
        direct = tuple(link for link in kept if draft.is_direct(link))
        if direct:
            kept = direct
        elif kept and kept[0].parent not in draft.children and _is_sure(kept[0], evidence.tables[name]):
            kept = kept[:1] if disputed(evidence.tables[name]) == 0 else kept
        path_links[name] = tuple(link for link in kept if not link.itself or _is_needed(link, evidence.tables[name]))
    return replace(draft, path_links=_leading(draft, path_links))


def _leading(draft: Draft, path_links: dict[Name, tuple[Link, ...]]) -> dict[Name, tuple[Link, ...]]:
    """Without the paths to tables that have lost all of theirs."""
    while True:
        ends = {draft.table, *draft.children, *(name for name, links in path_links.items() if links)}
        kept = {name: tuple(link for link in links if link.parent in ends) for name, links in path_links.items()}
        # A table that refers only to itself leads nowhere.
        kept = {name: links for name, links in kept.items() if any(not link.itself for link in links)}
        if kept == path_links:
            return kept
        path_links = kept


def _is_sure(link: Link, evidence: TableEvidence) -> bool:
    """Every row, including future ones, finds its tenant along the link."""
    path_evidence = evidence_of(link, evidence)
    return not link.nullable and path_evidence is not None and path_evidence.rows == evidence.rows


def _is_needed(link: Link, evidence: TableEvidence) -> bool:
    path_evidence = evidence_of(link, evidence)
    return path_evidence is not None and path_evidence.alone > 0
