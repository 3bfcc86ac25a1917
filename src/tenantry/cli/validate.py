"""tenantry validate."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.checks.families import VALIDATION
from tenantry.cli import options
from tenantry.cli.fixing import ApplicationDsn, FixIssues, Force, InspectionRequest, inspected
from tenantry.cli.terminal import Terminal
from tenantry.commands.inspection import SAMPLES
from tenantry.commands.validate import NEXT
from tenantry.commands.validate import validate as run_validate
from tenantry.errors import ExitStatus, UsageError

Tables = Annotated[
    list[str] | None,
    typer.Option("--table", metavar="TABLE", show_default=False, help="Only this table; may be repeated."),
]
Samples = Annotated[int, typer.Option("--samples", min=0, max=1000, metavar="N", help="Rows to show for each finding.")]
Detailed = Annotated[bool, typer.Option("--detailed", help="Show all samples, and the counts for each tenant.")]

Ci = Annotated[
    bool,
    typer.Option(
        "--ci", help="For CI: one line for each finding, as annotations in GitHub Actions; exit 1 if there are any."
    ),
]


def validate(
    terminal: Terminal, tables: Tables = None, samples: Samples = SAMPLES, detailed: Detailed = False,
    fix_issues: FixIssues = False, dry_run: options.DryRun = False, force: Force = False,
    backup: options.Backup = None, dump_dir: options.DumpDir = None, free_space: options.FreeSpace = None,
    application_dsn: ApplicationDsn = None, ci: Ci = False,
) -> ExitStatus:  # fmt: skip
    """Check that every step is applied and every row is in its tenant.

    Also works on an untouched or half-migrated database: what is missing is a finding. Only reads, unless --fix-issues
    corrects what can be corrected safely.
    """
    asked = InspectionRequest(
        command="validate", families=VALIDATION, run=run_validate, next_step=NEXT, fix=fix_issues, dry_run=dry_run,
        force=force, backup=backup, dump_folder=dump_dir, free_space=free_space, application=application_dsn,
    )  # fmt: skip
    if ci and fix_issues:
        raise UsageError("--ci and --fix-issues exclude each other", remedy="Omit one of them.")
    return inspected(terminal, asked, tuple(tables or ()), samples, detailed=detailed, ci=ci)
