"""tenantry discover."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from tenantry import private_files
from tenantry.cli.interview import interview, require_terminal
from tenantry.cli.rewriting import read_text
from tenantry.cli.runner import target
from tenantry.cli.settings import DEFAULT_SPEC
from tenantry.cli.terminal import Terminal
from tenantry.commands.discover import discover as run_discover
from tenantry.commands.discover import discover_update
from tenantry.discovery.proposal import Decision, Proposal, Undecided
from tenantry.discovery.spec_file import part_line, totals
from tenantry.discovery.update import Update
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model.spec import Spec
from tenantry.reports.proposal_page import proposal_html
from tenantry.reports.text import visible

GROUPS = 12
"""The largest number of questions that are shown; the file has all of them."""
NAMES = 6
"""The largest number of tables that are listed for a question."""
LISTED = 10
"""The largest number of changes of each kind that are shown."""


def discover(
    terminal: Terminal,
    tenant_table: Annotated[
        str | None,
        typer.Option("--tenant-table", metavar="TABLE", show_default=False,
                     help="The table with one row per tenant; by default it is recognized by its name."),
    ] = None,
    undecided: Annotated[
        Undecided,
        typer.Option("--undecided", help="What to propose for tables that no path reaches."),
    ] = Undecided.ASK,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", show_default=False, help="Write the spec to FILE instead of printing"
        " it."),
    ] = None,
    diagram: Annotated[
        bool, typer.Option("--diagram", help="A Mermaid diagram of the paths, instead of the spec or next to its file.")
    ] = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="Add tables that the existing spec (--output, else --config, else tenantry.toml)"
                     " does not list, keep each of its lines, and report what else has changed."),
    ] = False,
    interactive: Annotated[
        bool,
        typer.Option("--interactive", help="Then ask about undecided tables, those with most rows first; each answer is"
                     " written to the file at once (--output, else --config, else tenantry.toml). An existing spec is"
                     " updated first."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--export-report", metavar="FILE.html", show_default=False,
                     help="Next to the spec, an HTML page that needs no network: a diagram of the paths, the questions,"
                     " and all tables with reasons and samples; with --update, by the updated spec."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> ExitStatus:  # fmt: skip
    """Propose a spec from the schema and the rows: which tables belong to tenants. Changes no database."""
    if interactive:
        require_terminal(terminal)
        file = output or (terminal.settings.config if "config" in terminal.settings.named else None) or DEFAULT_SPEC
        update = update or (file.exists() and not force)
        output = output if update else file
    if update:
        for name, given in (
            ("--tenant-table", tenant_table),
            ("--diagram", diagram),
            ("--force", force and report is None),
        ):
            if given:
                raise UsageError(f"{name} cannot be combined with --update", remedy="Omit one of them.")
        if terminal.settings.preset is not None and "preset" in terminal.settings.named:
            raise UsageError("--preset cannot be combined with --update", remedy="Give the spec's file with --config.")
        return _update(terminal, output, undecided, interactive=interactive, report=report, force=force)
    picture = output.with_suffix(".mmd") if output is not None and diagram else None
    files = tuple(path for path in (output, picture, report) if path is not None)
    _require_new(files, force)
    with target(terminal) as database:
        found = run_discover(database, tenant_table=tenant_table, undecided=undecided)
    if output is not None:
        _write(output, found.text)
    if picture is not None:
        _write(picture, found.diagram)
    if report is not None:
        _write(report, proposal_html(found.proposal))
    terminal.answer(spec=found.text, diagram=found.diagram if diagram else None, output=output, report=report)
    terminal.answer(undecided={decision.part.name: decision.part.undecided for decision in found.proposal.undecided})
    if output is None:
        terminal.write(found.diagram if diagram else found.text)
        return ExitStatus.DONE
    terminal.show(f"Wrote {' and '.join(map(str, files))}.")
    terminal.show(f"{totals(found.proposal)}.")
    if interactive:
        interview(terminal, output, found.background)
    else:
        _show_questions(terminal, found.proposal, output)
    return ExitStatus.DONE


def _require_new(files: Sequence[Path], force: bool) -> None:
    for path in files:
        if path.exists() and not force:
            raise Refused(f"{path} exists already", remedy="Choose another file, or add --force to overwrite it.")


def _update(
    terminal: Terminal, output: Path | None, undecided: Undecided, *, interactive: bool, report: Path | None,
    force: bool,
) -> ExitStatus:  # fmt: skip
    if report is not None:
        _require_new([report], force)
    path = output or terminal.settings.config or DEFAULT_SPEC
    spec = Spec.read(path) if output is not None else terminal.spec()
    text = read_text(path)
    with target(terminal) as database:
        found = discover_update(database, spec, text, undecided=undecided)
    if found.addition:
        newline = "\r\n" if "\r\n" in text else "\n"
        gap = newline if text.endswith("\n") or not text else newline * 2
        try:
            # It is appended, so that the file keeps its mode, its links, and concurrent changes.
            with path.open("a", encoding="utf-8", newline=newline) as file:
                file.write(gap.replace("\r\n", "\n") + found.addition)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    if report is not None:
        _write(report, proposal_html(found.standing))
    terminal.answer(
        output=path, report=report, added=[decision.part.name for decision in found.added], gone=found.gone,
        undecided={decision.part.name: decision.part.undecided for decision in found.undecided},
        differences=[
            {"table": str(one.table), "written": one.written, "proposed": one.proposed} for one in found.differences
        ],
    )  # fmt: skip
    _show_update(terminal, found, path, report, asks=interactive)
    if interactive:
        interview(terminal, path, found.background)
    return ExitStatus.DONE


def _show_update(terminal: Terminal, found: Update, path: Path, report: Path | None, *, asks: bool) -> None:
    lines: list[tuple[str, str, str]] = []
    lines += [("new", decision.part.name, part_line(decision.part)) for decision in found.added[:LISTED]]
    lines += [("gone", "", one) for one in found.gone[:LISTED]]
    for one in found.differences[:LISTED]:
        written = f"{one.written}; " if one.written else ""
        lines.append(("differs", str(one.table), f"{written}discover would write {one.proposed}"))
    counts = (("new", len(found.added)), ("gone", len(found.gone)), ("differs", len(found.differences)))
    for word, name, said in lines:
        terminal.item(f"{word:<8} ", visible(f"{name}: {said}" if name else said), style="cyan")
    for word, count in counts:
        if count > LISTED:
            terminal.show(f"{word:<8} … {count - LISTED} more, {count} in all (--json has them)")
    if not found.addition:
        terminal.show(f"{path} lists every table; it was not changed.")
    else:
        tables = "1 table" if len(found.added) == 1 else f"{len(found.added)} tables"
        terminal.show(f"Added {tables} to the end of {path}; the existing lines were not changed.")
    if report is not None:
        terminal.show(f"Wrote {report}.")
    if asks:
        return
    todo = f"decide about {len(found.undecided)} of them in {path}, then " if found.undecided else ""
    todo = f"correct what no longer exists in {path}, then " if found.gone and not todo else todo
    terminal.item("Next: ", f"{todo}`tenantry plan`.", style="cyan")


def _show_questions(terminal: Terminal, proposal: Proposal, output: Path) -> None:
    for (cause, answer), decisions in list(proposal.questions.items())[:GROUPS]:
        _question(terminal, cause, answer, decisions)
    if len(proposal.questions) > GROUPS:
        terminal.show(f"… and {len(proposal.questions) - GROUPS} more questions, in {output}.")
    count = len(proposal.undecided)
    tables = "1 table" if count == 1 else f"{count} tables"
    todo = f"decide about {tables} in {output}" if count else f"read {output}"
    if count > LISTED:
        todo += f" (`tenantry discover --interactive --output {quote(str(output))}` takes one answer for a group)"
    terminal.item("Next: ", f"{todo}, then `tenantry plan`.", style="cyan")


def _question(terminal: Terminal, cause: str, answer: str, decisions: Sequence[Decision]) -> None:
    """Tables that wait for the same answer; for a single table, all that is known."""
    first = decisions[0]
    count = f"{len(decisions)} tables"
    said = f"{first.part.name}: {first.part.undecided}" if len(decisions) == 1 else f"{count}: {cause}"
    terminal.item("undecided ", visible(said), style="yellow", body_style="yellow")
    if len(decisions) > 1:
        names = ", ".join(decision.part.name for decision in decisions[:NAMES])
        more = f" and {len(decisions) - NAMES} more" if len(decisions) > NAMES else ""
        terminal.item(" " * 10, visible(f"{names}{more}"), body_style="dim")
    terminal.item("        → ", f"write {answer}", style="cyan")


def _write(path: Path, text: str) -> None:
    try:
        private_files.write_text(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
