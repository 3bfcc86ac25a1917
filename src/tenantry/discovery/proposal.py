"""The result of discovery: a spec, and the reasons for each decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tenantry.discovery.links import Link
from tenantry.model.evidence import Evidence
from tenantry.model.name import Name
from tenantry.model.schema import Schema
from tenantry.model.spec import Orphans, Spec, TablePart


class Undecided(StrEnum):
    """What is proposed for tables that no path reaches: a question, shared, or the default tenant's."""

    ASK = "ask"
    SHARED = "shared"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A unique constraint or index across tenants, and an assessment of it.

    A person decides whether it becomes per-tenant; `proposed`: nothing is known that contradicts it.
    """

    name: str
    columns: tuple[str, ...]
    proposed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One table's part of the spec, with its reasons, a sentence each.

    `links` are those that the part follows, including the children's, `others` those that it could follow. For an
    undecided table, `cause` is the same for all tables that wait for the same answer, and `answer` is a line of the
    spec that would give it.
    """

    table: Name
    part: TablePart
    reasons: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    links: tuple[Link, ...] = ()
    others: tuple[Link, ...] = ()
    cause: str = ""
    answer: str = ""

    @property
    def kind(self) -> str:
        """The decision: undecided, shared, mixed or owned."""
        if self.part.undecided is not None:
            return "undecided"
        if self.part.shared:
            return "shared"
        return "mixed" if self.part.orphans is Orphans.SHARED else "owned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The spec, its reasons, and the evidence for it.

    `tenant` is the tenant table, which migrate creates if `create` is set.
    """

    spec: Spec
    tenant: Name
    reasons: tuple[str, ...] = ()
    decisions: Mapping[Name, Decision] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def undecided(self) -> tuple[Decision, ...]:
        """The tables for which a person must decide."""
        return tuple(one for one in self.decisions.values() if one.part.undecided is not None)

    @property
    def questions(self) -> Mapping[tuple[str, str], tuple[Decision, ...]]:
        """The undecided tables by their cause and the line that answers it, causes with the most tables first."""
        found: dict[tuple[str, str], list[Decision]] = {}
        for decision in self.undecided:
            found.setdefault((decision.cause, decision.answer), []).append(decision)
        return {key: tuple(several) for key, several in sorted(found.items(), key=lambda one: -len(one[1]))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """The database as discover has read it: the schema, the resulting decisions, and the slugs of the tenants."""

    schema: Schema
    proposal: Proposal
    tenants: tuple[str, ...]
