"""A move of a tenant that has begun."""

from __future__ import annotations

from datetime import UTC, datetime

from tenantry.model.tenant_move import Move

MOVE = Move(
    id="0123456789ab", side="source", run="r", tenant="7", slug="two", location="host=b port=5432 dbname=shop",
    server="1/2", state="begun", identities={}, pauses=0, longest_pause=0.0, started_at=datetime(2026, 1, 1, tzinfo=UTC),
    changed_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
