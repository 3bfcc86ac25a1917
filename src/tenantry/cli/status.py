"""tenantry status."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tenantry.cli.frame import target
from tenantry.cli.progress import doing, duration
from tenantry.cli.runs import run_lines
from tenantry.cli.stuck import stuck_lines, terminate
from tenantry.cli.terminal import Terminal
from tenantry.errors import ExitStatus, UsageError
from tenantry.model.name import quoted
from tenantry.model.run import Status, TableStatus, Word
from tenantry.reports.document import plain
from tenantry.workflow import status as run_status

INTERVAL = 2.0
NARROW, NARROWEST = 105, 75
WIDE = ("table", "", "column", "filled", "NOT NULL", "constraints", "indexes", "row security")
SHORT = ("table", "", "column", "filled", "nn", "con", "idx", "rls")
STYLES = {
    Word.NOT_STARTED: "dim", Word.IN_PROGRESS: "yellow", Word.DATA_MIGRATED: "cyan", Word.SECURITY_ENABLED: "green",
    Word.COMPLETED: "bold green",
}  # fmt: skip


def status(
    terminal: Terminal,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Look again every two seconds, until Ctrl-C or the end of the run."),
    ] = False,
    pid: Annotated[
        int | None,
        typer.Option(
            "--terminate",
            metavar="PID",
            min=1,
            show_default=False,
            help="End this session, if a run waits for it; asks first.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --terminate: do not ask.")] = False,
) -> ExitStatus:
    """Show how far each table has come, what the run in progress is doing, and what is stuck. Changes nothing.

    For each session that waits, keeps others waiting, or has a long transaction, the statement that would end it.
    """
    if pid is not None:
        if watch:
            raise UsageError("--watch and --terminate are two commands", remedy="Give one of them.")
        return terminate(terminal, pid, force=force)
    if force:
        raise UsageError("--force goes with --terminate", remedy="Add --terminate PID, or leave it out.")
    spec = terminal.settings.spec()
    with target(terminal) as database:
        found = run_status(database, spec)
        if watch and not terminal.settings.json:
            _follow(terminal, found, lambda: run_status(database, spec))
            return ExitStatus.DONE
    terminal.answer(**plain(found))
    terminal.show(shown(found, terminal))
    return ExitStatus.DONE


def _follow(terminal: Terminal, found: Status, look: Callable[[], Status]) -> None:
    seen = found.running
    if not terminal.out.is_terminal:
        terminal.show(shown(found, terminal))
    with Live(console=terminal.out, auto_refresh=False, transient=True) as live:
        while True:
            if terminal.out.is_terminal:
                live.update(shown(found, terminal), refresh=True)
            if seen and not found.running:
                break
            try:
                time.sleep(INTERVAL)
                found = look()
            except KeyboardInterrupt:
                break
            seen = seen or found.running
    terminal.show(shown(found, terminal))


def shown(status: Status, terminal: Terminal) -> RenderableType:
    """The status for people."""
    lines = [*_activity(status)]
    lines += stuck_lines(status.stuck)
    lines += [Text(f"altered  {key}: somebody has changed or dropped it since", style="red") for key in status.altered]
    lines += [Text(f"orphaned {key}: the spec no longer asks for it", style="red") for key in status.orphaned]
    lines += [Text(f"refused  {message}", style="red") for message in status.refusals]
    lines += [line for run in status.runs for line in run_lines(run)]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    heading = Text.assemble(
        (status.database, "bold"), "  ", (str(status.word), STYLES[status.word]),
        f"  {status.steps[0]} of {status.steps[1]} steps in force",
    )  # fmt: skip
    return Group(heading, _tables(status, width=terminal.out.width), *lines)


def _activity(status: Status) -> Iterator[Text]:
    busy = [activity for activity in status.activity if activity.state == "active" or activity.blockers]
    for activity in busy:
        query, who = " ".join(activity.query.split()), activity.application.removeprefix("tenantry ")
        yield Text.assemble(
            ("now  ", "cyan"), f"{who} (pid {activity.pid}) {doing(activity)}",
            (f"  {duration(activity.seconds)}  {query}", "dim"),
        )  # fmt: skip
    if status.running and not busy:
        yield Text("now  a run is going on", style="cyan")


def _tables(status: Status, *, width: int) -> Table:
    headings = WIDE if width >= NARROW else SHORT
    shown = range(len(headings)) if width >= NARROWEST else (0, 3, 5, 6, 7)
    whole = len({one.table.schema for one in status.tables}) > 1
    rows = [headings] + [
        (
            str(one.table) if whole else quoted(one.table.name), one.kind, _column(one), _filled(one),
            _word(one), _pair(one.constraints), _pair(one.indexes), _pair(one.row_security),
        )
        for one in status.tables
    ]  # fmt: skip
    widths = [max(cell_len(cell) + 1 for cell in column) for column in zip(*rows, strict=True)]
    room = max(10, width - sum(widths[number] for number in shown if number))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for number in shown:
        # Names give way, what is said of them does not.
        table.add_column(headings[number], no_wrap=True, overflow="ellipsis", max_width=room if number == 0 else None)
    for row in rows[1:]:
        table.add_row(*(row[number] for number in shown))
    return table


def _column(one: TableStatus) -> str:
    return one.column or ("no" if one.kind in ("owned", "mixed") else "–")


def _word(one: TableStatus) -> str:
    if one.kind != "owned":
        return "–"
    return "yes" if one.not_null else "no"


def _filled(one: TableStatus) -> str:
    if one.column is None:
        return "–"
    if one.filling is not None:
        return f"{100 * one.filling:.0f} %"
    if one.without_tenant == 0:
        return "all"
    if one.without_tenant is None:
        return "?"
    return f"{one.without_tenant:,} without" if one.kind != "mixed" else f"{one.without_tenant:,} shared"


def _pair(pair: tuple[int, int]) -> str:
    done, whole = pair
    return "–" if whole == 0 else ("yes" if done == whole else f"{done}/{whole}")
