"""Who typed a row in is not who owns it: references that say the one are told from those that say the other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set

from tenantry.discovery.draft import Draft, evidence_of
from tenantry.discovery.links import Link
from tenantry.model.evidence import Evidence
from tenantry.model.name import Name

CROWD = 0.25
"""The share of all tables from which references lead to a parent that knows their writers."""
FEW = 3
"""Fewer tables are no crowd."""
MISTAKES = 20
"""Fewer than one in so many rows that disagree are mistakes."""
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
"""What such columns are called in English, Portuguese, Spanish, German and French: a hint, never a proof."""


def audits(draft: Draft, evidence: Evidence) -> frozenset[Link]:
    """The links that say who has written a row.

    A name that says so is believed where the schema or the data agree: many tables refer to that parent, or this one
    does so twice, or the row has another way, or that way says another tenant. Without the name it takes a parent to
    which many tables refer, or several by a column that is called so beside another one to the same parent; a key that
    may be NULL; and another way that disagrees in more rows than could be mistakes.
    What a column says of the writer in one table it says in all that call it so and refer to the same parent.
    """
    crowd, candidates = _crowd(draft), tuple(_candidates(draft))
    found = {link for link in candidates if _says_who_wrote(draft, evidence, link, crowd)}
    found |= _alike(candidates, found)
    beside = {link for link in candidates if _is_beside(draft, link, found)}
    return frozenset(found | beside | _alike(candidates, beside))


def _alike(candidates: Sequence[Link], found: Set[Link]) -> set[Link]:
    """Those that are called as one that was found, and lead to the same parent."""
    known = {(link.parent, link.columns) for link in found}
    return {link for link in candidates if link.nullable and (link.parent, link.columns) in known}


def _is_beside(draft: Draft, link: Link, found: Set[Link]) -> bool:
    """Beside one that was found, in a table that leads nowhere else than to that parent: it cannot own the rows."""
    ways = draft.ways[link.table]
    return (
        link.nullable
        and all(other.parent == link.parent for other in ways)
        and any(other in found for other in ways)
    )  # fmt: skip


def _candidates(draft: Draft) -> Iterator[Link]:
    for links in draft.ways.values():
        for link in links:
            if link.parent != draft.table and not link.itself and len(link.columns) == 1:
                yield link


def _crowd(draft: Draft) -> frozenset[Name]:
    """The parents to which many tables refer."""
    tables: Counter[Name] = Counter()
    for name in draft.others:
        tables.update({link.parent for link in draft.links.up[name] if not link.itself})
    least = max(FEW, CROWD * len(draft.others))
    return frozenset(name for name, count in tables.items() if count >= least and name != draft.table)


def _says_who_wrote(draft: Draft, evidence: Evidence, link: Link, crowd: frozenset[Name]) -> bool:
    alike = [other for other in draft.links.up[link.table] if other.parent == link.parent]
    further = [other for other in draft.ways[link.table] if other.parent != link.parent and not other.itself]
    known = evidence.tables.get(link.table)
    way = evidence_of(link, known) if known is not None else None
    if _HINT.search(link.columns[0]):
        return link.parent in crowd or len(alike) > 1 or bool(further) or (way is not None and way.differs > 0)
    differs = way is not None and way.differs * MISTAKES > way.found
    named = [other.table for other in draft.links.down[link.parent] if other.columns == link.columns]
    common = link.parent in crowd or (len(alike) > 1 and len(named) >= FEW)
    return common and link.nullable and bool(further) and differs
