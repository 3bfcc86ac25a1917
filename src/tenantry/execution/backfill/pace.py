"""How many pages a batch takes, so that it holds its locks for no longer than the target."""

from __future__ import annotations

from dataclasses import dataclass

# A batch's size is at most doubled from one to the next: pages differ, and a first batch says little.
STEEPEST = 2.0
SHORTEST_TARGET = 0.02
RECOVERY = 1.1


@dataclass(slots=True, kw_only=True)
class Pace:
    """One worker's; `target` in seconds. It halves while others wait for our locks, then recovers slowly."""

    target: float
    pages: int
    most: int
    _aim: float = 0.0

    def __post_init__(self) -> None:
        self._aim = self.target

    def ask(self, *, crowded: bool) -> int:
        """The pages of the next batch."""
        if crowded:
            self._aim = max(self._aim / 2, min(SHORTEST_TARGET, self.target))
            self.pages = max(1, self.pages // 2)
        else:
            self._aim = min(self._aim * RECOVERY, self.target)
        return self.pages

    def took(self, pages: int, seconds: float) -> None:
        """Learn from a batch; one that was cut short, by the end of its unit, says only what is too slow."""
        if pages < self.pages and seconds < self._aim:
            return
        factor = min(max(self._aim / max(seconds, 1e-4), 1 / STEEPEST), STEEPEST)
        self.pages = min(max(1, round(pages * factor)), self.most)
