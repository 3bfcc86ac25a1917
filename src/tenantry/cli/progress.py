"""What migrate and rollback show during the run: progress bars on a terminal, plain lines elsewhere. Each phase has one
line; only errors, and with --detailed each step, have lines of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from tenantry.cli.terminal import SHOWN, Terminal
from tenantry.execution.events import (
    CommandBegan,
    Event,
    FillAdvanced,
    FillFinished,
    FillPaused,
    FillStarted,
    FindingReported,
    LocksRefused,
    Notice,
    Observer,
    Reading,
    SessionActivity,
    StatementRan,
    StepEvent,
    ignore,
)
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import Phase, Statement
from tenantry.model.run import Activity, StepAction
from tenantry.model.wording import counted, duration

FIRST, LAST = 5.0, 600.0
"""Seconds until the first line about the same work without a terminal, doubled for each further one up to the limit, so
that hours of work are reported in some dozens of lines."""
NARROW = 70
"""Below this number of columns a bar does not show its rate."""
DONE = {StepAction.APPLIED: "✓", StepAction.REVERTED: "↩", StepAction.KEPT: "=", StepAction.FAILED: "✗",
        StepAction.LEFT: "✗"}  # fmt: skip
WRONG = (StepAction.FAILED, StepAction.LEFT)


def watching(terminal: Terminal, *, detailed: bool = False, brief: bool = False) -> Observer:
    """An observer that writes to the terminal."""
    if not terminal.talks:
        return ignore
    if terminal.out.is_terminal and not terminal.out.is_dumb_terminal:
        return Live(terminal=terminal, detailed=detailed, brief=brief)
    return Lines(terminal=terminal, detailed=detailed, brief=brief)


@dataclass(slots=True, kw_only=True)
class PhaseProgress:
    """The results of one phase."""

    phase: Phase
    steps: int = 0
    rows: int = 0
    milliseconds: float = 0.0
    tables: set[Name] = field(default_factory=set)
    kept: int = 0
    action: StepAction = StepAction.KEPT

    def add(self, event: StepEvent) -> None:
        self.steps += 1
        self.rows += event.rows or 0
        self.milliseconds += event.milliseconds
        self.tables.add(event.step.table)
        if event.action is StepAction.KEPT:
            self.kept += 1
        else:
            self.action = event.action

    def line(self) -> Text:
        facts = [counted(self.steps, "step")]
        facts.append(counted(len(self.tables), "table"))
        if self.rows:
            facts.append(counted(self.rows, "row"))
        if 0 < self.kept < self.steps:
            facts.append(f"{counted(self.kept, 'step')} kept")
        took = Text(f"  ({duration(self.milliseconds / 1000)})", style="dim")
        return (
            Text.assemble((f"{DONE[self.action]} ", "green"), (str(self.phase), "bold"), f"  {', '.join(facts)}") + took
        )


@dataclass(slots=True, kw_only=True)
class Lines:
    """One line for each phase, or with `detailed` for each step, and now and then one for what takes long."""

    terminal: Terminal
    detailed: bool = False
    brief: bool = False
    """Only what is in progress: no line for finished steps."""
    phase: PhaseProgress | None = None
    statements: list[tuple[Statement, float]] = field(default_factory=list)
    _began: bool = False
    _passed: list[Finding] = field(default_factory=list)
    _wrong: int = 0
    _last_lines: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When the last line about something was written, and how many seconds to wait before the next one."""
    _fills: dict[Name, Fill] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        match event:
            case CommandBegan(command):
                self.began(command)
            case StepEvent():
                self.step(event)
            case StatementRan(statement, milliseconds):
                self.statements.append((statement, milliseconds))
            case Reading(at):
                self.looking(at)
            case FindingReported(finding) if not self.brief:
                self._passed.append(finding)
            case LocksRefused(reason, _, pause):
                self.seldom("blocked", lambda: self.say(f"{reason}; trying again in {pause:.1f} s"), at_once=True)
            case Notice(message) | FillPaused(message):
                self.say(message)
            case SessionActivity(activity):
                self.activity(activity)
            case FillStarted(relation, pages):
                self.fill_started(relation, pages)
            case FillAdvanced(relation, pages, rows):
                self.fill_advanced(relation, pages, rows)
            case FillFinished(relation):
                self.fill_finished(relation)

    def began(self, command: str) -> None:
        # The first event is the command itself; what begins during it is a part of it.
        if self._began and not self.brief:
            self.end_phase()
            self.line(Text(command, style="bold"))
        self._began = True

    def step(self, event: StepEvent) -> None:
        self._tell_findings()
        if event.action is StepAction.STARTED:
            self.statements.clear()
            return
        if self.brief:
            return
        if event.action is StepAction.FOUND:
            if self.terminal.settings.verbose:
                self.line(Text(f"  · {event.step.table}  {event.step.title}  (applied already)", style="dim"))
            return
        if self.phase is None or self.phase.phase is not event.step.phase:
            self.end_phase()
            self.phase = PhaseProgress(phase=event.step.phase)
            if self.detailed:
                self.line(Text(str(event.step.phase), style="bold"))
        wrong = event.action in WRONG
        self._wrong += wrong
        if not wrong:
            self.phase.add(event)
        if not (self.detailed or (wrong and self._wrong <= SHOWN)):
            return
        self.line(step_line(event, width=self.terminal.out.width))
        if self.terminal.settings.verbose and event.step.note:
            self.line(Text(f"      {event.step.note}", style="dim"))
        for statement, milliseconds in self.statements if self.detailed else ():
            self.line(Text(f"      {milliseconds:8.1f} ms  {one_line(statement.text)}", style="dim"))

    def end_phase(self) -> None:
        """Write the line of the phase."""
        if self.phase is not None and self.phase.steps and not self.detailed:
            self.line(self.phase.line())
        self.phase = None

    def close(self) -> None:
        """The end of all output. Findings that refuse are part of the error, if no step came after them."""
        self.end_phase()
        self._passed = [finding for finding in self._passed if not finding.refuses]
        self._tell_findings()
        if self._wrong > SHOWN and not self.detailed:
            self.line(
                Text(f"{DONE[StepAction.LEFT]} … {self._wrong - SHOWN} more, {self._wrong} steps in all", style="red")
            )

    def _tell_findings(self) -> None:
        self.terminal.findings(self._passed)
        self._passed.clear()

    def line(self, text: Text) -> None:
        self.terminal.out.print(text, no_wrap=True, overflow="ellipsis")

    def looking(self, at: str) -> None:
        # The steps are done, if there were any.
        self.end_phase()
        self.seldom("looking", lambda: self.say(f"checking {at}"))

    def say(self, message: str) -> None:
        self.terminal.item("    ", message, body_style="yellow")

    def activity(self, activity: Activity | None) -> None:
        if activity is not None:
            self.seldom("activity", lambda: self.say(doing(activity)))

    def fill_started(self, relation: Name, pages: int) -> None:
        self._fills[relation] = Fill(pages=pages)

    def fill_advanced(self, relation: Name, pages: int, rows: int) -> None:
        fill = self._fills.setdefault(relation, Fill(pages=0))
        fill.add(pages, rows)
        self.seldom("fill", lambda: self.line(Text(f"    {relation}: {fill}")))

    def fill_finished(self, relation: Name) -> None:
        self._fills.pop(relation, None)

    def seldom(self, what: str, tell: Callable[[], None], *, at_once: bool = False) -> None:
        """Write a line now and then; the first one at once only with `at_once`, since most work is over soon."""
        now = time.monotonic()
        if what not in self._last_lines:
            self._last_lines[what] = now, FIRST
            if at_once:
                tell()
            return
        last, pause = self._last_lines[what]
        if now - last >= pause:
            self._last_lines[what] = now, min(pause * 2, LAST)
            tell()


@dataclass(slots=True, kw_only=True)
class Fill:
    """The progress of the backfill of one relation."""

    pages: int
    done: int = 0
    rows: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, pages: int, rows: int) -> None:
        self.done += pages
        self.rows += rows

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / max(time.monotonic() - self.began, 0.001)

    @property
    def seconds_left(self) -> float | None:
        """Seconds, estimated by the pages; None while nothing can be estimated."""
        if not 0 < self.done < self.pages:
            return None
        return (time.monotonic() - self.began) * (self.pages - self.done) / self.done

    def __str__(self) -> str:
        share = f"{100 * min(self.done / self.pages, 1):.0f} %, " if self.pages else ""
        seconds_left = f", {duration(self.seconds_left)} left" if self.seconds_left is not None else ""
        return f"{share}{self.rows:,} rows, {self.rate:,.0f} rows/s{seconds_left}"


class _Rate(ProgressColumn):
    """Rows per second and the time left for a backfill; the time so far for any other step."""

    def __init__(self, *, narrow: bool) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self.narrow = narrow

    def render(self, task: Task) -> Text:
        fill = task.fields.get("fill")
        if not isinstance(fill, Fill):
            return Text(duration(task.elapsed or 0.0), style="dim")
        seconds_left = f"{duration(max(fill.seconds_left, 1))} left" if fill.seconds_left is not None else ""
        if self.narrow:
            return Text(seconds_left, style="dim")
        return Text(f"{fill.rows:,} rows  {fill.rate:,.0f}/s  {seconds_left}", style="dim")


@dataclass(slots=True, kw_only=True)
class Live(Lines):
    """Progress bars below the lines of finished work."""

    progress: Progress | None = None
    _tasks: dict[Name, TaskID] = field(default_factory=dict)
    _current: TaskID | None = None
    _title: str = ""

    def bars(self) -> Progress:
        """Shown from the first step on, so that an error before it is all that is shown."""
        if self.progress is None:
            self.progress = _bars(self.terminal.out)
            self.progress.start()
        return self.progress

    def close(self) -> None:
        """Remove the bars."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
        Lines.close(self)

    def current(self, title: str) -> None:
        """Show the current activity; nothing if the title is empty."""
        bars = self.bars()
        if self._current is not None:
            bars.remove_task(self._current)
            self._current = None
        self._title = title
        if title:
            self._current = bars.add_task(title, total=None)

    def looking(self, at: str) -> None:
        self.end_phase()
        self.current(f"checking {at}")

    def step(self, event: StepEvent) -> None:
        Lines.step(self, event)
        started = event.action is StepAction.STARTED
        self.current(f"{event.number}/{event.total} {event.step.table}: {event.step.title}" if started else "")

    def activity(self, activity: Activity | None) -> None:
        if self._current is None or self.progress is None:
            return
        if activity is None:
            self.progress.update(self._current, description=self._title)
        elif activity.build is not None and activity.build.total and not activity.blockers:
            build = activity.build
            self.progress.update(
                self._current, description=f"{self._title} ({build.phase})", completed=build.done, total=build.total
            )
        else:
            self.progress.update(self._current, description=f"{self._title}: {doing(activity)}", total=None)

    def fill_started(self, relation: Name, pages: int) -> None:
        self.fill_finished(relation)
        bars = self.bars()
        self._tasks[relation] = bars.add_task(str(relation), total=pages or None, fill=Fill(pages=pages))

    def fill_advanced(self, relation: Name, pages: int, rows: int) -> None:
        bars = self.bars()
        if relation in self._tasks:
            task = self._tasks[relation]
            fill = next(one for one in bars.tasks if one.id == task).fields["fill"]
            fill.add(pages, rows)
            bars.update(task, completed=fill.done)

    def fill_finished(self, relation: Name) -> None:
        task = self._tasks.pop(relation, None)
        if task is not None:
            self.bars().remove_task(task)


def _bars(console: Console) -> Progress:
    narrow = console.width < NARROW
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False,
                   table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis", min_width=12)),
        BarColumn(bar_width=10 if narrow else 20),
        _Rate(narrow=narrow),
        console=console, transient=True, expand=True, refresh_per_second=5,
    )  # fmt: skip


def step_line(event: StepEvent, *, width: int) -> Text:
    """A finished step; a narrow terminal cuts the title, not the time."""
    facts = [duration(event.milliseconds / 1000)]
    if event.rows is not None:
        facts.append(counted(event.rows, "row"))
    if event.tries > 1:
        facts.append(f"{event.tries} tries")
    took = Text(f"  ({', '.join(facts)})", style="dim")
    mark, table = DONE.get(event.action, "·"), str(event.step.table)
    step = Text.assemble((f"  {mark} ", "green"), (table, "cyan"), f"  {event.step.title}")
    step.truncate(max(width - took.cell_len, 1), overflow="ellipsis")
    return step + took


def doing(activity: Activity) -> str:
    """What a session does, or what blocks it."""
    if activity.blockers:
        return "waiting for " + "; ".join(activity.blockers)
    if activity.build is not None:
        build = activity.build
        share = f", {100 * build.done / build.total:.0f} %" if build.total else ""
        return f"index on {build.table}: {build.phase}{share}"
    if activity.copied:
        return f"at least {activity.copied:,} rows copied to the nodes"
    return f"waiting ({activity.waiting})" if activity.waiting else activity.state


def one_line(text: str) -> str:
    return " ".join(text.split())
