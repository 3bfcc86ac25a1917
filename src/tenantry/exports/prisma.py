"""Prisma: schema.prisma, as `prisma db pull` would write it, with the composite keys beside the user's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tenantry.exports.context import (
    DEFAULT_SCHEMA,
    ExportContext,
    Files,
    Type,
    class_names,
    distinct,
    identifiers,
    numbered,
    plain_uniques,
)
from tenantry.exports.definition import read_definition
from tenantry.model.name import Name
from tenantry.model.schema import Column, ForeignKey, Table

HEADER = """\
// The tables as they are after the migration: `tenantry export prisma`. Row-level security, triggers, checks, and
// indexes over expressions or some rows are not part of it: Prisma cannot express them. Before Prisma 7 the datasource
// also needs a line `url = env("DATABASE_URL")`.
generator client {{
  provider = "prisma-client-js"
}}

datasource db {{
  provider = "postgresql"
{datasource}}}
"""
TYPES = {
    "smallint": ("Int", "SmallInt"), "integer": ("Int", ""), "bigint": ("BigInt", ""), "text": ("String", ""),
    "character varying": ("String", "VarChar"), "character": ("String", "Char"), "boolean": ("Boolean", ""),
    "numeric": ("Decimal", "Decimal"), "real": ("Float", "Real"), "double precision": ("Float", ""),
    "date": ("DateTime", "Date"), "time without time zone": ("DateTime", "Time"),
    "time with time zone": ("DateTime", "Timetz"), "timestamp without time zone": ("DateTime", "Timestamp"),
    "timestamp with time zone": ("DateTime", "Timestamptz"), "uuid": ("String", "Uuid"), "jsonb": ("Json", ""),
    "json": ("Json", "Json"), "bytea": ("Bytes", ""), "inet": ("String", "Inet"), "xml": ("String", "Xml"),
}  # fmt: skip
TIMES = {"Time", "Timetz", "Timestamp", "Timestamptz"}
"""The types for which Prisma's default precision is milliseconds; PostgreSQL has microseconds."""
ACTIONS = {"a": "NoAction", "r": "Restrict", "c": "Cascade", "n": "SetNull", "d": "SetDefault"}
METHODS = {"hash": "Hash", "gist": "Gist", "gin": "Gin", "spgist": "SpGist", "brin": "Brin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A foreign key, from the side of its own table (`owner`), or of its parent."""

    key: ForeignKey
    child: Name
    owner: bool
    field: str


def prisma_files(context: ExportContext) -> Files:
    """schema.prisma."""
    writer = _Writer(context)
    several = context.schemas not in ((DEFAULT_SCHEMA,), ())
    datasource = f"  schemas  = {json.dumps(list(context.schemas), ensure_ascii=False)}\n" if several else ""
    models = (writer.model(table, several) for table in context.tables)
    return {"schema.prisma": "\n".join((HEADER.format(datasource=datasource), *models))}


@dataclass(frozen=True)
class _Writer:
    context: ExportContext

    @cached_property
    def _classes(self) -> dict[Name, str]:
        return class_names(self.context.tables, ())

    @cached_property
    def _fields(self) -> dict[Name, dict[str, str]]:
        found = {}
        for table in self.context.tables:
            columns = [column.name for column in table.columns]
            found[table.name] = dict(zip(columns, identifiers(columns, ()), strict=True))
        return found

    @cached_property
    def _relations(self) -> dict[Name, list[Relation]]:
        """Both ends of each foreign key, with names that no other field of the model has."""
        ends: dict[Name, list[tuple[str, ForeignKey, Name, bool]]] = {table.name: [] for table in self.context.tables}
        for table in self.context.tables:
            for key in self.context.keys(table):
                name = self._fields[table.name][key.columns[-1]].removesuffix("_id")
                ends[table.name].append((name, key, table.name, True))
                ends[key.parent].append((self._classes[table.name].lower(), key, table.name, False))
        found = {}
        for owner, ones in ends.items():
            names = distinct((name for name, *_ in ones), set(self._fields[owner].values()))
            found[owner] = [
                Relation(key=key, child=child, owner=own, field=name)
                for name, (_, key, child, own) in zip(names, ones, strict=True)
            ]
        return found

    def model(self, table: Table, several: bool) -> str:
        fields = self._fields[table.name]
        lines = [f"  {fields[column.name]} {self._column(table, column)}" for column in table.columns]
        lines += [f"  {relation.field} {self._relation(table, relation)}" for relation in self._relations[table.name]]
        lines += [f"  {attribute}" for attribute in self._attributes(table)]
        if self._classes[table.name] != table.name.name:
            lines.append(f"  @@map({_quoted(table.name.name)})")
        if several:
            lines.append(f"  @@schema({_quoted(table.name.schema)})")
        if not table.primary_key and not plain_uniques(table):
            lines.append("  @@ignore")
        return "\n".join((f"model {self._classes[table.name]} {{", *lines, "}", ""))

    def _column(self, table: Table, column: Column) -> str:
        type = Type.of(column)
        name, native = TYPES.get(type.name, ("", ""))
        unsupported = not name
        name = name or f"Unsupported({_quoted(type.text)})"
        array = type.array and not unsupported
        words = [name + ("[]" if array else "" if column.not_null else "?")]
        if table.primary_key == (column.name,):
            words.append("@id")
        words += [
            f"@unique(map: {_quoted(unique.name)})"
            for unique in plain_uniques(table)
            if unique.columns == (column.name,)
        ]
        words += _default(column)
        if native:
            arguments = type.arguments or ((6,) if native in TIMES else ())
            words.append(f"@db.{native}" + (f"({', '.join(map(str, arguments))})" if arguments else ""))
        if self._fields[table.name][column.name] != column.name:
            words.append(f"@map({_quoted(column.name)})")
        return " ".join(words)

    def _relation(self, table: Table, relation: Relation) -> str:
        key, name = relation.key, _quoted(f"{relation.child.name}.{relation.key.name}")
        if not relation.owner:
            return f"{self._classes[relation.child]}[] @relation({name})"
        required = all((column := table.column(one)) is not None and column.not_null for one in key.columns)
        own, parent = self._fields[table.name], self._fields[key.parent]
        return (
            f"{self._classes[key.parent]}{'' if required else '?'} @relation({name},"
            f" fields: [{', '.join(own[one] for one in key.columns)}],"
            f" references: [{', '.join(parent[one] for one in key.parent_columns)}],"
            f" onDelete: {ACTIONS[key.on_delete]}, onUpdate: {ACTIONS[key.on_update]}, map: {_quoted(key.name)})"
        )

    def _attributes(self, table: Table) -> Iterator[str]:
        fields = self._fields[table.name]
        if len(table.primary_key) > 1:
            yield f"@@id([{', '.join(fields[one] for one in table.primary_key)}])"
        for unique in plain_uniques(table):
            if len(unique.columns) > 1:
                names = ", ".join(fields[one] for one in unique.columns)
                yield f"@@unique([{names}], map: {_quoted(unique.name)})"
        for index in table.indexes:
            definition = read_definition(index.rest, index.columns)
            if not index.valid or index.partial or definition is None or definition.include:
                continue
            descending = [key.text.endswith(" DESC") for key in definition.keys]
            plain = [not key.expression or down for key, down in zip(definition.keys, descending, strict=True)]
            if not all(plain) or None in index.columns:
                continue
            names = ", ".join(
                fields[column] + ("(sort: Desc)" if down else "")
                for column, down in zip(index.columns, descending, strict=True)
                if column is not None
            )
            method = f", type: {METHODS[index.method]}" if index.method in METHODS else ""
            yield f"@@index([{names}], map: {_quoted(index.name)}{method})"


def _default(column: Column) -> Iterator[str]:
    if numbered(column):
        yield "@default(autoincrement())"
    elif column.default in ("true", "false"):
        yield f"@default({column.default})"
    elif column.default in ("now()", "CURRENT_TIMESTAMP"):
        yield "@default(now())"
    elif column.default is not None:
        yield f"@default(dbgenerated({_quoted(column.default)}))"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
