"""A move of a tenant from one server to another, as the journal of each side records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Side = Literal["source", "target"]
MoveState = Literal["begun", "switched", "moved", "abandoned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move of a tenant, by its key as text, as one side has recorded it.

    `state` is `begun` while the tenant is at the source, `switched` once it is at the target and the source still has
    rows of it, and `moved` once the source has none; `abandoned` if the source has ended the move without the target,
    which may still have its copy. `location` says where the other side is, `server` identifies the
    target. `identities` has the replica identities that tables had before, by the table's OID as text. `longest_pause`
    is in milliseconds.
    """

    id: str
    side: Side
    run: str
    tenant: str
    slug: str
    location: str
    server: str
    state: MoveState
    identities: Mapping[str, Any]
    pauses: int
    longest_pause: float
    started_at: datetime
    changed_at: datetime
    lag: int | None = None
    """The bytes that the target has yet to get, where that was asked for."""

    @property
    def complete(self) -> bool:
        return self.state in ("moved", "abandoned")

    @property
    def object_name(self) -> str:
        """The name of its publication, slot, subscription, triggers and function."""
        return f"tenantry_move_{self.id}"
