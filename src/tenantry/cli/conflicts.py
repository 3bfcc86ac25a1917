"""tenantry conflicts."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tenantry import private_files
from tenantry.cli.rewriting import read_text, rewrite
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.conflicts import Conflicts
from tenantry.commands.conflicts import conflicts as find_conflicts
from tenantry.discovery.choice import SpecEditor
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model.spec import Spec
from tenantry.model.wording import counted
from tenantry.reports.text import cell, visible

LISTED = 10
"""The largest number of tables, of pairs of tenants, and of rows that are shown."""
INDENT = "    "


def conflicts(
    terminal: Terminal,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", show_default=False, help="Write all conflicting rows, as CSV."),
    ] = None,
    decide: Annotated[
        str | None,
        typer.Option(
            "--decide", metavar="TABLE.COLUMN", show_default=False,
            help="Write into the spec that the path from this column alone decides the tenant of a row, and that the"
            " table's other paths may lead to another tenant.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --output: overwrite an existing file.")] = False,
) -> ExitStatus:  # fmt: skip
    """Show the rows that lead to several tenants: which paths disagree, in how many rows of which two tenants, and the
    statement that would correct them either way.

    Tables that the spec leaves undecided are checked along the paths that it has for them. Exits 1 if there are any.
    Changes nothing; --decide changes the spec's file.
    """
    spec = terminal.spec()
    if decide is not None:
        return _decide(terminal, spec, decide)
    if output is not None and output.exists() and not force:
        raise Refused(f"{output} exists already", remedy="Choose another file, or add --force to overwrite it.")
    with target(terminal) as database:
        conflicts_found = find_conflicts(database, spec, all_rows=output is not None)
    terminal.answer(conflicts=[_document(one) for one in conflicts_found], output=output)
    if output is not None:
        _write(output, conflicts_found)
    _show(terminal, conflicts_found, output)
    return ExitStatus.FINDINGS if conflicts_found else ExitStatus.DONE


def _decide(terminal: Terminal, spec: Spec, path: str) -> ExitStatus:
    if spec.path is None or terminal.settings.preset is not None:
        raise UsageError(
            "The spec of a preset cannot be changed", remedy="Copy it to a file, and use that with --config."
        )
    editor = SpecEditor(read_text(spec.path), spec)
    editor.choose(path)
    rewrite(spec.path, editor.text())
    terminal.answer(decided=path, output=spec.path)
    terminal.show(f"Decided in {spec.path}: {visible(path)} gives rows their tenant.")
    terminal.item("Next: ", "`tenantry conflicts` shows the remaining ones.", style="cyan")
    return ExitStatus.DONE


def _document(one: Conflicts) -> dict[str, Any]:
    return {
        "table": str(one.table), "rows": one.rows,
        "pairs": [
            {"one": pair.one, "other": pair.other, "tenants": list(pair.tenants), "rows": pair.rows}
            for pair in one.pairs
        ],
        "samples": [{"key": sample.key, "tenants": sample.tenants} for sample in one.samples],
        "corrections": [correction for both in one.corrections.values() for correction in both],
    }  # fmt: skip


def _write(path: Path, conflicts_found: tuple[Conflicts, ...]) -> None:
    """One line for each path of each row. A cell that a spreadsheet would execute as a formula is quoted."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["table", "row", "path", "tenants"])
    for one in conflicts_found:
        for sample in one.samples:
            key = ", ".join(f"{column}={value}" for column, value in sample.key.items())
            for way, tenants in sample.tenants.items():
                writer.writerow([cell(value) for value in (str(one.table), key, way, " and ".join(tenants))])
    try:
        private_files.write_text(path, text.getvalue())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def _show(terminal: Terminal, conflicts_found: tuple[Conflicts, ...], output: Path | None) -> None:
    if not conflicts_found:
        terminal.show("No row leads to two tenants.")
        terminal.item("Next: ", "`tenantry plan`.", style="cyan")
        return
    rows = sum(one.rows for one in conflicts_found)
    terminal.item("Next: ", "correct the rows, or decide with --decide TABLE.COLUMN which path counts.", style="cyan")
    terminal.show(f"{counted(rows, 'row')} of {counted(len(conflicts_found), 'table')} lead to several tenants.")
    for one in conflicts_found[:LISTED]:
        _table(terminal, one)
    if len(conflicts_found) > LISTED:
        terminal.show(f"… {len(conflicts_found) - LISTED} more, {len(conflicts_found)} tables in all (--json has them)")
    if output is not None:
        terminal.show(f"Wrote {output}: every conflicting row, and the tenant that each of its paths leads to.")


def _table(terminal: Terminal, one: Conflicts) -> None:
    terminal.show("")
    terminal.show(Text.assemble((visible(str(one.table)), "bold cyan"), f"  {counted(one.rows, 'row')}"))
    for ways in dict.fromkeys((pair.one, pair.other) for pair in one.pairs):
        pairs = [pair for pair in one.pairs if (pair.one, pair.other) == ways]
        said = f"{ways[0]}  against  {ways[1]}" if ways[0] != ways[1] else f"{ways[0]}  against itself"
        terminal.item("  ", visible(said), body_style="yellow")
        for pair in pairs[:LISTED]:
            terminal.item(INDENT, visible(f"{counted(pair.rows, 'row')}: {pair.tenants[0]} against {pair.tenants[1]}"))
        if len(pairs) > LISTED:
            terminal.item(
                INDENT, f"… {len(pairs) - LISTED} more, {len(pairs)} pairs of tenants in all", body_style="dim"
            )
        for correction in one.corrections.get(ways, ()):
            what = f"to follow {correction.right}: "
            terminal.item(INDENT, visible(what + (correction.statement or f"no statement: {correction.reason}")),
                          body_style="dim")  # fmt: skip
    _samples(terminal, one)


def _samples(terminal: Terminal, one: Conflicts) -> None:
    samples = one.samples[:LISTED]
    ways = list(dict.fromkeys(way for sample in samples for way in sample.tenants))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in (*dict.fromkeys(column for sample in samples for column in sample.key), *ways):
        table.add_column(Text(visible(heading)), overflow="fold")
    for sample in samples:
        cells = [str(value) for value in sample.key.values()]
        table.add_row(
            *(Text(visible(cell)) for cell in cells + [" and ".join(sample.tenants.get(way, ())) for way in ways])
        )
    terminal.show(table)
    if one.rows > len(samples):
        terminal.item("", f"… {one.rows - len(samples):,} more, {counted(one.rows, 'row')} in all (--output has them)",
                      body_style="dim")  # fmt: skip
