"""The journal's records of tenants that move to another server: on both sides, the state of each move."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from tenantry.model.tenant_move import Move, MoveState, Side
from tenantry.postgres.journal_table import JournalTable
from tenantry.postgres.queries import read_queries
from tenantry.postgres.trust import require_trusted

_QUERIES = read_queries(Path(__file__).with_name("sql") / "moves.sql")


class Moves(JournalTable):
    """Reads and writes over one connection; writes are part of the open transaction, if any."""

    queries = _QUERIES

    def all(self) -> tuple[Move, ...]:
        """All moves, the oldest first. Raises Refused if the journal cannot be trusted."""
        require_trusted(self.connection)
        if not self.installed:
            return ()
        with self.connection.cursor(row_factory=class_row(Move)) as cursor:
            return tuple(cursor.execute(_QUERIES["all"]).fetchall())

    def unfinished(self) -> tuple[Move, ...]:
        """Those that are not complete. To be asked only of a journal that is known to be trusted."""
        if not self.installed:
            return ()
        with self.connection.cursor(row_factory=class_row(Move)) as cursor:
            return tuple(move for move in cursor.execute(_QUERIES["all"]) if not move.complete)

    def from_here(self, slug: str, tenant: str | None = None, *, server: str = "") -> Move | None:
        """The last move away from here of the tenant with this slug, or with this key, finished or not; one to that
        `server` rather than another. None if there is none."""
        return self._one("of_slug", slug=slug, tenant=tenant, server=server) if self.installed else None

    def find(self, id: str) -> Move | None:
        return self._one("of_id", id=id) if self.installed else None

    def begin(
        self, *, id: str, side: Side, run: str, tenant: str, slug: str, location: str, server: str,
        identities: Mapping[str, Any],
    ) -> Move:  # fmt: skip
        made = self._one(
            "begin", id=id, side=side, run=run, tenant=tenant, slug=slug, location=location, server=server,
            identities=Jsonb(identities),
        )  # fmt: skip
        assert made is not None
        return made

    def change(self, move: Move, state: MoveState) -> None:
        self.connection.execute(_QUERIES["change"], {"id": move.id, "state": state})

    def abandon(self, move: Move) -> None:
        """Record that the move is ended at the source alone."""
        self.connection.execute(_QUERIES["abandon"], {"id": move.id})

    def rename(self, move: Move, slug: str) -> None:
        """Record that the tenant has another slug by now."""
        self.connection.execute(_QUERIES["rename"], {"id": move.id, "slug": slug})

    def count_pause(self, move: Move) -> None:
        """Record that a pause begins."""
        self.connection.execute(_QUERIES["paused"], {"id": move.id})

    def note_pause(self, move: Move, milliseconds: float) -> None:
        """Record how long a pause was."""
        self.connection.execute(_QUERIES["pause"], {"id": move.id, "milliseconds": milliseconds})

    def forget(self, move: Move) -> None:
        self.connection.execute(_QUERIES["forget"], {"id": move.id})

    def forget_departed(self, tenant: str, *, but: Move | None = None) -> None:
        """Delete the records of moves by which the tenant, which has come back, had left."""
        if self.installed:
            self.connection.execute(
                _QUERIES["forget_departed"], {"tenant": tenant, "id": "" if but is None else but.id}
            )

    def _one(self, query: str, **values: object) -> Move | None:
        with self.connection.cursor(row_factory=class_row(Move)) as cursor:
            return cursor.execute(_QUERIES[query], values).fetchone()
