"""The contents of a table: which of its columns are copied, and a checksum that tables with the same rows share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from tenantry.errors import UsageError, nearest
from tenantry.model.backup import CopiedColumn, TableCopy
from tenantry.model.name import Name
from tenantry.model.schema import Kind, Schema


def source(schema: Schema, name: Name, *, managed: Mapping[Name, str], created: frozenset[Name]) -> TableCopy:
    """The contents of a backup of the table as it is now, without the number of rows and the checksum, which are yet to
    be read.

    `managed` has the tenant column that tenantry added to each table, `created` the tables that it created. Raises
    UsageError if the name is not that of a table, or is that of a partition.
    """
    table = schema.tables.get(name)
    if table is None or table.kind is Kind.FOREIGN:
        raise UsageError(f"the table {name} does not exist{nearest(str(name), map(str, schema.tables))}")
    if table.partition_of is not None:
        whole = schema.topmost(name)
        raise UsageError(f"{name} is a partition", remedy=f"Use the partitioned table: {whole}.")
    leaves = tuple(part.name for part in schema.tree(name) if part.kind is not Kind.PARTITIONED)
    columns = tuple(
        CopiedColumn(name=column.name, type=column.base_type, ours=managed.get(name) == column.name)
        for column in table.columns
        if not column.generated
    )
    return TableCopy(table=name, columns=columns, leaves=leaves, ours=name in created)


def rows_of(table: TableCopy) -> sql.Composable:
    """The table as FROM names it: with its partitions, without its inheritance children, which are copied
    separately."""
    return table.table.from_item(only=table.leaves == (table.table,))


def selected(columns: Sequence[CopiedColumn]) -> sql.Composable:
    """The columns in their base types, so that a later change of a domain is not affected by a backup."""
    return sql.SQL(", ").join(
        sql.SQL("{}::{} AS {}").format(sql.Identifier("t", column.name), sql.SQL(column.type),
                                       sql.Identifier(column.name))
        for column in columns
    )  # fmt: skip


def row_text(alias: str, columns: Sequence[CopiedColumn]) -> sql.Composable:
    """A row as one text that equal rows share. A bytea is replaced by its hash: its text could exceed one gigabyte."""
    values = [
        (sql.SQL("pg_catalog.md5({})") if column.type == "bytea" else sql.SQL("{}")).format(
            sql.Identifier(alias, column.name)
        )
        for column in columns
    ]
    return sql.SQL("ROW({})::text").format(sql.SQL(", ").join(values))


def checksum(relation: sql.Composable, columns: Sequence[CopiedColumn]) -> sql.Composed:
    """A query of the number of rows and of their checksum, which does not depend on their order; it takes one scan.

    To be run in a transaction with postgres.backups.steady.
    """
    return sql.SQL(
        "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(pg_catalog.hashtextextended({}, 0)), 0)::text FROM {} AS t"
    ).format(row_text("t", columns), relation)
