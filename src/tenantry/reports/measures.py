"""The metrics of a run."""

from __future__ import annotations

from tenantry.reports.report import Action, Entry, Metrics, PhaseTotal

DONE = (Action.APPLIED, Action.REVERTED, Action.KEPT)


class Measures:
    """Sums up entries one by one, including those that are left out of the lists."""

    def __init__(self) -> None:
        self.found = self.steps = self.rows = self.retries = self.peak = 0
        self.longest_wait = self.longest_held = self._filling = 0.0
        self._phases: dict[str, PhaseTotal] = {}

    def add(self, entry: Entry) -> None:
        """Adds an entry that has ended."""
        self.longest_wait = max(self.longest_wait, entry.waited)
        self.longest_held = max(self.longest_held, entry.held)
        self.retries += entry.tries - 1
        # Actions that only read have rows, too: the number that they read.
        if entry.rows is not None and entry.key is not None:
            self.rows += entry.rows
            self._filling += entry.milliseconds
        if entry.action in DONE:
            self.steps += 1
            self._add_to_phase(entry)

    def _add_to_phase(self, entry: Entry) -> None:
        phase = entry.phase or ""
        known = self._phases.get(phase, PhaseTotal(phase=phase, steps=0, milliseconds=0.0, rows=0))
        self._phases[phase] = PhaseTotal(
            phase=phase, steps=known.steps + 1, milliseconds=round(known.milliseconds + entry.milliseconds, 1),
            rows=known.rows + (entry.rows or 0),
        )  # fmt: skip

    def metrics(self, seconds: float) -> Metrics:
        """The metrics after this number of seconds."""
        return Metrics(
            seconds=round(seconds, 3), steps=self.steps, found=self.found, rows=self.rows,
            rows_per_second=round(self.rows / self._filling * 1000, 1) if self.rows and self._filling else None,
            longest_lock_wait=self.longest_wait, longest_lock_held=self.longest_held, peak_waiting=self.peak,
            retries=self.retries, phases=list(self._phases.values()),
        )  # fmt: skip
