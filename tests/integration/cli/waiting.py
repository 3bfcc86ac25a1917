"""Waits for what a run is at."""

from __future__ import annotations

from conftest import Command


def waits_for(shop: Command, table: str) -> bool:
    """Whether the log says that the run could not lock the table."""
    return any("no lock within" in path.read_text() for path in shop.folder.glob("logs/*.log"))
