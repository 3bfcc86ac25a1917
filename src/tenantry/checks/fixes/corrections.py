"""From what checks have found to the corrections that are safe, one table and one check at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tenantry.checks.base import Check, CheckContext
from tenantry.checks.fixes.apply import Fixer, Repaired
from tenantry.checks.fixes.cascades import carried
from tenantry.checks.fixes.plan import FROM_PATHS, Repair, rule_repair, tenant_repairs
from tenantry.checks.verdict import Families
from tenantry.execution.events import Notice, Observer, Reading
from tenantry.model.finding import Family
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.verdict import Verdict
from tenantry.model.wording import counted
from tenantry.postgres.fixes import FixJournal

TENANT_CHECKS = ("rows-without-tenant", "tenant-differs")
"""The checks of a row's tenant that can be corrected by its paths or by the spec's `orphans`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCorrection:
    """What was corrected in one table, or would be: `statement` is the correction, `rows` how many violated the check,
    `fixed` and `left` how many of them were corrected and were not, and `refusals` why not."""

    name: str
    table: Name
    statement: str
    why: str
    rows: int
    fixed: int = 0
    left: int = 0
    refusals: tuple[str, ...] = ()


def repairs_for(
    fixer: Fixer, families: Families, verdict: Verdict, *, ahead: bool = False
) -> Iterator[tuple[Repair, int]]:
    """The repairs of the findings, one by one, each with the number of its rows at that moment.

    `ahead`: also repairs of a table that will only have rows once the tables that it gets its tenants from are
    repaired.
    """
    wrong = {finding.table for finding in verdict.findings if finding.name == "tenant-differs"}
    for repair in _repairs(fixer.context, families, verdict):
        rows = fixer.count(repair)
        if rows or (ahead and repair.name == FROM_PATHS and repair.table in wrong):
            yield repair, rows


def _repairs(context: CheckContext, families: Families, verdict: Verdict) -> Iterator[Repair]:
    broken = {(finding.name, finding.table) for finding in verdict.findings}
    if any(name in TENANT_CHECKS for name, _ in broken) and _filled(context):
        yield from tenant_repairs(context)
    rules = dict(families).get(Family.BUSINESS)
    for check in rules(context) if rules is not None else ():
        if isinstance(check, Check) and check.fix is not None and (check.name, check.table) in broken:
            repair = rule_repair(context, check)
            if repair is not None:
                yield repair


def changed_tables(fixer: Fixer, repairs: Iterable[tuple[Repair, int]]) -> frozenset[Name]:
    """The tables in which the repairs may change rows, also by cascades."""
    tables: set[Name] = set()
    for repair, _ in repairs:
        if fixer.problem(repair) is None:
            along = carried(fixer.context, FixJournal(fixer.connection), repair)
            tables |= {repair.table, *(one.table for one in along)}
    return frozenset(tables)


def _filled(context: CheckContext) -> bool:
    """Whether the backfill has been done: until then rows without a tenant are left to it."""
    fills = [step for step in context.plan.steps if step.filling is not None and step.phase is Phase.BACKFILL]
    return all(step.key in context.entries and context.entries[step.key].state == "done" for step in fills)


def foreseen(fixer: Fixer, repair: Repair, rows: int) -> TableCorrection:
    """What a repair of so many rows would be, and why it would not be made."""
    problem = fixer.problem(repair)
    return _correction(repair, rows, () if problem is None else (problem,))


def corrected(fixer: Fixer, repair: Repair, observer: Observer) -> TableCorrection:
    """Make a repair, and tell `observer` of it."""
    observer(Reading(f"{repair.table}: fixing {repair.name}"))
    made = fixer.make(repair)
    observer(
        Notice(
            f"{counted(made.fixed, 'row')} of {repair.table} fixed ({repair.name})",
            {"fixed": made.fixed, "left": made.left},
        )
    )
    return _correction(repair, made.fixed + made.left, made=made)


def _correction(
    repair: Repair, rows: int, refusals: Sequence[str] = (), made: Repaired | None = None
) -> TableCorrection:
    told = refusals if made is None else tuple(made.refusals)
    if made is not None and made.left and not told:
        told = ("other sessions have locks on these rows, or keep changing them",)
    return TableCorrection(
        name=repair.name, table=repair.table, statement=repair.statement.as_string(None), why=repair.why, rows=rows,
        fixed=made.fixed if made is not None else 0, left=made.left if made is not None else 0, refusals=tuple(told),
    )  # fmt: skip
