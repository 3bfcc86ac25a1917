"""tenantry status."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, assert_never

import typer
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tenantry.cli.progress import doing
from tenantry.cli.runner import target
from tenantry.cli.runs import run_lines
from tenantry.cli.stuck import stuck_lines, terminate
from tenantry.cli.terminal import Terminal, wrapped
from tenantry.commands.status import status as run_status
from tenantry.errors import ExitStatus, UsageError
from tenantry.model.name import quoted
from tenantry.model.plan import Phase
from tenantry.model.run import MigrationState, Status, TableStatus
from tenantry.model.size import readable
from tenantry.model.tenant_move import Move
from tenantry.model.wording import duration
from tenantry.reports.document import plain

INTERVAL = 2.0
TABLES, LISTED, AMISS, RUNS, STUCK = 25, 10, 3, 2, 8
"""How many tables are shown in full; how many rows of a longer list; how many runs; and how many lines about
sessions."""
NARROW, NARROWEST = 105, 75
WIDE = ("table", "", "column", "filled", "NOT NULL", "constraints", "indexes", "row security")
SHORT = ("table", "", "column", "filled", "nn", "con", "idx", "rls")
STYLES = {
    MigrationState.NOT_STARTED: "dim", MigrationState.IN_PROGRESS: "yellow", MigrationState.DATA_MIGRATED: "cyan",
    MigrationState.SECURITY_ENABLED: "green", MigrationState.COMPLETED: "bold green",
}  # fmt: skip


def status(
    terminal: Terminal,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C or the end of the run."),
    ] = False,
    pid: Annotated[
        int | None,
        typer.Option(
            "--terminate",
            metavar="PID",
            min=1,
            show_default=False,
            help="Terminate this session if it blocks a run; asks first.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --terminate: do not ask.")] = False,
    detailed: Annotated[
        bool, typer.Option("--detailed", help="List every table, and all that was altered, however many there are.")
    ] = False,
) -> ExitStatus:
    """Show how far each table has come, what the current run does, and which sessions block. Changes nothing.

    For each session that waits, blocks others, or has a long transaction, it shows the statement that would end it.
    """
    if pid is not None:
        if watch:
            raise UsageError("--watch and --terminate exclude each other", remedy="Omit one of them.")
        return terminate(terminal, pid, force=force)
    if force:
        raise UsageError("--force needs --terminate", remedy="Add --terminate PID, or omit it.")
    # A missing default file is reported, and the rest is shown; a file that was given must exist.
    spec = terminal.spec() if terminal.settings.has_spec else None
    with target(terminal) as database:
        found = run_status(database, spec)
        if watch and not terminal.settings.json:
            _follow(terminal, found, lambda: run_status(database, spec), detailed=detailed)
            return ExitStatus.DONE
    terminal.answer(**plain(found), spec=None if spec is None else str(spec.path))
    terminal.show(shown(found, terminal, detailed=detailed))
    return ExitStatus.DONE


def _follow(terminal: Terminal, found: Status, look: Callable[[], Status], *, detailed: bool) -> None:
    seen = found.running
    if not terminal.out.is_terminal:
        terminal.show(shown(found, terminal, detailed=detailed))
    with Live(console=terminal.out, auto_refresh=False, transient=True) as live:
        while True:
            if terminal.out.is_terminal:
                live.update(shown(found, terminal, detailed=detailed), refresh=True)
            if seen and not found.running:
                break
            try:
                time.sleep(INTERVAL)
                found = look()
            except KeyboardInterrupt:
                break
            seen = seen or found.running
    terminal.show(shown(found, terminal, detailed=detailed))


def shown(status: Status, terminal: Terminal, *, detailed: bool = False) -> RenderableType:
    """The status as text: what to do next, how far the phases and tables are, and what is wrong. At most 60 lines,
    unless `detailed`."""
    lines = [*_activity(status), *map(_move, status.moves)]
    lines += (
        stuck_lines(status.stuck) if detailed else first(list(stuck_lines(status.stuck)), STUCK, "lines about sessions")
    )
    runs = status.runs if detailed or len(status.tables) <= TABLES else status.runs[:RUNS]
    lines += [line for run in runs for line in run_lines(run)]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    amiss: list[Text] = []
    for texts, what in (
        ([f"altered  {key}: it was changed or dropped outside tenantry" for key in status.altered], "altered steps"),
        (
            [f"orphaned {key}: the spec no longer asks for it, or only in a later phase" for key in status.orphaned],
            "orphaned steps",
        ),
        ([f"refused  {message}" for message in status.refusals], "refusals"),
        ([f"misfit   {message}" for message in status.misfits], "entries that do not fit"),
    ):
        # Not cut: a cut name might be that of another table.
        amiss += first([Text(text, style="red") for text in texts], None if detailed else AMISS, what)
    heading = Text.assemble(
        (status.database, "bold"), "  ", *_how_far(status),
    )  # fmt: skip
    many = not detailed and len(status.tables) > TABLES
    body = _summary(status, terminal) if many else [_tables(status.tables, status, width=terminal.out.width)]
    body = body if status.tables else []
    follows = wrapped(terminal.out, Text("Next: ", style="cyan"), Text(_next(status)))
    return Group(follows, heading, *amiss, *body, *lines)


def _how_far(status: Status) -> Iterator[str | tuple[str, str]]:
    done, steps = status.steps
    if status.word is not None:
        yield (str(status.word), STYLES[status.word])
    if steps is not None:
        yield f"{'  ' if status.word else ''}{done} of {steps} steps applied"
        if status.misfits:
            yield " of those that fit the database"
    elif done or status.word is None:
        yield f"{done} steps applied; how many are to come is not known without a spec that fits"
    else:
        yield "  no spec that fits"


def first(lines: Sequence[Text], most: int | None, what: str) -> list[Text]:
    """The first `most` lines, and how many there are in all."""
    if most is None or len(lines) <= most:
        return list(lines)
    return [*lines[:most], Text(f"… {len(lines) - most:,} more, {len(lines):,} {what} in all", style="dim")]


def _next(status: Status) -> str:
    """What to do next, by the state of the migration."""
    undecided = sum(one.kind == "undecided" for one in status.tables)
    if status.running:
        return "wait for the run in progress; `tenantry status --watch` follows it."
    if unfinished := [move for move in status.moves if move.side == "source" and not move.complete]:
        undone = "; with --abort it is ended." if unfinished[0].state == "begun" else "."
        return f"`tenantry tenants move {unfinished[0].slug} --to …` completes the move that has begun{undone}"
    if status.misfits:
        return "correct the entries of the spec that do not fit the database, then `tenantry plan`."
    if status.steps[1] is None:
        return "give the spec with --config, or write one: `tenantry discover --output tenantry.toml`."
    if undecided:
        return f"decide about {undecided:,} undecided tables in the spec, then `tenantry plan`."
    if status.refusals:
        return "correct in the spec what is refused below, then `tenantry plan`."
    if status.altered or status.orphaned:
        return "`tenantry validate` lists what was altered, and the command that restores it."
    if status.found:
        return "correct what the last `tenantry validate` found, then run it again."
    match status.word:
        case MigrationState.NOT_STARTED:
            return "`tenantry plan`, then `tenantry migrate`."
        case MigrationState.IN_PROGRESS | MigrationState.DATA_MIGRATED:
            return "`tenantry migrate` continues."
        case MigrationState.SECURITY_ENABLED:
            return "`tenantry validate`."
        case MigrationState.COMPLETED | None:
            return "nothing: the migration is complete."
    assert_never(status.word)


def _summary(status: Status, terminal: Terminal) -> Iterator[RenderableType]:
    """Counts by phase and kind of table, then the tables that are undecided, or behind most others."""
    reached: list[Phase] = []
    for phase in Phase:
        pairs = [pair for one in status.tables if (pair := one.phases.get(phase, (0, 0)))[1]]
        if phase is Phase.DISTRIBUTE and not pairs:
            continue  # not requested
        done, steps = sum(done for done, _ in pairs), sum(steps for _, steps in pairs)
        through = sum(done == steps for done, steps in pairs)
        yield Text.assemble(
            (f"{phase:<9}", "bold"), f" {done:,} of {steps:,} steps, {through:,} of {len(pairs):,} tables"
        )
        if through * 2 >= len(pairs):
            reached.append(phase)
    kinds = Counter(one.kind for one in status.tables)
    counted = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    yield wrapped(terminal.out, Text("tables    ", style="bold"), Text(counted))
    behind = [
        one
        for one in status.tables
        if one.filling is not None or one.kind == "undecided" or any(_lacks(one, phase) for phase in reached)
    ]
    if not behind:
        return
    behind.sort(key=lambda one: (one.filling is None, -(one.rows or 0), one.table))
    yield Text("Undecided, being filled, or behind most others:")
    yield _tables(behind[:LISTED], status, width=terminal.out.width)
    if len(behind) > LISTED:
        yield Text(f"… {len(behind) - LISTED:,} more, {len(behind):,} tables in all (--detailed)", style="dim")


def _lacks(one: TableStatus, phase: Phase) -> bool:
    done, steps = one.phases.get(phase, (0, 0))
    return done < steps


def _activity(status: Status) -> Iterator[Text]:
    busy = [activity for activity in status.activity if activity.state == "active" or activity.blockers]
    for activity in busy:
        query, who = " ".join(activity.query.split()), activity.application.removeprefix("tenantry ")
        yield Text.assemble(
            ("now  ", "cyan"), f"{who} (pid {activity.pid}) {doing(activity)}",
            (f"  {duration(activity.seconds)}  {query}", "dim"),
        )  # fmt: skip
    if status.running and not busy:
        yield Text("now  a run is active", style="cyan")


def _move(move: Move) -> Text:
    if move.side == "target":
        what = f"{move.slug} is being copied from {move.location}"
        what = (
            what if move.state == "begun" else f"{move.slug} is here, and its rows at {move.location} are to be deleted"
        )
    elif move.state == "abandoned":
        what = (
            f"{move.slug} is here; the move to {move.location} was abandoned, and --abort --to … deletes the copy there"
        )
    elif move.state == "begun":
        lag = "" if move.lag is None else f"; {readable(move.lag)} of the write-ahead log are to be sent"
        what = f"{move.slug} is here, and is being copied to {move.location}{lag}"
    else:
        what = f"{move.slug} is at {move.location}, and its rows here are to be deleted"
    pauses = f"; writes refused {move.pauses} times, for {move.longest_pause:.0f} ms at most" if move.pauses else ""
    return Text.assemble(("move ", "cyan"), f"{what}{pauses}", (f"  since {move.started_at:%Y-%m-%d %H:%M}", "dim"))


def _tables(tables: Sequence[TableStatus], status: Status, *, width: int) -> Table:
    headings = WIDE if width >= NARROW else SHORT
    shown = range(len(headings)) if width >= NARROWEST else (0, 3, 5, 6, 7)
    whole = len({one.table.schema for one in status.tables}) > 1
    rows = [headings] + [
        (
            str(one.table) if whole else quoted(one.table.name), one.kind, _column(one), _filled(one),
            _word(one), _pair(one.constraints), _pair(one.indexes), _pair(one.row_security),
        )
        for one in tables
    ]  # fmt: skip
    widths = [max(cell_len(cell) + 1 for cell in column) for column in zip(*rows, strict=True)]
    room = max(10, width - sum(widths[number] for number in shown if number))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for number in shown:
        # Names may use several lines; the text beside them uses one.
        table.add_column(headings[number], no_wrap=number > 0, overflow="fold", max_width=room if number == 0 else None)
    for row in rows[1:]:
        table.add_row(*(row[number] for number in shown))
    return table


def _column(one: TableStatus) -> str:
    return one.column or ("no" if one.kind in ("owned", "mixed") else "–")


def _word(one: TableStatus) -> str:
    """Whether the tenant column is NOT NULL, which that of a mixed table is only in the phase distribute."""
    if one.not_null and one.kind in ("owned", "mixed"):
        return "yes"
    return "no" if one.kind == "owned" else "–"


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
