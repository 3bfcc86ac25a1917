"""What a fill tells those who watch it; how it looks is decided elsewhere."""

from __future__ import annotations

from typing import Protocol

from tenantry.model.name import Name


class Progress(Protocol):
    """Called from several threads, one at a time."""

    def started(self, relation: Name, total_pages: int) -> None:
        """A relation's fill begins; `total_pages` are to be gone through, without those of an earlier run."""

    def advanced(self, relation: Name, pages: int, rows: int) -> None:
        """`pages` more are done, `rows` more have their tenant; in a relation's later passes `pages` is 0."""

    def paused(self, reason: str) -> None:
        """It waits, or goes on more slowly; `reason` is a sentence for people."""

    def finished(self, relation: Name, rows: int) -> None:
        """No row of the relation is left; `rows` were given their tenant in this run."""
