"""The journal's records of tenants that are being removed: what was exported before, and the progress."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psycopg.rows import class_row

from tenantry.postgres.journal_table import JournalTable
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "removals.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A tenant, by its key as text, whose rows are being removed. `folder` has the export that was made before, of
    `exported` rows, None if none was to be made; `removed` rows have been deleted."""

    id: int
    run: str
    tenant: str
    slug: str
    folder: str | None
    exported: int
    removed: int


class Removals(JournalTable):
    """Reads and writes over one connection; writes are part of the open transaction, if any."""

    queries = _QUERIES

    def unfinished(self, tenant: str) -> Removal | None:
        """The unfinished removal of this tenant, if any."""
        return self._one("open", tenant=tenant) if self.installed else None

    def unfinished_of(self, slug: str) -> Removal | None:
        """The same, by the slug that the tenant had then."""
        return self._one("open_of", slug=slug) if self.installed else None

    def begin(self, *, run: str, tenant: str, slug: str, folder: Path | None, exported: int) -> Removal:
        made = self._one(
            "begin", run=run, tenant=tenant, slug=slug, folder=None if folder is None else str(folder),
            exported=exported,
        )  # fmt: skip
        assert made is not None
        return made

    def count(self, removal: Removal, rows: int) -> None:
        """Add this number to the deleted rows."""
        self.connection.execute(_QUERIES["count"], {"id": removal.id, "rows": rows})

    def finish(self, removal: Removal) -> int:
        """Delete the record, for the removal is complete; returns how many rows were deleted in total."""
        row = self.connection.execute(_QUERIES["finish"], {"id": removal.id}).fetchone()
        assert row is not None
        return int(row[0])

    def forget(self, tenant: str) -> None:
        """Delete what is recorded about this tenant, whose rows have come back."""
        if self.installed:
            self.connection.execute(_QUERIES["forget"], {"tenant": tenant})

    def end_keys(self, tenant: str) -> int:
        """End the tenant's API keys now, if the database has any; returns how many."""
        row = self.connection.execute(_QUERIES["keys"]).fetchone()
        if row is None or not row[0]:
            return 0
        return self.connection.execute(_QUERIES["end_keys"], {"tenant": tenant}).rowcount

    def _one(self, query: str, **values: object) -> Removal | None:
        with self.connection.cursor(row_factory=class_row(Removal)) as cursor:
            return cursor.execute(_QUERIES[query], values).fetchone()
