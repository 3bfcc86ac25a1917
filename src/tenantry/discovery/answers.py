"""The answers that a person can give for a table that discover has left undecided, and what each answer writes into the
spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenantry.discovery.choice import SpecEditor
from tenantry.discovery.proposal import Decision, Proposal
from tenantry.discovery.spec_file import part_line, written
from tenantry.errors import UsageError
from tenantry.model.evidence import PathKind, TableEvidence
from tenantry.model.name import Name, quoted
from tenantry.model.schema import Schema
from tenantry.model.spec import Spec, TablePart
from tenantry.planning.ownership import resolve

NOT_SHARED = ("shared", "paths", "children", "assign", "orphans", "unique", "column", "membership", "writable")
"""Keys of a table's part that state how it is owned, or that it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`meaning` is a sentence, the same for all tables that it fits. It writes the keys `written` (None removes a key),
    or chooses the path that begins with `path`, or lets `crosses` refer to another tenant's row. `slug` is set if the
    slug of a tenant must be given, and for which key: "assign" or "default"."""

    meaning: str
    written: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    crosses: tuple[str, ...] = ()
    slug: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableQuestion:
    """A table that waits for a decision: `why`, the known facts, and the possible answers. Tables with the same `cause`
    wait for the same answer. `rows` may be an estimate."""

    table: Name
    part: TablePart
    rows: int
    why: str
    cause: str
    reasons: tuple[str, ...]
    answers: tuple[Answer, ...]


def questions(spec: Spec, proposal: Proposal, schema: Schema) -> tuple[TableQuestion, ...]:
    """The tables that the spec leaves undecided, those with most rows first."""
    found = []
    for part in spec.table:
        table = Name.parse(part.name, schema=spec.schemas[0])
        if part.undecided is None or table not in schema.tables:
            continue
        decision = proposal.decisions.get(table)
        evidence = proposal.evidence.tables.get(table)
        found.append(
            TableQuestion(
                table=table, part=part, why=part.undecided, cause=decision.cause if decision is not None else "",
                rows=evidence.rows if evidence is not None else max(0, round(schema.tables[table].rows)),
                reasons=decision.reasons if decision is not None else (),
                answers=tuple(_answers(spec, part, decision, evidence)),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-one.rows, one.table)))


def answered(
    text: str, spec: Spec, schema: Schema, given: Sequence[tuple[TableQuestion, Answer]], slug: str = ""
) -> str:  # fmt: skip
    """The `text` of the spec with answers written into it; the rest of it is unchanged.

    Raises UsageError if they do not fit the database.
    """
    editor = SpecEditor(text, spec)
    for question, answer in given:
        if answer.path:
            editor.choose(f"{question.part.name}.{answer.path}")
            continue
        new = dict(answer.written)
        if answer.slug == "assign":
            new["assign"] = {"tenant": slug}
        editor.write(question.table, new, default=slug if answer.slug == "default" else None)
        for column in answer.crosses:
            editor.let_cross(f"{question.part.name}.{column}")
    changed = editor.text()
    before = resolve(spec, schema, lenient=True).misfits
    for misfit in resolve(Spec.parse(changed, path=spec.path), schema, lenient=True).misfits:
        if misfit not in before:
            raise UsageError(misfit, remedy="Choose another answer.")
    return changed


def _answers(
    spec: Spec, part: TablePart, decision: Decision | None, evidence: TableEvidence | None
) -> Iterator[Answer]:  # fmt: skip
    if decision is not None and decision.part.undecided is None:
        proposed = {name: value for name, value in written(decision.part).items() if name != "name"}
        away = {name: None for name in NOT_SHARED if name not in proposed}
        yield Answer(meaning=f"as discover now proposes: {part_line(decision.part)}", written=away | proposed)
    if part.membership is not None:
        linked = "its rows belong to the tenants that are linked to them: each of these reads"
        yield Answer(meaning=f"{linked} them, and none may write them")
        yield Answer(meaning=f"{linked} and changes them", written={"writable": True})
    if part.paths or part.children:
        yield from _owned(spec, part, decision, evidence)
    away = dict.fromkeys(NOT_SHARED)
    yield Answer(meaning="shared: all tenants read it, and none may write to it", written=away | {"shared": True})
    yield Answer(meaning="shared and writable: all tenants read it and write to it", written=away | {"shared": "write"})
    yield Answer(meaning="all rows belong to one tenant", written=away, slug="assign")


def _owned(
    spec: Spec, part: TablePart, decision: Decision | None, evidence: TableEvidence | None
) -> Iterator[Answer]:  # fmt: skip
    conflicts = evidence.conflicts if evidence is not None else 0
    orphans = evidence.orphans if evidence is not None else 0
    firsts = dict.fromkeys(path[0] for path in part.paths)
    if conflicts and len(firsts) > 1 and all(len(first) == 1 for first in firsts):
        for (column,) in firsts:
            others = ", ".join(other for (other,) in firsts if other != column)
            yield Answer(
                meaning=f"{column} decides the tenant of a row; {others} may lead to another tenant",
                path=quoted(column),
            )  # fmt: skip
    if evidence is not None and (crossing := _crossing(evidence)):
        yield Answer(
            meaning=f"its paths decide; {', '.join(crossing)} may lead to another tenant",
            crosses=tuple(map(quoted, crossing)),
        )  # fmt: skip
    links = [link for link in decision.others if not link.itself] if decision is not None else []
    if links and orphans and not conflicts:
        paths = [*part.paths, *((link.columns,) for link in links)]
        columns = ", ".join(dict.fromkeys(",".join(link.columns) for link in links))
        hops = [[hop[0] if len(hop) == 1 else list(hop) for hop in path] for path in paths]
        yield Answer(meaning=f"its paths decide, also where only {columns} leads to a tenant", written={"paths": hops})
    if orphans:
        # A shared row may not refer to a tenant's row, unless the spec allows it.
        crosses = tuple(quoted(link.columns[0]) for link in links if link.declared and len(link.columns) == 1)
        also = f"; {', '.join(crosses)} may lead to a tenant" if crosses else ""
        yield Answer(
            meaning=f"rows without a tenant are shared by all tenants{also}", written={"orphans": "shared"},
            crosses=crosses,
        )  # fmt: skip
        ask = "" if spec.tenant.default is not None else "default"
        yield Answer(
            meaning=f"rows without a tenant belong to the default tenant{'' if ask else f' {spec.tenant.default!r}'}",
            written={"orphans": "default"}, slug=ask,
        )  # fmt: skip
        yield Answer(meaning="rows without a tenant belong to the quarantine tenant", written={"orphans": "quarantine"})
    elif not conflicts:
        yield Answer(meaning="its paths decide the tenant of a row")


def _crossing(evidence: TableEvidence) -> Sequence[str]:
    columns = [
        path.label.partition(" > ")[0] for path in evidence.paths if path.kind is PathKind.REFERENCE and path.differs
    ]
    return columns if columns and evidence.conflicts == evidence.crossing and "," not in "".join(columns) else ()
