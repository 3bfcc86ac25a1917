"""tenantry validate."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.cli.frame import target
from tenantry.cli.progress import watching
from tenantry.cli.terminal import Terminal
from tenantry.cli.verdict import show_verdict
from tenantry.cli.watched import watched
from tenantry.errors import ExitStatus
from tenantry.workflow import InspectionOptions
from tenantry.workflow import validate as run_validate
from tenantry.workflow.inspection import SAMPLES

Tables = Annotated[
    list[str] | None,
    typer.Option("--table", metavar="TABLE", show_default=False, help="Only this table; may be repeated."),
]
Samples = Annotated[
    int, typer.Option("--samples", min=0, max=1000, metavar="N", help="Rows that a finding shows at most.")
]
Detailed = Annotated[
    bool, typer.Option("--detailed", help="All samples, what each tenant has of a finding, and of each table.")
]


def validate(
    terminal: Terminal, tables: Tables = None, samples: Samples = SAMPLES, detailed: Detailed = False
) -> ExitStatus:
    """Say whether the migration is in force and every row is in its tenant.

    Works on an untouched or half-migrated database, too: what is missing is a finding. Reads only.
    """
    chosen = InspectionOptions(tables=tuple(tables or ()), samples=samples, detailed=detailed)
    spec = terminal.settings.spec()
    with watched(terminal, watching(terminal, brief=True)) as watcher, target(terminal) as database:
        verdict = run_validate(database, spec, chosen, watcher)
    show_verdict(terminal, verdict, detailed=detailed)
    return verdict.exit_status
