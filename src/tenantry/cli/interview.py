"""Asks the open questions of a spec in a terminal, one after the other; each answer is written to the file at once."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from tenantry.cli.rewriting import read_text, rewrite
from tenantry.cli.terminal import Terminal
from tenantry.discovery.answers import Answer, TableQuestion, answered, questions
from tenantry.discovery.proposal import Background
from tenantry.errors import Interrupted, UsageError, nearest
from tenantry.model.name import Name
from tenantry.model.spec import Spec, is_slug
from tenantry.model.wording import counted
from tenantry.reports.text import visible

REASONS = 6
"""The largest number of samples of a table that are shown."""
TENANTS = 12
"""The largest number of tenants that are listed."""
KEYS = "s skip · u undo · q quit"


def require_terminal(terminal: Terminal) -> None:
    """Raises UsageError without a terminal to ask in."""
    if terminal.settings.json or terminal.settings.quiet:
        raise UsageError("--interactive needs a terminal", remedy="Omit --json and --quiet.")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "--interactive needs a terminal, and standard input is not one",
            remedy="Run it in a terminal; or omit --interactive, and edit the file.",
        )


def interview(terminal: Terminal, path: Path, background: Background) -> None:
    """Ask about each table that the spec leaves undecided, until none is left or the person stops.

    Raises Interrupted on Ctrl-C; the answers given by then are in the file.
    """
    asked = _Interview(terminal, path, background)
    try:
        asked.run()
    except EOFError:
        terminal.show("")
    except KeyboardInterrupt as error:
        terminal.show("")
        raise Interrupted(
            f"Interrupted: {_tables(asked.count)} answered in {path}",
            remedy=f"Run it again with --output {path}: it asks the remaining questions.",
        ) from error
    left = asked.open()
    terminal.show(f"Answered {_tables(asked.count)} in {path}; {len(left) or 'none'} left.")
    todo = "the same command asks the remaining questions" if left else "`tenantry plan`"
    terminal.item("Next: ", f"{todo}.", style="cyan")


def _tables(count: int) -> str:
    return "1 table" if count == 1 else f"{count} tables"


@dataclass(slots=True)
class _Interview:
    terminal: Terminal
    path: Path
    background: Background
    skipped: list[Name] = field(default_factory=list)
    past: list[tuple[str, str, int] | None] = field(default_factory=list)
    """What undo restores: the file's text before and after an answer, and how many tables it was for; None for a table
    that was skipped."""

    @property
    def count(self) -> int:
        """The tables that were answered."""
        return sum(one[2] for one in self.past if one is not None)

    def open(self) -> tuple[TableQuestion, ...]:
        """The tables that the file leaves undecided now, whoever has changed it."""
        spec = Spec.parse(read_text(self.path), path=self.path)
        return questions(spec, self.background.proposal, self.background.schema)

    def run(self) -> None:
        while left := [one for one in self.open() if one.table not in self.skipped]:
            question = left[0]
            same = [one for one in left if one.cause == question.cause] if question.cause else [question]
            self._show(question, same, len(left))
            if not self._ask(question, same):
                return

    def _show(self, question: TableQuestion, same: list[TableQuestion], left: int) -> None:
        terminal = self.terminal
        terminal.show("")
        rows = counted(question.rows, "row")
        terminal.item("undecided ", visible(f"{question.part.name}, {rows} ({left} left)"), style="yellow",
                      body_style="bold")  # fmt: skip
        terminal.item("  ", visible(question.why))
        for reason in question.reasons[:REASONS]:
            terminal.item("  ", visible(reason), body_style="dim")
        for number, answer in enumerate(question.answers, start=1):
            terminal.item(f"{number:>4}  ", visible(answer.meaning), style="cyan")
        several = f"1* … for all {len(same)} tables with this question · " if len(same) > 1 else ""
        terminal.item("      ", several + KEYS, body_style="dim")

    def _ask(self, question: TableQuestion, same: list[TableQuestion]) -> bool:
        """Returns whether to go on."""
        while True:
            said = self._read("Answer: ")
            match said.lower():
                case "q":
                    return False
                case "s":
                    self.skipped.append(question.table)
                    self.past.append(None)
                    return True
                case "u":
                    self._undo()
                    return True
            number = said.removesuffix("*").strip()
            if not (number.isascii() and number.isdigit() and 0 < int(number) <= len(question.answers)):
                self.terminal.show(f"Type 1 to {len(question.answers)}, s, u or q.", style="yellow")
                continue
            answer = question.answers[int(number) - 1]
            try:
                self._write(answer, same if said.endswith("*") else [question])
            except UsageError as error:
                self.terminal.explain(error)
                continue
            return True

    def _write(self, answer: Answer, asked: list[TableQuestion]) -> None:
        slug = self._slug(answer) if answer.slug else ""
        before = read_text(self.path)
        given = [
            (question, fitting)
            for question in asked
            for fitting in question.answers if fitting.meaning == answer.meaning
        ]  # fmt: skip
        text = answered(before, Spec.parse(before, path=self.path), self.background.schema, given, slug)
        rewrite(self.path, text)
        self.past.append((before, text, len(given)))
        self.terminal.item("written ", visible(f"{_tables(len(given))}: {answer.meaning}"), style="green")

    def _undo(self) -> None:
        if not self.past:
            self.terminal.show("Nothing to undo.", style="yellow")
            return
        last = self.past[-1]
        if last is None:
            self.past.pop()
            self.skipped.pop()
            return
        before, after, count = last
        if read_text(self.path) != after:
            self.terminal.show(f"{self.path} was changed by another program since: undo it there.", style="yellow")
            return
        rewrite(self.path, before)
        self.past.pop()
        self.terminal.show(f"Undone: {_tables(count)}.")

    def _slug(self, answer: Answer) -> str:
        """Asks for the slug of a tenant, and twice for one that does not exist. Raises UsageError."""
        known = self.background.tenants
        shown = ", ".join(known[:TENANTS]) + (f" and {len(known) - TENANTS} more" if len(known) > TENANTS else "")
        slug = self._read(visible(f"Which tenant (its slug{f': {shown}' if known else ''})? "))
        if not is_slug(slug):
            raise UsageError(f"{slug!r} is not a valid slug", remedy="Answer again.")
        if slug not in known:
            near = nearest(slug, list(known))
            again = self._read(visible(f"The tenant {slug!r} does not exist{near}; migrate would add it. Repeat it: "))
            if again != slug:
                raise UsageError(f"{again!r} is not {slug!r}: nothing was written", remedy="Answer again.")
        return slug

    def _read(self, prompt: str) -> str:
        self.terminal.out.print(prompt, end="", style="bold", soft_wrap=True)
        return input().strip()
