"""tenantry.toml as discover writes it: the spec, the reason for each choice, and the questions for a person."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

import tomlkit

from tenantry.discovery.proposal import Constraint, Decision, Proposal
from tenantry.model.spec import Hop, Orphans, ReferencePart, Spec, TablePart, TenantPart

WIDTH = 100


def spec_text(proposal: Proposal) -> str:
    """The commented file, which Spec.parse can read; the same database gives the same text."""
    blocks = [
        _lines(_heading(proposal)),
        _toml({"version": proposal.spec.version, "schemas": list(proposal.spec.schemas)}),
        _lines(proposal.reasons) + _toml({"tenant": _tenant(proposal.spec.tenant)}),
        *(decision_text(decision) for decision in proposal.decisions.values()),
        *(reference_text(part) for part in proposal.spec.reference),
    ]
    text = "\n".join(blocks)
    # The text is parsed once more before it is used.
    assert Spec.parse(text) == proposal.spec
    return text


def totals(proposal: Proposal) -> str:
    """The number of tables for each kind of decision."""
    kinds = Counter(decision.kind for decision in proposal.decisions.values())
    counted = ", ".join(f"{kinds[kind]} {kind}" for kind in ("owned", "mixed", "shared", "undecided") if kinds[kind])
    tables = "1 table" if len(proposal.decisions) == 1 else f"{len(proposal.decisions)} tables"
    return f"{tables} beside the tenant table: {counted}"


def _heading(proposal: Proposal) -> Iterator[str]:
    yield "Proposed by `tenantry discover`, from the foreign keys and the rows."
    yield f"{totals(proposal)}."
    if proposal.undecided:
        yield "A person must decide before anything is migrated. For these tables delete the line `undecided`"
        yield from (f"  {decision.part.name}" for decision in proposal.undecided)
        yield "and, if they have no paths or children yet, add one of"
        yield "  shared = true                  # reference data, the same for all tenants"
        yield '  assign = { tenant = "SLUG" }   # all rows belong to one tenant'
        yield '  assign = { column = "NAME" }   # or sql or csv: each row has a slug or key'


def _tenant(part: TenantPart) -> dict[str, Any]:
    written: dict[str, Any] = {name: getattr(part, name) for name in ("table", "key", "slug", "column", "setting")}
    if part.default is not None:
        written["default"] = part.default
    if part.create:
        written["create"] = True
    return written


def set_apart(sentence: str) -> str:
    """A comment between blocks."""
    return _lines((sentence,))


def part_line(part: TablePart) -> str:
    """A table's part of the spec, in one line and without its name."""
    return ", ".join(tomlkit.dumps({key: value}).strip() for key, value in written(part).items() if key != "name")


def decision_text(decision: Decision) -> str:
    """A table's block of the file: reasons, keys, and what a person may add."""
    table = tomlkit.aot()
    table.append(tomlkit.item(written(decision.part)))
    notes = (_note(constraint) for constraint in decision.constraints)
    return _lines(decision.reasons) + _toml({"table": table}) + _lines(notes) + _listing(decision)


def written(part: TablePart) -> dict[str, Any]:
    """The keys of a table's part, as they are written in a file."""
    written: dict[str, Any] = {"name": part.name}
    if part.shared:
        written["shared"] = part.shared
    if part.paths:
        written["paths"] = [[_hop(hop) for hop in path] for path in part.paths]
    if part.children:
        written["children"] = list(part.children)
    if part.assign is not None:
        written["assign"] = tomlkit.inline_table()
        written["assign"].update(part.assign.model_dump(exclude_none=True))
    if part.membership is not None:
        written["membership"] = part.membership
    if part.writable:
        written["writable"] = part.writable
    if part.column is not None:
        written["column"] = part.column
    if part.orphans is not Orphans.FAIL:
        written["orphans"] = str(part.orphans)
    if part.unique:
        written["unique"] = list(part.unique)
    if part.undecided is not None:
        written["undecided"] = part.undecided
    return written


def _listing(decision: Decision) -> str:
    """The commented line that lists the constraints that may become per-tenant, for a person to uncomment."""
    names = [constraint.name for constraint in decision.constraints if constraint.proposed]
    if not names or decision.part.undecided is not None:
        return ""
    return "".join(f"# {line}\n" for line in _toml({"unique": names}).splitlines())


def reference_text(part: ReferencePart) -> str:
    """A reference's block of the file."""
    written = part.model_dump(by_alias=True, exclude_defaults=True)
    reference = tomlkit.aot()
    reference.append(tomlkit.item(written))
    return _toml({"reference": reference})


def _hop(hop: Hop) -> str | list[str]:
    return hop[0] if len(hop) == 1 else list(hop)


def _note(constraint: Constraint) -> str:
    columns = f" ({', '.join(constraint.columns)})" if constraint.columns else ""
    return f"unique {constraint.name}{columns}: {constraint.reason}."


def _toml(content: dict[str, Any]) -> str:
    return tomlkit.dumps(content)


def _lines(sentences: Iterator[str] | tuple[str, ...]) -> str:
    """Comment lines; a name with a line break in it stays within its comment."""
    found = []
    for sentence in sentences:
        plain = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in sentence)
        indent = " " * (len(plain) - len(plain.lstrip()))
        found += textwrap.wrap(
            plain, WIDTH, initial_indent="# ", subsequent_indent="#   " + indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return "".join(f"{line}\n" for line in found)
