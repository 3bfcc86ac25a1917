"""The journal of fixes: what was corrected, and each row before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg.rows import class_row, dict_row

from tenantry.errors import Refused
from tenantry.model.name import Name
from tenantry.model.ownership import Hop
from tenantry.postgres.journal_table import JournalTable
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "fixes.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixRecord:
    """The corrections of a run in one table. `filling`: only the tenant was set, bypassing the user's triggers. `rows`
    counts the rows, `undone` those that were restored, last by the run `undone_by`."""

    id: int
    run: str
    name: str
    schema: str
    table: str
    keys: list[str]
    filling: bool
    why: str
    made_at: datetime
    rows: int
    undone: int
    undone_by: str | None

    @property
    def relation(self) -> Name:
        return Name(self.schema, self.table)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixPart:
    """Rows of one fix whose images have the same columns, by the ids of their images."""

    fix: int
    columns: tuple[str, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChangingTrigger:
    """A trigger that changes a row before it is written, or other rows. `enabled` is pg_trigger's letter."""

    table: Name
    name: str
    enabled: str


class FixJournal(JournalTable):
    """Reads and writes over one connection; writes are part of the open transaction, if any."""

    queries = _QUERIES

    def add(self, *, run: str, name: str, table: Name, keys: Sequence[str], filling: bool, why: str) -> int:
        """Record a fix; returns its id."""
        row = self.connection.execute(
            _QUERIES["add"],
            {"run": run, "name": name, "schema": table.schema, "table": table.name, "keys": list(keys),
             "filling": filling, "why": why},
        ).fetchone()  # fmt: skip
        assert row is not None
        return int(row[0])

    def forget_empty(self, fix: int) -> None:
        """Delete a fix that has changed no row."""
        self.connection.execute(_QUERIES["forget_empty"], {"id": fix})

    def fixes(self, run: str | None = None) -> list[FixRecord]:
        """All fixes, or those of one run, in the order in which they were made."""
        if not self.installed:
            return []
        with self.connection.cursor(row_factory=class_row(FixRecord)) as cursor:
            return cursor.execute(_QUERIES["list"], {"run": run}).fetchall()

    def parts(self, run: str, size: int) -> Iterator[FixPart]:
        """The part of a run that is still to be undone, last first, in parts of at most `size` rows. Raises Refused for
        a row whose image is not valid."""
        broken = self.connection.execute(_QUERIES["broken"], {"run": run}).fetchone()
        if broken is not None:
            raise Refused(
                f"The row {broken[0]} of tenantry.fixed_rows cannot be read: an image in it is not a JSON object",
                remedy="The journal was changed outside tenantry: restore the row, or DELETE it.",
            )
        for fix, columns, ids in self.connection.execute(_QUERIES["parts"], {"run": run}).fetchall():
            for first in range(0, len(ids), size):
                yield FixPart(fix=fix, columns=tuple(columns), ids=tuple(ids[first : first + size]))

    def undone(self, run: str, ids: Sequence[int]) -> None:
        """Record that these rows were restored by a run."""
        self.connection.execute(_QUERIES["undone"], {"run": run, "ids": list(ids)})

    def triggers(self, table: Name) -> list[RowChangingTrigger]:
        """The triggers that could change a row that is restored (the user's and tenantry's), or other rows
        (tenantry's)."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_QUERIES["triggers"], {"table": table.identifier.as_string(None)}).fetchall()
        return [
            RowChangingTrigger(table=Name(row["schema"], row["table"]), name=row["name"], enabled=row["enabled"])
            for row in rows
        ]

    def columns(self, table: Name) -> dict[str, str]:
        """The types of a table's columns; empty if there is no such table."""
        rows = self.connection.execute(_QUERIES["columns"], {"table": table.identifier.as_string(None)})
        return dict(rows.fetchall())

    def cascades(self, table: Name, columns: Sequence[str]) -> list[tuple[Name, Hop]]:
        """The tables whose rows change with these columns of `table`, with their foreign keys."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            parameters = {"table": table.identifier.as_string(None), "columns": list(columns)}
            rows = cursor.execute(_QUERIES["cascades"], parameters).fetchall()
        return [
            (
                Name(row["schema"], row["table"]),
                Hop(
                    columns=tuple(row["columns"]), parent=table, parent_columns=tuple(row["parent_columns"]),
                    operators=tuple(zip(row["operator_schemas"], row["operators"], strict=True)),
                ),
            )
            for row in rows
        ]  # fmt: skip
