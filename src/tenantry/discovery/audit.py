"""The user who entered a row is not its owner: tells references to the writer of a row from references to its owner."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set

from tenantry.discovery.draft import Draft, evidence_of
from tenantry.discovery.links import Link
from tenantry.model.evidence import Evidence
from tenantry.model.name import Name

OFTEN = 0.25
"""The share of all tables whose references must lead to a parent for it to count as the table of users."""
FEW = 3
"""Fewer tables than this are not enough to tell."""
MISTAKES = 20
"""Rows that disagree count as mistakes if they are fewer than one in this many."""
_DONE = (
    r"creat|updat|modif|chang|edit|enter|insert|approv|confirm|delet|cancel|post|issu|sign|clos|open|assign|record"
    r"|writ|wrote|author|valid|review|lock|publish|check|print|upload|import|register|last"
    r"|cri[ao]|alter|atualiz|modific|edit|aprov|exclu|cadastr|lanc|registr|usuario|usuaria"
    r"|cre[ao]|actualiz|elimin|anul|ingres"
    r"|erstell|angelegt|geaendert|geändert|bearbeit|erfasst|freigegeben|geloescht|gelöscht"
    r"|cre[eé]|modifi[eé]|valid[eé]|supprim[eé]|saisi"
)
_HINT = re.compile(
    rf"(?:^|_)(?:{_DONE})\w*_(?:by|uid|user|user_id|by_id|por|por_id|von|von_id|par|par_id|id_user|usuario|usuario_id)$"
    rf"|^(?:by|por|von|par)_|_(?:criacao|alteracao|creacion|modificacion|cadastro)(?:_id)?$",
    re.IGNORECASE,
)
"""The names of such columns in English, Portuguese, Spanish, German and French: a hint, not a proof."""


def audits(draft: Draft, evidence: Evidence) -> frozenset[Link]:
    """The links that name the writer of a row.

    A column name of this kind is believed if the schema or the data agree: many tables refer to that parent, or this
    one does so twice, or the row has another path, or that path leads to another tenant. Without such a name all of
    these are needed: a parent to which many tables refer, or several by a column of that name beside another one to the
    same parent; a key that may be NULL; and another path that disagrees in more rows than could be mistakes. A column
    that names the writer in one table does so in all tables that have a column of that name to the same parent.
    """
    often_referenced, candidates = _often_referenced(draft), tuple(_candidates(draft))
    found = {link for link in candidates if _names_writer(draft, evidence, link, often_referenced)}
    found |= _alike(candidates, found)
    beside = {link for link in candidates if _is_beside(draft, link, found)}
    return frozenset(found | beside | _alike(candidates, beside))


def _alike(candidates: Sequence[Link], found: Set[Link]) -> set[Link]:
    """Links with the same column name as one that was found, to the same parent."""
    table_evidence = {(link.parent, link.columns) for link in found}
    return {link for link in candidates if link.nullable and (link.parent, link.columns) in table_evidence}


def _is_beside(draft: Draft, link: Link, found: Set[Link]) -> bool:
    """Beside a link that was found, in a table that refers to no other parent: that link cannot own the rows."""
    links = draft.path_links[link.table]
    return (
        link.nullable
        and all(other.parent == link.parent for other in links)
        and any(other in found for other in links)
    )  # fmt: skip


def _candidates(draft: Draft) -> Iterator[Link]:
    for links in draft.path_links.values():
        for link in links:
            if link.parent != draft.table and not link.itself and len(link.columns) == 1:
                yield link


def _often_referenced(draft: Draft) -> frozenset[Name]:
    """The parents to which many tables refer."""
    tables: Counter[Name] = Counter()
    for name in draft.others:
        tables.update({link.parent for link in draft.links.up[name] if not link.itself})
    least = max(FEW, OFTEN * len(draft.others))
    return frozenset(name for name, count in tables.items() if count >= least and name != draft.table)


def _names_writer(draft: Draft, evidence: Evidence, link: Link, often_referenced: frozenset[Name]) -> bool:
    alike = [other for other in draft.links.up[link.table] if other.parent == link.parent]
    further = [other for other in draft.path_links[link.table] if other.parent != link.parent and not other.itself]
    table_evidence = evidence.tables.get(link.table)
    path_evidence = evidence_of(link, table_evidence) if table_evidence is not None else None
    if _HINT.search(link.columns[0]):
        return (
            link.parent in often_referenced
            or len(alike) > 1
            or bool(further)
            or (path_evidence is not None and path_evidence.differs > 0)
        )
    differs = path_evidence is not None and path_evidence.differs * MISTAKES > path_evidence.rows
    named = [other.table for other in draft.links.down[link.parent] if other.columns == link.columns]
    common = link.parent in often_referenced or (len(alike) > 1 and len(named) >= FEW)
    return common and link.nullable and bool(further) and differs
