"""Compares a spec that a person has edited with the database as it is now: new tables are added, and nothing of the
file is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tenantry.discovery.bookkeeping import tool_table_of
from tenantry.discovery.links import Links
from tenantry.discovery.proposal import Background, Decision, Proposal
from tenantry.discovery.spec_file import decision_text, part_line, reference_text, set_apart
from tenantry.discovery.tenant_table import shown
from tenantry.errors import UsageError
from tenantry.model.name import Name, split
from tenantry.model.schema import Schema
from tenantry.model.spec import ReferencePart, Spec, TablePart


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecDifference:
    """A table for which the file and a new proposal differ, each as a line of a spec."""

    table: Name
    written: str
    proposed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """`addition` goes at the end of the file. `gone` are sentences on what the file names and the database no longer
    has; `background` is what all of it was made from. `standing` is the decision of the file, with the addition, for
    each existing table, as a proposal."""

    addition: str
    background: Background
    standing: Proposal
    added: tuple[Decision, ...] = ()
    references: tuple[ReferencePart, ...] = ()
    gone: tuple[str, ...] = ()
    differences: tuple[SpecDifference, ...] = ()

    @property
    def undecided(self) -> tuple[Decision, ...]:
        """The new tables for which a person must decide."""
        return tuple(decision for decision in self.added if decision.part.undecided is not None)


def update(text: str, spec: Spec, background: Background, *, gone: tuple[str, ...] = ()) -> Update:
    """What to add to the `text` of a spec, so that it has all tables of a proposal that was made for it.

    Raises UsageError if the tables are written such that none can be added at the end of the file.
    """
    home, proposal = spec.schemas[0], background.proposal
    written = {Name.parse(part.name, schema=home): part for part in spec.table}
    known = {*written, Name.parse(spec.tenant.table, schema=home)}
    added = tuple(decision for name, decision in proposal.decisions.items() if name not in known)
    new = {decision.table for decision in added}
    mentioned = set(_columns_named(spec, home))
    missing = [part for part in proposal.spec.reference if _child(part, home) not in mentioned]
    references = tuple(part for part in missing if _child(part, home)[0] in new)
    differences = (
        *(_difference(proposal.decisions[name], part) for name, part in written.items() if name in proposal.decisions),
        *(SpecDifference(table=_child(part, home)[0], written="", proposed=one_line(reference_text(part)))
          for part in missing if part not in references),
    )  # fmt: skip
    addition = ""
    if added:
        blocks = [set_apart("Added by `tenantry discover --update`."), *map(decision_text, added)]
        addition = "\n".join([*blocks, *map(reference_text, references)])
    _require_valid(text + addition, spec)
    decisions = {
        name: decision if name not in written else _as_written(decision, written[name], home)
        for name, decision in proposal.decisions.items()
    }
    standing = replace(proposal, decisions=decisions, reasons=(*proposal.reasons, *gone))
    return Update(
        addition=addition, background=background, standing=standing, added=added, references=references, gone=gone,
        differences=tuple(one for one in differences if one is not None),
    )  # fmt: skip


def by_keys(spec: Spec, schema: Schema, tenant: Name) -> Proposal:
    """The proposal for a tenant table that migrate creates: nothing refers to it yet, so a new table's keys to the
    owned tables of the spec are the only evidence."""
    links, home = Links(schema), spec.schemas[0]
    owned = {Name.parse(part.name, schema=home) for part in spec.table if not part.shared and part.undecided is None}
    decisions = {}
    for name, table in links.tables.items():
        paths = dict.fromkeys((link.columns,) for link in links.up[name] if link.parent in owned - {name})
        why, answer = "no path reaches it", "shared = true"
        if paths:
            why, answer = "it is new, and whether its rows belong to their parents' tenants was not checked", ""
        part, tool = (
            TablePart(name=shown(name, home), paths=tuple(paths), undecided=why),
            tool_table_of(table),
        )
        if tool is not None:
            part = TablePart(name=part.name, shared=tool.shared)
        decisions[name] = Decision(
            table=name, part=part, cause=why, answer=answer or "delete the line undecided, if that is right"
        )
    return Proposal(spec=spec, tenant=tenant, decisions=decisions)


def one_line(block: str) -> str:
    """A block of TOML without comments, for a sentence."""
    return " ".join(line for line in block.splitlines() if line and not line.startswith("#"))


def _difference(decision: Decision, part: TablePart) -> SpecDifference | None:
    """None if both agree, or if a person has answered what discover leaves open."""
    if decision.part.undecided is not None or _meaning(decision.part) == _meaning(part):
        return None
    return SpecDifference(table=decision.table, written=part_line(part), proposed=part_line(decision.part))


def _as_written(decision: Decision, part: TablePart, home: str) -> Decision:
    """The decision in the file for a table, with the part that discover would write as a reason if it differs."""
    followed = {(decision.table, tuple(path[0])) for path in part.paths}
    followed |= {_column(child, home) for child in part.children}
    all_links = dict.fromkeys((*decision.links, *decision.others))
    links = tuple(link for link in all_links if (link.table, link.columns) in followed)
    others = tuple(link for link in all_links if link not in links and link.table == decision.table)
    reasons, found = decision.reasons, _difference(decision, part)
    if found is not None:
        reasons = (f"The spec says so; discover would write {found.proposed}", *reasons)
    elif decision.part.undecided is not None and part.undecided is None:
        reasons = (f"The spec says so; discover would ask: {decision.part.undecided}", *reasons)
    if part.undecided is None or decision.part.undecided is None:
        answer = part_line(decision.part) if part.undecided is not None else ""
        decision = replace(decision, cause=part.undecided or "", answer=answer)
    return replace(decision, part=part, links=links, others=others, reasons=reasons)


def _meaning(part: TablePart) -> tuple[object, ...]:
    """The keys that a person might decide differently; discover never decides which constraints become per-tenant."""
    return (
        part.shared, part.paths, part.children, part.assign, part.orphans, part.membership, part.undecided is None
    )  # fmt: skip


def _child(part: ReferencePart, home: str) -> tuple[Name, tuple[str, ...]]:
    """The table and the columns of a reference."""
    return _column(part.child, home)


def _column(text: str, home: str) -> tuple[Name, tuple[str, ...]]:
    *name, column = split(text)
    return Name(*name) if len(name) == 2 else Name(home, name[0]), (column,)


def _columns_named(spec: Spec, home: str) -> Iterator[tuple[Name, tuple[str, ...]]]:
    """The keys that the spec mentions already: references, and the first hop of each path."""
    yield from (_child(part, home) for part in spec.reference)
    for part in spec.table:
        yield from ((Name.parse(part.name, schema=home), tuple(path[0])) for path in part.paths)


def _require_valid(text: str, spec: Spec) -> None:
    try:
        Spec.parse(text, path=spec.path)
    except UsageError as error:
        raise UsageError(
            f"New tables cannot be added to {spec.path or 'the spec'}: {error.message}",
            remedy="Write each table as a block of its own, [[table]], and run the command again.",
        ) from error
