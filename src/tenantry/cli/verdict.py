"""Shows what validate and verify have found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from tenantry.cli.terminal import STYLES, Terminal
from tenantry.errors import ExitStatus
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.verdict import FamilyVerdict, Verdict
from tenantry.model.wording import counted, duration
from tenantry.reports.text import visible

SHOWN = 30
"""The largest number of findings of each severity, without --verbose."""
EXAMPLES = 3
"""The largest number of samples for each finding, without --detailed."""
INDENT = " " * 9
ASKED = {
    Family.STRUCTURE: "every step is applied and unaltered",
    Family.COMPLETENESS: "every row finds a tenant that exists",
    Family.REFERENCES: "every reference leads to an existing row of the same tenant",
    Family.ISOLATION: "nothing bypasses the policies",
    Family.PERFORMANCE: "indexes by tenant exist, and are used",
    Family.BUSINESS: "the rules of the spec",
}


def show_verdict(terminal: Terminal, verdict: Verdict, *, detailed: bool = False) -> None:
    """Families and their findings, the worst first; then the outcome and what to do next."""
    terminal.answer(
        run=verdict.run, outcome=verdict.outcome, next_step=verdict.next_step, families=verdict.families,
        findings=verdict.findings, distributions=verdict.distributions, tables=verdict.tables, rows=verdict.rows,
        seconds=round(verdict.seconds, 3),
    )  # fmt: skip
    show_findings(terminal, verdict, detailed=detailed)
    _outcome(terminal, verdict)


def show_findings(terminal: Terminal, verdict: Verdict, *, detailed: bool) -> None:
    """Families and their findings."""
    for family in verdict.families:
        _line(terminal, _family(family))
    if detailed:
        for distribution in verdict.distributions:
            _line(terminal, _distribution(distribution))
    _findings(terminal, verdict.findings, detailed=detailed)


def _line(terminal: Terminal, text: Text) -> None:
    if terminal.talks:
        terminal.out.print(text, no_wrap=True, overflow="ellipsis")


def _family(family: FamilyVerdict) -> Text:
    if family.waits_for is not None and not family.findings:
        return Text(f"– {family.family:<13}not checked before the phase {family.waits_for} is applied", style="dim")
    mark, style = ("✓", "green") if family.passed else ("✗", "red")
    found = f"{counted(family.findings, 'finding')}: " if family.findings else ""
    found += f"{family.skipped} checks not made: " if family.skipped else ""
    checks = f" ({counted(family.checks, 'check')} of the rows)" if family.checks else ""
    return Text.assemble(
        (f"{mark} ", style), f"{family.family:<13}", (found, style), (ASKED[family.family], "dim"), (checks, "dim")
    )


def _distribution(one: Distribution) -> Text:
    largest = f", {one.share:.0%} of them {visible(one.largest[0][0])}" if one.largest else ""
    empty = f", {one.empty} have none" if one.empty else ""
    without = f", {one.without_tenant:,} without" if one.without_tenant else ""
    return Text.assemble(
        ("  ", ""), (str(one.table), "cyan"),
        (f"  {counted(one.rows, 'row')} of {one.tenants} tenants{largest}", "dim"),
        (f"; typical {one.typical:,.0f}{empty}{without}", "dim"),
    )  # fmt: skip


def _findings(terminal: Terminal, findings: Sequence[Finding], *, detailed: bool) -> None:
    for severity in Severity:
        found = [one for one in findings if one.severity is severity]
        if severity is Severity.INFO and not (detailed or terminal.settings.verbose):
            continue
        shown = found if terminal.settings.verbose else found[:SHOWN]
        for finding in shown:
            _finding(terminal, finding, detailed=detailed)
        if len(found) > len(shown):
            terminal.say(
                Text(f"{severity!s:<8} … and {len(found) - len(shown)} more (--verbose shows them)", style="dim")
            )


def _finding(terminal: Terminal, finding: Finding, *, detailed: bool) -> None:
    terminal.item(f"{finding.severity!s:<8} ", visible(finding.message), style=STYLES[finding.severity])
    samples = finding.samples if detailed else finding.samples[:EXAMPLES]
    for sample in samples:
        terminal.item(INDENT, _sample(sample), body_style="dim")
    known = finding.count if finding.count is not None else len(finding.samples)
    if samples and known > len(samples):
        terminal.item(INDENT, f"… and {known - len(samples):,} more", body_style="dim")
    if finding.tenants:
        terminal.item(INDENT, "by tenant: " + _sample(finding.tenants), body_style="dim")
    if finding.remedy:
        terminal.item(f"{INDENT}→ ", visible(finding.remedy), style="cyan")


def _sample(sample: Mapping[str, Any]) -> str:
    return ", ".join(f"{visible(str(name))} {_value(value)}" for name, value in sample.items())


def _value(value: Any) -> str:
    if value is None:
        return "NULL"
    text = visible(str(value))
    return text if len(text) <= 80 else text[:79] + "…"


def _outcome(terminal: Terminal, verdict: Verdict) -> None:
    clean = verdict.exit_status is ExitStatus.DONE
    word, style = ("Clean: ", "bold green") if clean else ("Found: ", "bold red")
    terminal.item(word, verdict.outcome + ".", style=style, always=True)
    tables = counted(verdict.tables, "table")
    terminal.item(" " * len(word), f"{counted(verdict.rows, 'row')} of {tables}, {duration(verdict.seconds)}.")
    terminal.item("Next:  ", verdict.next_step, style="cyan")
    if terminal.log.written:
        terminal.log.write("done", verdict=verdict)
    terminal.files()
