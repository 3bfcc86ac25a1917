"""The list of backups in the journal, and queries of the catalog for making and restoring one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import TypeAdapter, ValidationError

from tenantry.errors import Refused
from tenantry.model.backup import Backup, BackupKind, Reason, SequenceValue, TableCopy
from tenantry.model.name import Name
from tenantry.postgres.journal_table import JournalTable
from tenantry.postgres.queries import read_queries
from tenantry.postgres.trust import require_trusted

_QUERIES = read_queries(Path(__file__).with_name("sql") / "backups.sql")
_COPIES: TypeAdapter[tuple[TableCopy, ...]] = TypeAdapter(tuple[TableCopy, ...])
_BACKUP: TypeAdapter[Backup] = TypeAdapter(Backup)


def to_json(tables: Sequence[TableCopy]) -> Any:
    """The tables of a backup as plain JSON data."""
    return _COPIES.dump_python(tuple(tables), mode="json")


class Backups(JournalTable):
    """Reads and writes the list of backups over one connection; writes are part of the open transaction, if any."""

    queries = _QUERIES

    def all(self) -> tuple[Backup, ...]:
        """All backups, the newest first, including incomplete ones. Raises Refused if the list cannot be trusted."""
        require_trusted(self.connection)
        if not self.installed:
            return ()
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return tuple(map(_backup, cursor.execute(_QUERIES["all"])))

    def name(self, reason: Reason) -> str:
        """An id that no backup has yet."""
        row = self.connection.execute(_QUERIES["begin"], {"reason": reason}).fetchone()
        assert row is not None
        return str(row[0])

    def begin(
        self, id: str, *, kind: BackupKind, reason: Reason, run: str, tables: Sequence[TableCopy], folder: Path | None
    ) -> None:
        """Record the beginning of a backup, with the copies that it is going to make."""
        self.connection.execute(
            _QUERIES["insert"],
            {"id": id, "kind": kind, "reason": reason, "run": run, "tables": Jsonb(to_json(tables)),
             "folder": None if folder is None else str(folder)},
        )  # fmt: skip

    def finish(self, id: str, tables: Sequence[TableCopy], size: int) -> None:
        """Record that a backup is complete; `size` in bytes."""
        self.connection.execute(_QUERIES["finish"], {"id": id, "tables": Jsonb(to_json(tables)), "bytes": size})

    def verified(self, id: str, problem: str) -> None:
        self.connection.execute(_QUERIES["verified"], {"id": id, "problem": problem})

    def forget(self, id: str) -> None:
        self.connection.execute(_QUERIES["forget"], {"id": id})

    def unbroken(self, run: str) -> bool:
        """Whether no run has ended since `run` began."""
        row = self.connection.execute(_QUERIES["unbroken"], {"run": run}).fetchone()
        return row is not None and bool(row[0])


def _backup(row: Mapping[str, Any]) -> Backup:
    try:
        return _BACKUP.validate_python(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise Refused(
            f"The row {row['id']!r} of tenantry.backups cannot be read:"
            f" {'.'.join(map(str, first['loc']))}: {first['msg']}",
            remedy="The journal was changed outside tenantry: restore the row, or DELETE it.",
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fires:
    """A trigger or rule of the user's that is not disabled; `state` is the letter in the catalog: O, R or A."""

    relation: Name
    name: str
    state: str
    rule: bool


def firing(connection: psycopg.Connection[Any], relation: Name, event: str | None = None) -> tuple[Fires, ...]:
    """The user's triggers and rules that fire on a relation, on INSERT, UPDATE or DELETE or, without an `event`, on any
    of them; tenantry's own are left out."""
    found = []
    with connection.cursor(row_factory=dict_row) as cursor:
        for query in ("triggers", "rules"):
            asked = {"relation": relation.identifier.as_string(None), "event": event}
            rows = cursor.execute(_QUERIES[query], asked).fetchall()
            found += [
                Fires(relation=relation, name=row["name"], state=row["state"], rule=query == "rules") for row in rows
            ]
    return tuple(found)


def set_stable_text_format(connection: psycopg.Connection[Any]) -> None:
    """Set the format of values as text, until the transaction ends."""
    connection.execute(_QUERIES["steady"])


def table_bytes(connection: psycopg.Connection[Any], relations: Sequence[Name]) -> int:
    """The size of relations with their TOAST and without their indexes."""
    names = [name.identifier.as_string(None) for name in relations]
    row = connection.execute(_QUERIES["bytes"], {"names": names}).fetchone()
    return 0 if row is None else int(row[0])


def read_sequences(connection: psycopg.Connection[Any], table: Name) -> tuple[SequenceValue, ...]:
    """The state of the sequences that a table's columns use."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_QUERIES["sequences"], {"table": table.identifier.as_string(None)}).fetchall()
    found = []
    for name in (Name(row["schema"], row["name"]) for row in rows):
        query = sql.SQL("SELECT last_value, is_called FROM {}").format(name.identifier)
        value = connection.execute(query).fetchone()
        assert value is not None
        found.append(SequenceValue(sequence=name, last_value=value[0], is_called=value[1]))
    return tuple(found)
