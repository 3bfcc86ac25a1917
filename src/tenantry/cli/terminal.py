"""Standard output and standard error of a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from tenantry.cli.settings import Settings
from tenantry.errors import ExitStatus, TenantryError
from tenantry.model.finding import Finding, Severity
from tenantry.postgres.dsn import masked_value
from tenantry.reports.document import plain, to_json
from tenantry.reports.log import Log
from tenantry.reports.report_observer import ReportObserver
from tenantry.reports.text import bounded, visible

if TYPE_CHECKING:
    from tenantry.model.spec import Spec

SHOWN = 10
"""The largest number of details of an error, and of findings, without --verbose."""
LONGEST_LINE = 2_000
"""The largest number of characters of an error, or of a detail, on a terminal."""
ITEM = 20
"""The smallest number of columns for the body of an item."""
NO_TERMINAL = 10_000
"""Columns of a pipe or file, where nothing is wrapped."""
STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "dim", Severity.ACCEPTED: "dim"}
"""Colours of findings, by severity."""


class Screen(Console):
    """A console whose reader may go away: further output is then discarded, and the run goes on.

    Control characters from the database are shown as symbols, so that they cannot move the cursor or change colours.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text, but="\n"), segment.style)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, self.file.fileno())


def console(stream: IO[str], *, color: bool) -> Screen:
    """A console that does not read names in brackets as markup, and does not colour numbers."""
    width = None if stream.isatty() or "COLUMNS" in os.environ else NO_TERMINAL
    return Screen(
        file=stream, markup=False, highlight=False, emoji=False, soft_wrap=False, width=width,
        no_color=True if not color else None,
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Terminal:
    """The output of a command: text on `out`, or with --json one document at its end."""

    command: str
    settings: Settings
    log: Log
    report: ReportObserver | None = None
    """Commands whose runs write reports."""
    secrets: Sequence[str] = ()
    out: Console = field(init=False)
    err: Console = field(init=False)
    document: dict[str, Any] = field(default_factory=dict)
    spec_used: bool = False
    """Whether the command has read its spec."""

    def __post_init__(self) -> None:
        self.out = console(sys.stdout, color=not self.settings.no_color)
        self.err = console(sys.stderr, color=not self.settings.no_color)

    def spec(self) -> Spec:
        """The spec of the command. Raises UsageError, as Settings.spec."""
        self.spec_used = True
        return self.settings.spec()

    @property
    def talks(self) -> bool:
        """Whether anything besides the outcome is shown."""
        return not (self.settings.json or self.settings.quiet)

    def say(self, what: RenderableType = "", *, style: str = "") -> None:
        """Show a line or a table; not with --json or --quiet."""
        if self.talks:
            self.show(what, style=style)

    def show(self, what: RenderableType, *, style: str = "") -> None:
        """Show it also with --quiet: the result that the command is for."""
        if not self.settings.json:
            self.out.print(Text(what, style=style) if isinstance(what, str) else what)

    def item(self, head: str, body: str | Text, *, style: str = "", body_style: str = "", always: bool = False) -> None:
        """A line that starts with `head`; further lines are indented to the start of `body`. With --quiet only if
        `always`."""
        text = Text(body, style=body_style) if isinstance(body, str) else body
        tell = self.show if always else self.say
        tell(wrapped(self.out, Text(head, style=style), text))

    def files(self) -> None:
        """The paths of the log and the report. As `say`."""
        if self.talks:
            self._files(self.out)

    def write(self, text: str) -> None:
        """Write text for other programs: no wrapping, no colour."""
        if not self.settings.json:
            self.out.print(Text(text), soft_wrap=True, end="")

    def answer(self, **document: Any) -> None:
        """Add to the document that --json prints."""
        self.document |= {name: plain(value) for name, value in document.items()}

    def finish(self, status: ExitStatus, error: TenantryError | None = None) -> None:
        """Print the document, or the error."""
        if self.settings.json:
            document = {"command": self.command, "exit_status": int(status), **self.document}
            if error is not None:
                document["error"] = plain(error)
            if self.log.written:
                document["log"] = str(self.log.path)
            if self.report is not None and self.report.path is not None:
                document["report"] = str(self.report.path)
            document = masked_value(document, self.secrets)
            self.out.print(Text(to_json(document, indent=2)), soft_wrap=True)
        elif error is not None:
            self.explain(error)

    def explain(self, error: TenantryError, *, details: int | None = None) -> None:
        """Show an error: what is wrong, what to do, and so many `details`, by default SHOWN."""
        lines = [
            wrapped(self.err, Text("tenantry: ", style="bold red"), Text(self.masked(error.message), style="bold"))
        ]
        found = [detail for detail in error.details if detail]
        shown = found if self.settings.verbose else found[: SHOWN if details is None else details]
        lines += [wrapped(self.err, Text("  "), Text(self.masked(detail))) for detail in shown]
        if len(found) > len(shown):
            lines.append(Text(f"  … and {len(found) - len(shown)} more (--verbose shows them)", style="dim"))
        if error.remedy:
            remedy = Text(self.masked(_sentence(error.remedy)))
            lines.append(wrapped(self.err, Text("What to do: ", style="cyan"), remedy))
        for line in lines:
            self.err.print(line)
        self._files(self.err)

    def warn(self, text: str) -> None:
        """A warning on standard error that does not fail the command."""
        self.err.print(Text.assemble(("tenantry: ", "bold yellow"), self.masked(text)))

    def reports(self) -> tuple[Path, ...]:
        """The files of the run's report, written already or at its end."""
        if self.report is None or self.report.path is None:
            return ()
        return (self.report.path, *self.report.exports)

    def _files(self, console: Console) -> None:
        # Not wrapped: a path must be copyable in one piece.
        if self.log.written:
            console.print(Text(f"Log: {self.log.path}", style="dim"), soft_wrap=True)
        for path in self.reports():
            console.print(Text(f"Report: {path}", style="dim"), soft_wrap=True)

    def masked(self, text: str) -> str:
        return str(bounded(masked_value(text, self.secrets), LONGEST_LINE))

    def findings(self, findings: Sequence[Finding]) -> None:
        """Findings with their remedies, at most SHOWN; with --verbose all, information included."""
        told = [one for one in findings if self.settings.verbose or one.always or one.severity is not Severity.INFO]
        shown = told if self.settings.verbose else told[:SHOWN]
        for finding in shown:
            self.item(severity_word(finding), finding.message, style=STYLES[finding.severity])
            if finding.remedy:
                self.item(" " * 9, _sentence(finding.remedy), body_style="dim")
        if len(told) > len(shown):
            self.say(
                f"… {len(told) - len(shown)} more, {len(told)} findings in all (--verbose shows them)", style="dim"
            )


def wrapped(console: Console, head: Text, body: Text, *, most: int | None = None) -> Text:
    """`body` after `head`, with further lines indented to the start of `body`; at most `most` lines of it."""
    lines = body.wrap(console, max(console.width - head.cell_len, ITEM))
    for line in lines:
        line.rstrip()
    shown = lines[:most]
    if len(shown) < len(lines):
        shown[-1].append(" …")
    return head + Text("\n" + " " * head.cell_len).join(shown)


def severity_word(finding: Finding) -> str:
    """The severity before a finding, padded to the same width."""
    return f"{'refuses' if finding.refuses else finding.severity:<8} "


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", ":", "…")) else text + "."
