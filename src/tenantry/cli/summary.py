"""The result of a run, as text."""

from __future__ import annotations

from tenantry.cli.terminal import Terminal
from tenantry.model.run import Result
from tenantry.model.wording import counted, duration


def show_result(terminal: Terminal, result: Result) -> None:
    """The outcome, its figures, and what to do next."""
    terminal.answer(
        run=result.run, outcome=result.outcome, next_step=result.next_step, applied=result.applied,
        found=result.found, rows=result.rows, seconds=round(result.seconds, 3),
        longest_lock_wait_seconds=round(result.longest_lock, 3), retries=result.retries, findings=result.findings,
    )  # fmt: skip
    if terminal.log.written:
        terminal.log.write("done", result=result)
    terminal.item("Done: ", result.outcome + ".", style="bold green", always=True)
    facts = [duration(result.seconds)]
    if result.rows:
        facts.append(f"{counted(result.rows, 'row')} filled")
    facts.append(f"longest wait for a lock {duration(result.longest_lock)}")
    if result.retries:
        facts.append(f"{result.retries} retries")
    terminal.item("      ", ", ".join(facts) + ".")
    if result.next_step:
        terminal.item("Next: ", result.next_step, style="cyan")
    terminal.files()
