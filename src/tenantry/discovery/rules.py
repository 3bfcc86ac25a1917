"""From the census of a table to its part of the spec, with the reasons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from tenantry.discovery.bookkeeping import ToolTable
from tenantry.discovery.draft import Draft, evidence_of
from tenantry.discovery.links import Link
from tenantry.discovery.proposal import Decision, Undecided
from tenantry.discovery.search import Search
from tenantry.discovery.uniqueness import constraints
from tenantry.model.evidence import PathKind, Sample, TableEvidence
from tenantry.model.name import Name, quoted
from tenantry.model.spec import Assign, Orphans, TablePart

_SHOWN = 3
_SAY = 'shared = true, or assign = { tenant = "SLUG" }'


def assigned(draft: Draft, name: Name, slug: str) -> Decision:
    """Every row belongs to one tenant."""
    part = TablePart(name=draft.name(name), assign=Assign(tenant=slug), column=draft.column(name))
    return _with_constraints(draft, Decision(table=name, part=part), _onward(draft, name, set(draft.others)))


def decided(search: Search, name: Name) -> Decision:
    """The decision for a table that is reached, by its census."""
    draft, evidence = search.draft, search.evidence.tables[name]
    followed = (*draft.path_links.get(name, ()), *draft.children.get(name, ()))
    part = draft.part(name)
    cause, answer = "", ""
    reasons = [_summary(evidence), *_along(draft, name, evidence)]
    if (pairs := next(_link_tables(draft, name), None)) is not None and name in draft.children:
        # With one tenant, or before the first row has two, a link table looks like a child that determines the owner.
        return _membership(search, name, pairs, tuple(reasons))
    if evidence.conflicts:
        part = part.model_copy(update={"undecided": _conflict(draft, name, evidence)})
        cause = f"{_disagreeing(draft, name, evidence)}, so that some rows have two tenants"
        answer = '[[reference]] from = "TABLE.COLUMN" crosses = true, or correct the rows'
        reasons += _crossing(draft, name, evidence)
    elif question := _filled_by_others(search, name):
        part = part.model_copy(update={"undecided": question})
        cause = "the tenant's column is NULL in some rows, and other paths lead from these to a tenant"
        answer = 'orphans = "shared", or the other paths in paths'
        reasons += _mixed_or_owned(search, name)
    elif evidence.rows == 0:
        reasons += _empty(followed)
    elif evidence.orphans and (draft.children.get(name) or not all(link.declared for link in followed)):
        part = part.model_copy(
            update={"undecided": f"{_share(evidence.orphans, evidence.rows)} find no tenant{_examples(evidence)}"}
        )
        cause, answer = "some rows find no tenant", 'orphans = "default", "quarantine" or "shared"'
        reasons.append('Correct those rows, or set orphans to "default", "quarantine" or "shared".')
    elif evidence.orphans:
        part = part.model_copy(update={"orphans": Orphans.SHARED})
        reasons.append(f"Rows without a tenant are shared by all{_examples(evidence)}.")
        reasons.append('If they are errors, set orphans = "fail" and correct them, or set orphans = "default".')
    others = tuple(link for link in search.all.path_links.get(name, ()) if link not in followed)
    reasons += _not_followed(search, name, others)
    reasons += _audited(search, name)
    decision = Decision(
        table=name, part=part, reasons=tuple(reasons), links=followed, others=others, cause=cause, answer=answer
    )
    owned = {*draft.path_links, *draft.children}
    return _with_constraints(draft, decision, _onward(draft, name, owned))


def tool_table(draft: Draft, name: Name, tool: ToolTable) -> Decision:
    """Bookkeeping of a framework or a migration tool."""
    what = "which the application writes for all tenants" if tool.shared == "write" else "no tenant's rows"
    return Decision(
        table=name, part=TablePart(name=draft.name(name), shared=tool.shared),
        reasons=(f"Kept by {tool.tool}: {what}.",),
    )  # fmt: skip


def shared_by_keys(search: Search, name: Name) -> Decision:
    """An empty table that refers to shared tables only."""
    columns = ", ".join(_columns(link) for link in search.all.path_links.get(name, ()))
    part = TablePart(name=search.draft.name(name), shared=True)
    reason = f"The table is empty, and was decided by its foreign keys: {columns} leads to shared tables only."
    return Decision(table=name, part=part, reasons=(reason,), others=search.all.path_links.get(name, ()))


def shared_by_data(search: Search, name: Name) -> Decision:
    """There are paths to a tenant, and no row follows one."""
    evidence = search.first.tables[name]
    links = search.all.path_links.get(name, ())
    columns = ", ".join(_columns(link) for link in links)
    if any(not link.declared and not link.nullable for link in links):
        why = f"{columns} looks like a tenant's key, but contains no tenant in any of {evidence.rows:,} rows"
        return Decision(
            table=name, part=TablePart(name=search.draft.name(name), undecided=why), others=links,
            cause=f"{columns} looks like a tenant's key, but contains no tenant", answer=_SAY,
        )  # fmt: skip
    part = TablePart(name=search.draft.name(name), shared=True)
    rows = (
        "The only row finds no tenant" if evidence.rows == 1 else f"None of the {evidence.rows:,} rows finds a tenant"
    )
    reason = f"{rows} along {columns}: shared by all."
    return Decision(table=name, part=part, reasons=(reason,), others=search.all.path_links.get(name, ()))


def unreached(search: Search, name: Name, undecided: Undecided, default: str, common: Link | None) -> Decision:
    """No path leads from the table to a tenant, and its children do not determine one.

    `common` is a link from shared rows or rows of several tenants: what they refer to cannot belong to one tenant.
    """
    if (pairs := next(_link_tables(search.draft, name), None)) is not None:
        return _membership(search, name, pairs, tuple(_audited(search, name)))
    used = _used_by_all(search, name)
    audited = tuple(_audited(search, name))
    if used:
        part = TablePart(name=search.draft.name(name), shared=True)
        return Decision(table=name, part=part, reasons=(f"{used}: shared by all.", *audited))
    why = f"no path reaches it{_childless(search, name)}"
    if audited:
        why = f"its columns only tell who wrote a row{_childless(search, name)}"
    cause, answer = "their columns only tell who wrote a row" if audited else "no path reaches them", _SAY
    if (alike := search.draft.undeclared(name)) is not None:
        why = (
            f"{_columns(alike)} looks like a reference without a foreign key:"
            f" {search.draft.name(alike.table)}.{_columns(alike)} refers to {search.draft.name(alike.parent)}"
        )
        cause, answer = "their columns look like references without a foreign key", f'assign = {{ sql = "…" }}, {_SAY}'
        # Copies of tenants' rows, such as a history, are not shared by an answer for all tables.
        undecided = Undecided.ASK if undecided is Undecided.SHARED else undecided
    reasons: tuple[str, ...] = (why[0].upper() + why[1:] + ".", *audited)
    hint: tuple[str, ...] = audited
    if common is not None:
        link = f"{search.draft.name(common.table)}.{_columns(common)}"
        hint = (*hint, f"{link} refers to it, for several tenants or for all.")
    text = search.draft.name(name)
    match undecided:
        case Undecided.SHARED:
            return Decision(table=name, part=TablePart(name=text, shared=True), reasons=reasons)
        case Undecided.DEFAULT if common is not None:
            reasons = (*reasons, *hint, "So it cannot belong to the default tenant: shared by all.")
            return Decision(table=name, part=TablePart(name=text, shared=True), reasons=reasons)
        case Undecided.DEFAULT:
            return replace(assigned(search.draft, name, default), reasons=reasons)
        case Undecided.ASK:
            part = TablePart(name=text, undecided=why)
            return Decision(table=name, part=part, reasons=hint, cause=cause, answer=answer)


_STATES = ("boolean", "date", "timestamp", "time")
"""Types of columns that a link table has beside its keys: a date, and a flag."""


def _link_tables(draft: Draft, name: Name) -> Iterator[Link]:
    """The links to the table from tables that pair its rows with tenants, each pair once, and have no other data."""
    for link in draft.links.down[name]:
        table = draft.links.tables[link.table]
        tenants = [one for one in draft.path_links.get(link.table, ()) if draft.is_direct(one)]
        if link.itself or not link.declared or not tenants:
            continue
        pair = {*link.columns, *tenants[0].columns}
        once = any(set(one.columns) == pair and not one.partial for one in table.uniques)
        others = [column for column in table.columns if column.name not in {*pair, *table.primary_key}]
        if once and all(column.base_type.startswith(_STATES) for column in others):
            yield link


def _membership(search: Search, name: Name, link: Link, reasons: tuple[str, ...]) -> Decision:
    """A question: the data cannot tell whether only the tenants in the link table may see the row, or all may."""
    table = search.draft.name(link.table)
    evidence = search.refused.get(name) or search.first.tables.get(name)
    figures = ""
    if evidence is not None:
        several = max(
            (path.differs for path in evidence.paths if path.kind is PathKind.CHILD),
            default=0,
        )
        figures = f": {_share(evidence.with_tenant, evidence.rows)} are linked to a tenant, {several:,} to several"
    part = TablePart(
        name=search.draft.name(name), membership=table, undecided=f"{table} pairs its rows with tenants{figures}"
    )
    return Decision(
        table=name, part=part, reasons=reasons, others=(link,), cause="a link table pairs their rows with tenants",
        answer="delete the line undecided, if the tenants that are linked to a row may read it; or set shared = true"
        " instead of membership, if all may",
    )  # fmt: skip


def _summary(evidence: TableEvidence) -> str:
    if evidence.rows == 0:
        return "The table is empty."
    if evidence.conflicts or evidence.orphans:
        return f"{_share(evidence.with_tenant, evidence.rows)} find a tenant."
    return "The only row finds its tenant." if evidence.rows == 1 else f"All {evidence.rows:,} rows find their tenant."


def _along(draft: Draft, name: Name, evidence: TableEvidence) -> Iterator[str]:
    """The figures of each path, if there are several or the one is not sure."""
    several = len(draft.path_links.get(name, ())) + len(draft.children.get(name, ())) > 1
    for child, links in ((False, draft.path_links.get(name, ())), (True, draft.children.get(name, ()))):
        for link in links:
            path_evidence = evidence_of(link, evidence, child=child)
            if path_evidence is None or evidence.rows == 0:
                continue
            words = [f"{path_evidence.rows:,}"]
            words += [f"{path_evidence.alone:,} by this path only"] if path_evidence.alone and several else []
            words += [f"{path_evidence.differs:,} to another tenant"] if path_evidence.differs else []
            label = f"children {link.table}.{_columns(link)}" if child else _columns(link)
            yield f"{label}{' (never NULL)' if not link.nullable and not child else ''}: {', '.join(words)}."


def _empty(followed: tuple[Link, ...]) -> Iterator[str]:
    if all(link.nullable for link in followed):
        yield "So the rows do not show whether a row may have no tenant: one without will be refused."
        yield 'If such rows are shared by all, set orphans = "shared".'


def _not_followed(search: Search, name: Name, others: tuple[Link, ...]) -> Iterator[str]:
    evidence = search.first.tables.get(name)
    for link in others:
        path_evidence = evidence_of(link, evidence) if evidence is not None else None
        if path_evidence is not None and link.parent in search.draft.path_links | search.draft.children:
            yield f"{_columns(link)} leads there too, for {path_evidence.rows:,} rows and to no other tenant."


def _direct(draft: Draft, name: Name) -> Link | None:
    """The link of a column that holds the tenant itself, if the table follows only that one."""
    links = draft.path_links.get(name, ())
    return links[0] if len(links) == 1 and draft.is_direct(links[0]) and not draft.children.get(name) else None


def _filled_by_others(search: Search, name: Name) -> str:
    """The question about rows without a tenant of their own for which other paths lead to one; empty if there are
    none."""
    direct, first = _direct(search.draft, name), search.first.tables.get(name)
    path_evidence = evidence_of(direct, first) if direct is not None and first is not None else None
    if direct is None or first is None or path_evidence is None or first.with_tenant <= path_evidence.rows:
        return ""
    others = (link for link in search.all.path_links.get(name, ()) if link != direct and not link.itself)
    more = first.with_tenant - path_evidence.rows
    return (
        f"{_columns(direct)} is NULL in {_share(first.rows - path_evidence.rows, first.rows)}, and of"
        f" {'one of these' if more == 1 else f'{more:,} of these'} {', '.join(map(_columns, others))} leads to a tenant"
    )


def _mixed_or_owned(search: Search, name: Name) -> Iterator[str]:
    direct = _direct(search.draft, name)
    paths = [list(link.columns) for link in search.all.path_links.get(name, ()) if not link.itself]
    listed = ", ".join(json.dumps([path[0] if len(path) == 1 else path]) for path in paths)
    if direct is not None:
        yield 'If all tenants share those rows, set orphans = "shared" instead of undecided.'
        yield f"If they belong to the tenant that these columns lead to, set paths = [{listed}]."


def _crossing(draft: Draft, name: Name, evidence: TableEvidence) -> Iterator[str]:
    """The value for a reference that is meant to cross tenants."""
    for path_evidence in evidence.paths:
        column = path_evidence.label.partition(" > ")[0]
        if path_evidence.kind is PathKind.REFERENCE and path_evidence.differs and "," not in column:
            yield (
                f"If {column} of a row may refer to another tenant's row, add"
                f' [[reference]] from = "{draft.name(name)}.{quoted(column)}" crosses = true.'
            )


def _audited(search: Search, name: Name) -> Iterator[str]:
    """The references that name the writer of a row."""
    columns = sorted({_columns(link) for link in search.draft.audits_of(name)})
    if columns:
        yield f"{', '.join(columns)}: tells who wrote the row, not who owns it; may be of another tenant."


def _used_by_all(search: Search, name: Name) -> str:
    """Whether most rows with children have children of several tenants."""
    evidence = search.refused.get(name)
    if evidence is None or evidence.with_tenant == 0:
        return ""
    disputes = max(path.differs for path in evidence.paths if path.kind is PathKind.CHILD)
    # If the only other fact is who has written the rows, half of them are enough.
    if disputes * 2 + bool(search.draft.audits_of(name)) <= evidence.with_tenant:
        return ""
    return f"{disputes:,} of {evidence.with_tenant:,} rows with children have children of two tenants"


def _conflict(draft: Draft, name: Name, evidence: TableEvidence) -> str:
    """The path with precedence and those that contradict it, with the number of rows and some of them."""
    names = _disagreeing(draft, name, evidence)
    return f"{names} in {_share(evidence.conflicts, evidence.rows)}{_examples(evidence)}"


def _disagreeing(draft: Draft, name: Name, evidence: TableEvidence) -> str:
    links = [(link, False) for link in draft.path_links.get(name, ())]
    links += [(link, True) for link in draft.children.get(name, ())]
    names: list[str] = []
    for link, child in links:
        path_evidence = evidence_of(link, evidence, child=child)
        if not names or (path_evidence is not None and path_evidence.differs):
            names.append(f"{draft.name(link.table)}.{_columns(link)}" if child else _columns(link))
    crossing = [
        path_evidence
        for path_evidence in evidence.paths
        if path_evidence.kind is PathKind.REFERENCE and path_evidence.differs
    ]
    names += [path_evidence.label.partition(" > ")[0] for path_evidence in crossing]
    return f"{' and '.join(names)} {'disagree' if len(names) > 1 else 'leads to two tenants'}"


def _childless(search: Search, name: Name) -> str:
    evidence = search.refused.get(name)
    if evidence is None or evidence.rows == 0:
        return ""
    disputes = max(path.differs for path in evidence.paths if path.kind is PathKind.CHILD)
    if disputes:
        return f", and {_share(disputes, evidence.rows)} have children of two tenants"
    if evidence.with_tenant:
        return f", and all children with a tenant ({evidence.with_tenant:,} rows have some) have the same one"
    return ", and no row has children with a tenant"


def _examples(evidence: TableEvidence) -> str:
    samples = evidence.conflict_samples or evidence.orphan_samples
    return f", such as {'; '.join(_example(sample) for sample in samples[:_SHOWN])}" if samples else ""


def _example(sample: Sample) -> str:
    key = " ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in sample.key.items())
    tenants = sorted({slug for slugs in sample.tenants.values() for slug in slugs})
    return f"{key} ({', '.join(tenants)})" if tenants else key


def _share(some: int, rows: int) -> str:
    return f"{some:,} of {rows:,} rows"


def _columns(link: Link) -> str:
    return ", ".join(link.columns)


def _onward(draft: Draft, name: Name, owned: set[Name]) -> tuple[Link, ...]:
    """The links by which a row's values determine its tenant."""
    ends = {draft.table, *owned}
    return tuple(link for link in draft.links.up[name] if link.parent in ends and not link.itself)


def _with_constraints(draft: Draft, decision: Decision, telling: tuple[Link, ...]) -> Decision:
    return replace(decision, constraints=tuple(constraints(draft.links.tables[decision.table], telling)))
