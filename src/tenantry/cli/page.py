"""Output with a limited number of lines, however large the database is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

from tenantry.cli.terminal import Terminal, wrapped
from tenantry.model.finding import Finding, Severity

LONGEST = 3
"""The largest number of lines for one entry of a list."""

Entry = tuple[Text, Text]
"""An entry: the start of its first line, and its text."""


@dataclass(slots=True)
class Page:
    """Shows texts, and counts the `lines` that remain."""

    terminal: Terminal
    lines: int

    def show(self, text: str) -> None:
        self.item("", Text(text))

    def item(self, head: str, body: str | Text, *, style: str = "", body_style: str = "") -> None:
        """As Terminal.item."""
        text = Text(body, style=body_style) if isinstance(body, str) else body
        self._put(wrapped(self.terminal.out, Text(head, style=style), text))

    def list(self, entries: Sequence[Entry], what: str, *, most: int, heading: str = "", spare_lines: int = 2) -> None:
        """Show as many of the entries as there is room for, at most `most`, and how many there are in all; `spare`
        lines are left free."""
        if not entries:
            return
        if heading:
            self.show(heading)
        shown = 0
        for head, body in entries[:most]:
            text = wrapped(self.terminal.out, head, body, most=LONGEST)
            if self.lines - _height(text) < spare_lines + 1:
                break
            self._put(text)
            shown += 1
        if shown < len(entries):
            self.item("", f"… {len(entries) - shown:,} more, {len(entries):,} {what} in all", body_style="dim")

    def _put(self, text: Text) -> None:
        self.lines -= _height(text)
        self.terminal.show(text)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in the order in which they are shown: those that refuse, then by severity."""
    return sorted(findings, key=lambda finding: (not finding.refuses, list(Severity).index(finding.severity)))


def _height(text: Text) -> int:
    return text.plain.count("\n") + 1
