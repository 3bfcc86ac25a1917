"""Preparing an empty database as the target of moves: with the schema of the source and its journal, the rows that all
tenants share, and those tenants that every database of the business has. pg_dump and psql do most of it, in one
transaction of the target."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from psycopg import sql
from psycopg.rows import tuple_row

from tenantry.errors import Refused
from tenantry.execution.events import Reading
from tenantry.model.backup import PREFIX
from tenantry.model.name import JOURNAL_SCHEMA, Name, quoted
from tenantry.model.wording import counted
from tenantry.postgres.backups import set_stable_text_format
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal
from tenantry.postgres.programs import Running, program
from tenantry.postgres.replication import (
    Connection,
    foreign_objects,
    missing_roles,
    read_column_names,
    read_table,
    write_column_names,
)
from tenantry.steps.sentinel import SENTINEL
from tenantry.tenants.scope import TenantScope

NOT_COPIED = (
    "runs", "events", "progress", "filled", "backups", "fixes", "fixed_rows", "removals", "moves", "columns",
    "reconciliations", "discrepancies", "drifts",
)  # fmt: skip
"""Tables of the journal that tell what happened to this database and its rows, or contain numbers of columns."""
HEAD = 20
"""Lines within which a dump restricts what psql does with the rest."""
UNKNOWN = {b"SET transaction_timeout = 0;": 170000}
"""Lines at the head of a dump by a newer pg_dump, with the version of the server that first accepts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInit:
    """Prepares the database `to`, over a connection in autocommit mode. What it finds done it leaves."""

    source: TenantScope
    to: Target
    connection: Connection

    def run(self) -> bool:
        """Whether there was anything to restore. Raises Refused if the database is not empty, Failed if pg_dump or
        psql fails: then nothing is changed."""
        restores = not self._prepared()
        if restores:
            others = foreign_objects(self.connection)
            if others:
                raise Refused(
                    f"The target is not empty: it has {others[0]}",
                    remedy="Create an empty database for --init; or migrate that one by the same spec.",
                    details=others[1:],
                )
            self._refuse_strangers()
            self._refuse_missing_roles()
            self.source.observer(Reading("the schema, which is restored at the target"))
            self._restore()
        self._journal()
        self._tenants()
        self._everybodys_rows()
        return restores

    def _prepared(self) -> bool:
        return Journal(self.connection).installed

    def _refuse_strangers(self) -> None:
        """Raises Refused if a table belongs to a role with fewer rights: loading its rows runs its owner's checks."""
        for name in (*self.source.selection.ownership.shared, *self.source.selection.tables):
            found = read_table(self.source.connection, name, self.source.copy(name).columns[0].name)
            if found is not None and found.stranger:
                user = quoted(self.source.connection.info.user)
                raise Refused(
                    f"{name} belongs to {quoted(found.owner)}, whose code --init would run as {user}",
                    remedy=f"Connect as {quoted(found.owner)}.",
                )

    def _refuse_missing_roles(self) -> None:
        missing = missing_roles(self.source.connection, self.connection)
        if missing:
            raise Refused(
                f"The target's server lacks {counted(len(missing), 'role')} that objects of the source name:"
                f" {', '.join(map(quoted, missing))}",
                remedy="Create them there, each with its attributes and memberships, which"
                " `pg_dumpall --roles-only` prints at the source's server; then run the same command again.",
            )

    def _restore(self) -> None:
        versions = (self.source.connection.info.server_version, self.connection.info.server_version)
        pg_dump, psql = (program(name, major=max(versions) // 10000) for name in ("pg_dump", "psql"))
        with tempfile.TemporaryDirectory(prefix="tenantry-") as folder:
            dumped, script = Path(folder) / "dumped.sql", Path(folder) / "script.sql"
            arguments: tuple[str | Path, ...] = (
                "--format=plain", "--no-publications", "--no-subscriptions",
                f"--exclude-table={JOURNAL_SCHEMA}.{PREFIX}*", *self._without_rows(), "--file", dumped,
                "--dbname", "{database}",
            )  # fmt: skip
            with Running(self.source.session.target, pg_dump, *arguments) as dumping:
                dumping.wait()
            with dumped.open("rb") as lines:
                if not any(line.startswith(b"\\restrict ") for line in islice(lines, HEAD)):
                    raise Refused(
                        f"{pg_dump} is too old: names in its dumps could contain commands of psql (CVE-2025-8714)",
                        remedy="Update the client programs of PostgreSQL.",
                    )
            with dumped.open("rb") as lines, script.open("wb") as kept:
                kept.writelines(_understood(lines, versions[1]))
            restore: tuple[str | Path, ...] = (
                "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--file", script,
                "--dbname", "{database}",
            )  # fmt: skip
            with Running(self.to, psql, *restore) as restoring:
                restoring.wait()

    def _without_rows(self) -> Iterator[str]:
        """The options of pg_dump that leave the rows of tenants out, and what the journal tells of rows."""
        for name in (*self.source.selection.tables, *(Name(JOURNAL_SCHEMA, one) for one in NOT_COPIED)):
            yield f"--exclude-table-data={name.identifier.as_string(None)}"

    def _journal(self) -> None:
        """The numbers of columns differ if columns were dropped: they are found by their present names."""
        with self.connection.transaction():
            write_column_names(self.connection, read_column_names(self.source.connection))

    def _tenants(self) -> None:
        """Tenants that cannot be moved, since the spec names them: every database has them, with the same keys."""
        table = self.source.selection.ownership.tenant
        sentinel = None if table.sentinel is None else SENTINEL
        slugs = [slug for slug in (table.default, table.quarantine, sentinel, *table.slugs) if slug is not None]
        names = [column.name for column in self.source.copy(table.name).columns]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        texts = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in names)
        query = sql.SQL("SELECT {} FROM {} AS t WHERE t.{}::text = ANY ({})").format(
            texts, table.name.identifier, sql.Identifier(table.slug), sql.Literal(slugs)
        )
        with self.source.connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(query).fetchall()
        for row in rows:
            insert = sql.SQL(
                "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({}) ON CONFLICT ({}) DO NOTHING"
            ).format(
                table.name.identifier, columns, sql.SQL(", ").join(map(sql.Literal, row)), sql.Identifier(table.key)
            )
            self.connection.execute(insert)

    def _everybodys_rows(self) -> None:
        """The rows of mixed tables that belong to all tenants, all of them in one transaction; what the target has of
        them already is left."""
        selection, there = self.source.selection, self.connection
        relations = {table.name: table.everybodys(selection.ownership) for table in selection.mixed}
        for relation in relations.values():
            if there.execute(sql.SQL("SELECT FROM {} AS t LIMIT 1").format(relation)).fetchone() is not None:
                return
        here = self.source.connection
        with here.transaction(), there.transaction():
            # One snapshot, and values in a form that does not depend on the session.
            here.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            set_stable_text_format(here)
            set_stable_text_format(there)
            for name, relation in relations.items():
                self.source.observer(Reading(f"the rows of {name} that belong to all tenants, which are copied"))
                columns = sql.SQL(", ").join(sql.Identifier(one.name) for one in self.source.copy(name).columns)
                reads = sql.SQL("COPY (SELECT {} FROM {} AS t) TO STDOUT").format(columns, relation)
                writes = sql.SQL("COPY {} ({}) FROM STDIN").format(name.identifier, columns)
                with here.cursor().copy(reads) as read, there.cursor().copy(writes) as written:
                    for piece in read:
                        written.write(piece)


def _understood(lines: Iterable[bytes], version: int) -> Iterator[bytes]:
    """A dump without the settings that a server of this version does not know; rows are not looked at."""
    head = True
    for line in lines:
        head = head and not line.startswith(b"COPY ")
        if not head or UNKNOWN.get(line.strip(), 0) <= version:
            yield line
