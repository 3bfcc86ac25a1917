"""tenantry verify."""

from __future__ import annotations

from tenantry.checks.families import VERIFICATION
from tenantry.cli import options
from tenantry.cli.fixing import ApplicationDsn, FixIssues, Force, InspectionRequest, inspected
from tenantry.cli.terminal import Terminal
from tenantry.cli.validate import Detailed, Samples, Tables
from tenantry.commands.inspection import SAMPLES
from tenantry.commands.verify import NEXT
from tenantry.commands.verify import verify as run_verify
from tenantry.errors import ExitStatus


def verify(
    terminal: Terminal, tables: Tables = None, samples: Samples = SAMPLES, detailed: Detailed = False,
    fix_issues: FixIssues = False, dry_run: options.DryRun = False, force: Force = False,
    backup: options.Backup = None, dump_dir: options.DumpDir = None, free_space: options.FreeSpace = None,
    application_dsn: ApplicationDsn = None,
) -> ExitStatus:  # fmt: skip
    """Check the business rules of the spec for each tenant, and that no row is visible to another tenant.

    Also works before a migration. Only reads, unless --fix-issues corrects what can be corrected safely.
    """
    asked = InspectionRequest(
        command="verify", families=VERIFICATION, run=run_verify, next_step=NEXT, fix=fix_issues, dry_run=dry_run,
        force=force, backup=backup, dump_folder=dump_dir, free_space=free_space, application=application_dsn,
    )  # fmt: skip
    return inspected(terminal, asked, tuple(tables or ()), samples, detailed=detailed)
