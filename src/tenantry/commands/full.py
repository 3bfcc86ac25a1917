"""full: migrate, validate and verify, as one run with one verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenantry.checks.families import VALIDATION, VERIFICATION
from tenantry.checks.fixes.corrections import TableCorrection
from tenantry.checks.verdict import Families
from tenantry.commands.fixes import Fixed, FixOptions, fix_issues, preview_fixes
from tenantry.commands.inspection import InspectionOptions, inspect
from tenantry.commands.migrate import migrate
from tenantry.commands.running import report_command
from tenantry.commands.validate import NEXT as AFTER_VALIDATE
from tenantry.commands.verify import NEXT as AFTER_VERIFY
from tenantry.errors import ExitStatus
from tenantry.execution.events import Observer, ignore
from tenantry.execution.prospect import MigrateOptions
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.connect import Target

RULES: Families = tuple(pair for pair in VERIFICATION if pair not in VALIDATION)
"""The families that verify checks and validate does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullOptions:
    """The options of its parts; with `fix` None nothing is corrected."""

    migrate: MigrateOptions = field(default_factory=MigrateOptions)
    inspection: InspectionOptions = field(default_factory=InspectionOptions)
    fix: FixOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """The result, and that of each part."""

    run: str
    exit_status: ExitStatus
    outcome: str
    next_step: str
    migration: Result
    validation: Verdict
    verification: Verdict
    corrections: tuple[TableCorrection, ...] = ()


def full(target: Target, spec: Spec, options: FullOptions | None = None, observer: Observer | None = None) -> Full:
    """Migrate the database as far as the options say, then run all checks and rules.

    Raises as `migrate`, `validate` and `verify` do; after each of these the same call continues.
    """
    options = options or FullOptions()
    with report_command("full", observer) as report:
        migration = migrate(target, spec, options.migrate, report.observer)
        validation, corrected = _inspect(target, spec, options, report.observer, VALIDATION, "validate", AFTER_VALIDATE)
        verification, more = _inspect(target, spec, options, report.observer, RULES, "verify", AFTER_VERIFY)
        done = Full(
            run=report.id, exit_status=max(migration.exit_status, validation.exit_status, verification.exit_status),
            outcome=f"{migration.outcome}. validate: {validation.outcome}. verify: {verification.outcome}",
            next_step=_next(migration, validation, verification), migration=migration, validation=validation,
            verification=verification, corrections=(*corrected, *more),
        )  # fmt: skip
        report.end_with(done.outcome, done.next_step)
    return done


def preview_full(target: Target, spec: Spec, options: FullOptions) -> Fixed:
    """What the checks find at present, and what would be corrected of it. Changes nothing."""
    return preview_fixes(
        target, spec, (*VALIDATION, *RULES), options.inspection, options.fix, ignore, command="full"
    )  # fmt: skip


def _inspect(
    target: Target,
    spec: Spec,
    options: FullOptions,
    observer: Observer,
    families: Families,
    command: str,
    next_step: str,
) -> tuple[Verdict, tuple[TableCorrection, ...]]:
    if options.fix is None:
        asked = options.inspection
        return inspect(target, spec, families, asked, observer, command=command, next_step=next_step), ()
    fixed = fix_issues(
        target, spec, families, options.inspection, options.fix, observer, command=command, next_step=next_step
    )
    return fixed.verdict, fixed.corrections


def _next(migration: Result, *verdicts: Verdict) -> str:
    """Findings come first, then what the application has to do."""
    found = [verdict for verdict in verdicts if verdict.exit_status is not ExitStatus.DONE]
    return found[0].next_step if found else migration.next_step
