"""What the rows of a database say, given by hand: discovery asks a census, and gets these figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tenantry.discovery.draft import Draft
from tenantry.discovery.links import Links
from tenantry.discovery.proposal import Decision, Proposal, Undecided
from tenantry.discovery.propose import propose
from tenantry.model.evidence import Census, CensusQuestion, Evidence, PathEvidence, PathKind, TableEvidence
from tenantry.model.name import Name
from tenantry.model.schema import Schema, Table
from tenantry.model.spec import TenantPart
from unit.schemas import TENANTS, name, schema

ROWS = 10
"""A table's, where nothing else is said of it: along each way all of them find their tenant, of several."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is true of a table. `ways` has, by the columns that a way begins with, or the child's name, how many rows it
    brings to a tenant and how many to another one."""

    rows: int = ROWS
    paths: dict[str, tuple[int, int]] = field(default_factory=dict)
    conflicts: int = 0
    several: bool = True


Answers = dict[str, Rows]


def answer(question: CensusQuestion, rows: Rows) -> TableEvidence:
    paths = []
    for label, kind in question.paths:
        begins = label.removeprefix("public.").partition(" > ")[0]
        found, differs = rows.paths.get(begins, (rows.rows, 0))
        paths.append((label, kind, found, differs))
    giving = [found for _, kind, found, _ in paths if kind is not PathKind.REFERENCE]
    known = max(giving, default=0)
    return TableEvidence(
        table=question.table, rows=rows.rows, orphans=rows.rows - known, conflicts=rows.conflicts,
        policy=question.policy, several=rows.several and known > 0,
        paths=tuple(
            PathEvidence(label=label, kind=kind, rows=found, alone=found if len(giving) == 1 else 0, differs=differs)
            for label, kind, found, differs in paths
        ),
    )  # fmt: skip


def answering(given: Answers | None = None) -> Callable[[Census], Evidence]:
    """Takes the census by what is `given` of tables."""

    def ask(census: Census) -> Evidence:
        return census.evidence([answer(one, (given or {}).get(one.table.name, Rows())) for one in census.questions])

    return ask


def proposed(
    *tables: Table, given: Answers | None = None, tenants: Table | None = TENANTS, undecided: Undecided = Undecided.ASK,
    tenant_table: str | None = None,
) -> Proposal:  # fmt: skip
    found = schema(*filter(None, (tenants, *tables)))
    return propose(found, ask=answering(given), undecided=undecided, tenant_table=tenant_table)


def decision(proposal: Proposal, table: str) -> Decision:
    return proposal.decisions[name(table)]


def drafted(*tables: Table) -> Draft:
    """All ways of these tables to the tenants."""
    found: Schema = schema(TENANTS, *tables)
    part = TenantPart(table="tenants")
    return Draft(links=Links(found), home="public", tenant=part, table=Name("public", "tenants")).followed()
