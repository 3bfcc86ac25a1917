"""SQLAlchemy 2: declarative models of all tables, with all keys and indexes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from tenantry.exports.context import (
    DEFAULT_SCHEMA,
    ExportContext,
    Files,
    Type,
    class_names,
    identifiers,
    numbered,
    plain_uniques,
    primary_key,
)
from tenantry.exports.definition import read_definition
from tenantry.model.name import Name
from tenantry.model.schema import Column, ForeignKey, Index, Table, Unique

HEADER = '''\
"""The tables as they are after the migration: `tenantry export sqlalchemy`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import UserDefinedType


class Base(DeclarativeBase):
    pass


class Other(UserDefinedType[Any]):
    """A type of the database that SQLAlchemy has no class for."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **options: Any) -> str:
        return self.name
'''
TYPES = {
    "smallint": "sa.SmallInteger()", "integer": "sa.Integer()", "bigint": "sa.BigInteger()", "text": "sa.Text()",
    "boolean": "sa.Boolean()", "real": "sa.REAL()", "double precision": "sa.Double()", "date": "sa.Date()",
    "uuid": "sa.Uuid()", "json": "sa.JSON()", "jsonb": "postgresql.JSONB()", "bytea": "sa.LargeBinary()",
    "interval": "postgresql.INTERVAL()", "inet": "postgresql.INET()", "cidr": "postgresql.CIDR()",
    "macaddr": "postgresql.MACADDR()", "tsvector": "postgresql.TSVECTOR()", "bit": "postgresql.BIT({})",
    "numeric": "sa.Numeric({})", "character varying": "sa.String({})", "character": "sa.CHAR({})",
    "time without time zone": "postgresql.TIME({})", "timestamp without time zone": "postgresql.TIMESTAMP({})",
    "time with time zone": "postgresql.TIME(timezone=True, precision={})",
    "timestamp with time zone": "postgresql.TIMESTAMP(timezone=True, precision={})",
}  # fmt: skip
PRECISE = ("interval", "time without time zone", "timestamp without time zone")
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)")
RESERVED = {"metadata", "registry", "query"}
ACTIONS = {"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def sqlalchemy_files(context: ExportContext) -> Files:
    """models.py."""
    classes = class_names(context.tables, {"Base", "Other", "Any", "Mapped", "DeclarativeBase", "UserDefinedType"})
    models = (_model(context, table, classes[table.name]) for table in context.tables)
    return {"models.py": "\n\n".join((HEADER, *models))}


def _model(context: ExportContext, table: Table, name: str) -> str:
    attributes = identifiers((column.name for column in table.columns), RESERVED)
    columns = [", ".join(_column(table, column)) for column in table.columns]
    arguments = list(_arguments(context, table))
    options = {} if table.name.schema == DEFAULT_SCHEMA else {"schema": table.name.schema}
    options |= {"comment": table.comment} if table.comment is not None else {}
    if not (key := primary_key(table)):
        # A mapped class needs a key.
        parts = [*(f"sa.Column({column})" for column in columns), *arguments]
        parts += [f"{option}={value!r}" for option, value in options.items()]
        return f"{name} = sa.Table(\n    {table.name.name!r}, Base.metadata,\n    {f',{chr(10)}    '.join(parts)},\n)\n"
    lines = [f"__tablename__ = {table.name.name!r}"]
    arguments += [repr(options)] if options else []
    if arguments:
        lines += ["__table_args__ = (", *(f"    {argument}," for argument in arguments), ")"]
    if not table.primary_key:
        found = dict(zip((column.name for column in table.columns), attributes, strict=True))
        lines.append(f"__mapper_args__ = {{'primary_key': {[found[column] for column in key]!r}}}")
    for attribute, column in zip(attributes, columns, strict=True):
        lines.append(f"{attribute}: Mapped[Any] = mapped_column({column})")
    return f"class {name}(Base):\n" + textwrap.indent("\n".join(lines), "    ") + "\n"


def _column(table: Table, column: Column) -> Iterator[str]:
    yield repr(column.name)
    yield _type(column)
    if column.generated:
        yield f"sa.Computed({column.default!r}, persisted={column.generated == 's'})"
    elif column.identity:
        yield f"sa.Identity(always={column.identity == 'a'})"
    if column.name in table.primary_key:
        yield "primary_key=True"
        if not numbered(column):
            yield "autoincrement=False"
    else:
        yield f"nullable={not column.not_null}"
    if column.comment is not None:
        yield f"comment={column.comment!r}"
    # SQLAlchemy makes an integer primary key a serial one by default.
    serial = table.primary_key == (column.name,) and numbered(column)
    if column.default is not None and not column.generated and not serial:
        yield f"server_default={_text(column.default)}"


def _text(code: str) -> str:
    """SQL as text(), in which a colon before a word would mark a parameter."""
    escaped = _PARAMETER.sub(r"\\:", code)
    return f"sa.text({escaped!r})"


def _type(column: Column) -> str:
    type = Type.of(column)
    form = TYPES.get(type.name)
    if form is None or (type.arguments and "{" not in form and type.name not in PRECISE):
        element = f"Other({type.name!r})"
        return f"postgresql.ARRAY({element})" if type.array else f"Other({type.text!r})"
    arguments = ", ".join(map(str, type.arguments))
    if type.name in PRECISE and arguments:
        form = form.replace("()", "(precision={})").replace("({})", "(precision={})")
    if not arguments:
        form = form.replace(", precision={}", "")
    found = form.format(arguments)
    return f"postgresql.ARRAY({found})" if type.array else found


def _arguments(context: ExportContext, table: Table) -> Iterator[str]:
    for key in context.keys(table):
        yield _foreign_key(key)
    for unique in plain_uniques(table):
        if unique.constraint:
            timing = ", deferrable=True" if unique.deferrable else ""
            nulls = ", postgresql_nulls_not_distinct=True" if "NULLS NOT DISTINCT" in unique.rest else ""
            yield f"sa.UniqueConstraint({_list(unique.columns)}, name={unique.name!r}{timing}{nulls})"
    for unique in table.uniques:
        if unique.valid and not (unique.constraint or unique.exclusion):
            yield from _index(unique, unique.columns, "btree")
    for index in table.indexes:
        if index.valid:
            yield from _index(index, index.columns, index.method)


def _foreign_key(key: ForeignKey) -> str:
    parts = [f"{list(key.columns)!r}", f"{[f'{_table(key.parent)}.{column}' for column in key.parent_columns]!r}"]
    parts.append(f"name={key.name!r}")
    if key.on_delete in ACTIONS:
        columns = f" ({', '.join(key.delete_columns)})" if key.delete_columns else ""
        parts.append(f"ondelete={ACTIONS[key.on_delete] + columns!r}")
    if key.on_update in ACTIONS:
        parts.append(f"onupdate={ACTIONS[key.on_update]!r}")
    if key.deferrable:
        parts.append(f"deferrable=True, initially={'DEFERRED' if key.deferred else 'IMMEDIATE'!r}")
    if key.match == "f":
        parts.append("match='FULL'")
    return f"sa.ForeignKeyConstraint({', '.join(parts)})"


def _table(name: Name) -> str:
    return name.name if name.schema == DEFAULT_SCHEMA else f"{name.schema}.{name.name}"


def _index(index: Index | Unique, columns: tuple[str | None, ...], method: str) -> Iterator[str]:
    definition = read_definition(index.rest, columns)
    if definition is None:
        return
    keys = [_text(key.text) if key.expression else repr(key.text) for key in definition.keys]
    options = [f"unique={isinstance(index, Unique)}"]
    if method != "btree":
        options.append(f"postgresql_using={method!r}")
    if definition.include:
        options.append(f"postgresql_include={list(definition.include)!r}")
    if definition.where is not None:
        options.append(f"postgresql_where={_text(definition.where)}")
    if definition.nulls_not_distinct:
        options.append("postgresql_nulls_not_distinct=True")
    yield f"sa.Index({', '.join((repr(index.name), *keys, *options))})"


def _list(values: tuple[str, ...]) -> str:
    return ", ".join(map(repr, values))
