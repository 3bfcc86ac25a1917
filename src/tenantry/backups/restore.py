"""A restore applies a difference: rows that only the backup has are inserted, rows that only the table has are deleted,
and rows that differ are updated. Unchanged rows are not touched.

All tables are restored by one statement. So foreign keys are checked, and their actions run, when every table has its
rows: keys in a circle, to the same table, or from a row that stays to one that is deleted, need no order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from tenantry.backups.content import row_text
from tenantry.model.backup import CopiedColumn, SequenceValue
from tenantry.model.name import Name

_MODIFIER = re.compile(r"\(\d+(?:,-?\d+)?\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredTable:
    """A table to be restored from the rows of `source`.

    `columns` are in both, in the types that they have in the table, a domain by its own name; `casts` are those that
    have another type in the backup. `key` identifies the rows; without one, rows are compared as a whole. A row whose
    value in one of `replaced` differs is deleted and inserted, since an UPDATE could conflict with the value of another
    row that is yet to be updated, or may not set the column. If the deletion would fire a foreign key's ON DELETE, an
    UPDATE is used and leaves the identities alone that are always `generated`.
    """

    table: Name
    source: sql.Composable
    only: bool
    columns: tuple[CopiedColumn, ...]
    casts: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()

    @property
    def rows(self) -> sql.Composable:
        return sql.SQL("{} AS t").format(self.table.from_item(only=self.only))

    @property
    def names(self) -> sql.Composable:
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in self.columns)

    def _value(self, column: CopiedColumn) -> sql.Composable:
        value = sql.Identifier("s", column.name)
        return sql.SQL("{}::{}").format(value, _bare(column.type)) if column.name in self.casts else value

    @property
    def saved(self) -> sql.Composable:
        """The rows of the backup, in the types of the table."""
        values = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(self._value(column), sql.Identifier(column.name)) for column in self.columns
        )
        return sql.SQL("(SELECT {} FROM {} AS s)").format(values, self.source)

    @property
    def same(self) -> sql.Composable:
        """A condition: t and b are the same row. Types of extensions may have their operators in any schema."""
        types = {column.name: column.type for column in self.columns}
        return sql.SQL(" AND ").join(
            sql.SQL("{}::text = {}::text" if '"' in types[name] or "." in types[name] else "{} = {}").format(
                sql.Identifier("t", name), sql.Identifier("b", name)
            )
            for name in self.key
        )

    def _differs(self, names: Sequence[str]) -> sql.Composable:
        """Compared byte by byte: this works for any type, and 1.0 is not 1.00."""
        if not names:
            return sql.SQL("false")
        sides = [
            sql.SQL("ROW({})::record").format(sql.SQL(", ").join(sql.Identifier(alias, name) for name in names))
            for alias in ("t", "b")
        ]
        return sql.SQL("{} OPERATOR(pg_catalog.*<>) {}").format(*sides)

    @property
    def moved(self) -> sql.Composable:
        return self._differs(self.replaced)

    @property
    def changed(self) -> sql.Composable:
        return self._differs([column.name for column in self.columns if column.name not in self.key])

    @property
    def obsolete(self) -> sql.Composable:
        """The addresses of the rows that the backup does not have, or that must be replaced."""
        if self.key:
            return sql.SQL(
                "SELECT t.tableoid AS place, t.ctid AS line, b.{first} IS NOT NULL AS kept"
                " FROM {rows} LEFT JOIN {saved} AS b ON {same} WHERE b.{first} IS NULL OR {moved}"
            ).format(
                first=sql.Identifier(self.key[0]), rows=self.rows, saved=self.saved, same=self.same, moved=self.moved
            )
        return sql.SQL(
            "SELECT t.place, t.line, false AS kept FROM"
            " (SELECT t.tableoid AS place, t.ctid AS line, {text} AS text,"
            " pg_catalog.row_number() OVER (PARTITION BY {text}) AS number FROM {rows}) AS t"
            " LEFT JOIN (SELECT {saved_text} AS text, pg_catalog.count(*) AS count FROM {saved} AS b GROUP BY 1) AS b"
            " ON b.text = t.text WHERE b.text IS NULL OR t.number > b.count"
        ).format(
            text=row_text("t", self.columns), rows=self.rows, saved_text=row_text("b", self.columns), saved=self.saved
        )

    @property
    def missing(self) -> sql.Composable:
        """The rows of the backup that the table does not have."""
        if self.key:
            return sql.SQL(
                "SELECT {values} FROM {saved} AS b LEFT JOIN {rows} ON {same} WHERE t.{first} IS NULL OR {moved}"
            ).format(
                values=self._of("b"), saved=self.saved, rows=self.rows, same=self.same,
                first=sql.Identifier(self.key[0]), moved=self.moved,
            )  # fmt: skip
        return sql.SQL(
            "SELECT {values} FROM (SELECT b.*, {saved_text} AS \"~text\","
            " pg_catalog.row_number() OVER (PARTITION BY {saved_text}) AS \"~number\" FROM {saved} AS b) AS b"
            " LEFT JOIN (SELECT {text} AS text, pg_catalog.count(*) AS count FROM {rows} GROUP BY 1) AS t"
            " ON t.text = b.\"~text\" WHERE t.text IS NULL OR b.\"~number\" > t.count"
        ).format(
            values=self._of("b"), saved_text=row_text("b", self.columns), saved=self.saved,
            text=row_text("t", self.columns), rows=self.rows,
        )  # fmt: skip

    def _of(self, alias: str) -> sql.Composable:
        return sql.SQL(", ").join(sql.Identifier(alias, column.name) for column in self.columns)

    def unsettable(self) -> sql.Composed:
        """A query of the number of rows that have another identity now, which no UPDATE may set."""
        return sql.SQL("SELECT pg_catalog.count(*) FROM {} JOIN {} AS b ON {} WHERE {}").format(
            self.rows, self.saved, self.same, self._differs(self.generated)
        )

    def counts(self) -> sql.Composed:
        """A query of three numbers: the rows that would be deleted, updated, inserted."""
        updated: sql.Composable = sql.SQL("0::bigint")
        replaced = sql.SQL("(SELECT pg_catalog.count(*) FROM ({}) AS g WHERE g.kept)").format(self.obsolete)
        if self.key:
            updated = sql.SQL("(SELECT pg_catalog.count(*) FROM {} JOIN {} AS b ON {} WHERE {})").format(
                self.rows, self.saved, self.same, self.changed
            )
        return sql.SQL(
            "SELECT (SELECT pg_catalog.count(*) FROM ({gone}) AS g WHERE NOT g.kept), {updated},"
            " (SELECT pg_catalog.count(*) FROM ({missing}) AS m) - {replaced}"
        ).format(gone=self.obsolete, updated=updated, missing=self.missing, replaced=replaced)


def restore_statement(targets: Sequence[RestoredTable]) -> sql.Composed:
    """The statement that gives all targets the rows of their sources. Its result is one row with, for each target: rows
    deleted and not inserted again, rows updated or replaced, rows inserted.

    Its parts read the rows as they were before the statement; each part waits for the one before it, whose rows it
    counts. Deletions come first, so that a unique value is free when another row takes it.
    """
    parts: list[sql.Composable] = []
    names: list[str] = []

    def part(name: str, statement: sql.Composable) -> None:
        parts.append(sql.SQL("{} AS ({})").format(sql.Identifier(name), statement))
        names.append(name)

    def after() -> sql.Composable:
        return sql.SQL("{} >= 0").format(_count(names[-1])) if names else sql.SQL("true")

    for number, target in enumerate(targets):
        part(f"deleted {number}", _delete(target, after()))
    for number, target in enumerate(targets):
        if target.key and (update := _update(target, after())) is not None:
            part(f"updated {number}", update)
    for number, target in enumerate(targets):
        part(f"inserted {number}", _insert(target, after()))
    numbers = sql.SQL(", ").join(_numbers(number, f"updated {number}" in names) for number in range(len(targets)))
    return sql.SQL("WITH {} SELECT {}").format(sql.SQL(", ").join(parts), numbers)


def _count(name: str, condition: str = "true") -> sql.Composable:
    return sql.SQL("(SELECT pg_catalog.count(*) FROM {} WHERE {})").format(sql.Identifier(name), sql.SQL(condition))


def _numbers(number: int, updates: bool) -> sql.Composable:
    replaced = _count(f"deleted {number}", "kept")
    updated = _count(f"updated {number}") if updates else sql.SQL("0")
    return sql.SQL("ARRAY[{}, {} + {}, {} - {}]").format(
        _count(f"deleted {number}", "NOT kept"), updated, replaced, _count(f"inserted {number}"), replaced
    )


def _delete(target: RestoredTable, after: sql.Composable) -> sql.Composable:
    return sql.SQL(
        "DELETE FROM {} USING ({}) AS g WHERE t.tableoid = g.place AND t.ctid = g.line AND {} RETURNING g.kept"
    ).format(target.rows, target.obsolete, after)


def _update(target: RestoredTable, after: sql.Composable) -> sql.Composable | None:
    left = {*target.key, *target.replaced, *target.generated}
    names = [column.name for column in target.columns if column.name not in left]
    if not names:
        return None
    values = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("b", name)) for name in names
    )
    return sql.SQL("UPDATE {} SET {} FROM {} AS b WHERE {} AND {} AND NOT ({}) AND {} RETURNING true").format(
        target.rows, values, target.saved, target.same, target.changed, target.moved, after
    )


def _insert(target: RestoredTable, after: sql.Composable) -> sql.Composable:
    # OVERRIDING SYSTEM VALUE for identity columns that are GENERATED ALWAYS. In the order of the key, in which parents
    # mostly come before their children: the assignment trigger looks for them.
    order = sql.SQL(" ORDER BY {}").format(sql.SQL(", ").join(map(sql.Identifier, target.key or ())))
    return sql.SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT * FROM ({}) AS m WHERE {}{} RETURNING true"
    ).format(target.table.identifier, target.names, target.missing, after, order if target.key else sql.SQL(""))


def advance(sequences: Sequence[SequenceValue]) -> Iterator[sql.Composed]:
    """Queries that set sequences to the recorded position, unless they are past it: numbers handed out since are in
    use."""
    for value in sequences:
        yield sql.SQL(
            "SELECT pg_catalog.setval(q.seqrelid, {saved}, {called}) FROM {sequence} AS s, pg_catalog.pg_sequence AS q"
            " WHERE q.seqrelid = {oid} AND (q.seqincrement > 0 AND s.last_value < {saved}"
            " OR q.seqincrement < 0 AND s.last_value > {saved}"
            " OR s.last_value = {saved} AND {called} AND NOT s.is_called)"
        ).format(
            saved=sql.Literal(value.last_value), called=sql.Literal(value.is_called),
            sequence=value.sequence.identifier, oid=value.sequence.oid,
        )  # fmt: skip


def _bare(type: str) -> sql.Composable:
    """A type without its length, which the column itself enforces: a cast would truncate the value."""
    bare = _MODIFIER.sub("", type)
    return sql.SQL("pg_catalog.bpchar" if bare == "character" else bare)


def differs(one: str, other: str) -> bool:
    """Whether two columns' types differ in more than their lengths."""
    return _MODIFIER.sub("", one) != _MODIFIER.sub("", other)
