"""tenantry sample."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.sample import sample as run_sample
from tenantry.errors import ExitStatus, UsageError
from tenantry.model.spec import Spec
from tenantry.presets import PRESETS, fault_kinds

KINDS = "; ".join(f"{preset}: {', '.join(fault_kinds(preset))}" for preset in PRESETS)


def sample(
    terminal: Terminal,
    tables: Annotated[str, typer.Argument(metavar="|".join(PRESETS), help="Which tables.", show_default=False)],
    rows: Annotated[
        int, typer.Option("--rows", min=1, metavar="N", help="Rows of the largest table; all tables grow with it.")
    ] = 20_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same rows.")] = 1,
    faults: Annotated[
        str,
        typer.Option("--faults", metavar="KIND,…", help=f"Faulty rows to plant, or all. {KINDS}.", show_default=False),
    ] = "",
) -> ExitStatus:
    """Load a preset's tables with sample rows into an empty database."""
    settings = terminal.settings
    if settings.preset is not None and "preset" in settings.named and settings.preset != tables:
        raise UsageError(f"{tables} and --preset {settings.preset} are two presets", remedy="Omit --preset.")
    spec = Spec.read(settings.config) if settings.config and "config" in settings.named else None
    terminal.spec_used = True
    kinds = [kind.strip() for kind in faults.split(",") if kind.strip()]
    with target(terminal) as database:
        loaded = run_sample(database, tables, rows=rows, seed=seed, faults=kinds, spec=spec)
    terminal.answer(preset=loaded.preset, seed=loaded.seed, rows=loaded.rows, faults=loaded.faults)
    table = Table("table", "rows", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, count in loaded.rows.items():
        table.add_row(name, f"{count:,}")
    terminal.say(table)
    for fault in loaded.faults:
        terminal.say(f"planted {fault.kind}: {fault.table} {fault.key}, {fault.detail}")
    terminal.show(f"Loaded {loaded.preset}: {sum(loaded.rows.values()):,} rows, seed {loaded.seed}.")
    return ExitStatus.DONE
