"""Who typed a row in is not who owns it: references that say the one are told from those that say the other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from tenantry.discovery.draft import Draft, evidence_of
from tenantry.discovery.links import Link
from tenantry.model.evidence import Evidence
from tenantry.model.name import Name

CROWD = 0.4
"""The share of all tables from which references lead to a parent that knows their writers."""
FEW = 3
"""Fewer tables are no crowd."""
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

    A name that says so is believed where the schema or the data agree: nearly all tables refer to that parent, or this
    one does so twice, or the row has another way, or that way says another tenant. Without the name it takes a parent
    to which nearly all tables refer, a key that may be NULL, and either another way that disagrees in some row, or two
    such keys in one table beside another way.
    """
    crowd = _crowd(draft)
    return frozenset(link for link in _candidates(draft) if _says_who_wrote(draft, evidence, link, crowd))


def _candidates(draft: Draft) -> Iterator[Link]:
    for links in draft.ways.values():
        for link in links:
            if link.parent != draft.table and not link.itself and len(link.columns) == 1:
                yield link


def _crowd(draft: Draft) -> frozenset[Name]:
    """The parents to which nearly all tables refer."""
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
    differs = way is not None and way.differs > 0
    if _HINT.search(link.columns[0]):
        return link.parent in crowd or len(alike) > 1 or bool(further) or differs
    if link.parent not in crowd or not link.nullable or not further:
        return False
    return differs or len(alike) > 1
