"""The last runs, and how long each took compared with the one before it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from tenantry.model.run import RunBefore, RunSummary
from tenantry.model.wording import counted, duration

ALIKE = 0.05
"""Two times that differ by less than this share of the earlier one count as equal."""


def run_lines(run: RunSummary) -> Iterator[Text]:
    """How a run ended; below it, its times, and whether they were longer or shorter than those of the run before."""
    if run.exit_status is None:
        end, style = "not finished", "yellow"
    else:
        end, style = f"exit {run.exit_status}", "dim" if run.exit_status == 0 else "yellow"
    yield Text(f"{run.started_at:%Y-%m-%d %H:%M:%S}  {run.id}  {run.command}  {end}", style=style)
    if run.outcome:
        yield Text(f"    {run.outcome}", style=style)
    if run.seconds is not None:
        compared = f"; {_compared(run.seconds, run.steps, run.before)}" if run.before is not None else ""
        yield Text(f"    {_summary(run)}{compared}", style="dim")


def _summary(run: RunSummary) -> str:
    facts = [duration(run.seconds)]
    if run.steps:
        facts.append(counted(run.steps, "step"))
    if run.rows:
        facts.append(counted(run.rows, "row"))
    if run.steps:
        facts.append(f"longest wait for a lock {duration(run.longest_lock)}")
    if run.retries:
        facts.append(f"{run.retries} retries")
    return ", ".join(facts)


def _compared(seconds: float, steps: int, before: RunBefore) -> str:
    """Times are compared only if both runs applied the same number of steps."""
    if steps != before.steps:
        return f"{before.id} took {duration(before.seconds)} for {counted(before.steps, 'step')}"
    change = (seconds - before.seconds) / before.seconds if before.seconds > 0 else 0.0
    if abs(change) < ALIKE:
        return f"as long as {before.id}"
    return f"{abs(change):.0%} {'slower' if change > 0 else 'faster'} than {before.id} ({duration(before.seconds)})"
