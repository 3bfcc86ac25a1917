"""The input of an export, and the names of database objects in a program."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from tenantry.model.name import Name
from tenantry.model.ownership import Ownership
from tenantry.model.schema import Column, ForeignKey, Kind, Schema, Table, Unique

Files = Mapping[str, str]
"""The text of each file, by its path."""

DEFAULT_SCHEMA = "public"
OURS = "tenantry_"
WORDS = re.compile(r"[^0-9A-Za-z]+")


class Orm(StrEnum):
    """The ORM for which an export is."""

    DJANGO = "django"
    ALEMBIC = "alembic"
    SQLALCHEMY = "sqlalchemy"
    PRISMA = "prisma"


@dataclass(frozen=True, kw_only=True)
class ExportContext:
    """`original` is the original schema, `live` the present one, with tenantry's objects. `app`: Django's label of the
    application. `after`: the revision or migration that the new one follows."""

    original: Schema
    live: Schema
    ownership: Ownership
    app: str = "tenants"
    after: str | None = None

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables that have a model: those of the user's schemas, without partitions."""
        return _modelled(self.live)

    @cached_property
    def original_tables(self) -> Mapping[Name, Table]:
        """The same tables in the original schema."""
        return {table.name: table for table in _modelled(self.original)}

    @cached_property
    def schemas(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(table.name.schema for table in self.tables))

    def tenant_column(self, table: Name) -> str | None:
        """The column that names a row's tenant; None for a shared table."""
        owned = self.ownership.of(table)
        return owned.column if owned is not None else None

    def modelled(self, table: Name) -> bool:
        return any(one.name == table for one in self.tables)

    def keys(self, table: Table) -> tuple[ForeignKey, ...]:
        """The foreign keys between tables that have models, only those that the database declares."""
        return tuple(key for key in table.foreign_keys if key.declared and self.modelled(key.parent))


def _modelled(schema: Schema) -> tuple[Table, ...]:
    kinds = (Kind.TABLE, Kind.PARTITIONED)
    return tuple(
        table
        for _, table in sorted(schema.tables.items())
        if table.kind in kinds and table.partition_of is None and not table.name.name.startswith(OURS)
    )


def primary_key(table: Table) -> tuple[str, ...]:
    """The primary key's columns; if there is none, those of a unique constraint that are never NULL."""
    if table.primary_key:
        return table.primary_key
    never_null = {column.name for column in table.columns if column.not_null}
    original = (unique.columns for unique in plain_uniques(table) if never_null.issuperset(unique.columns))
    return next(original, ())


def plain_uniques(table: Table) -> tuple[Unique, ...]:
    """The unique keys over plain columns and all rows, except for the primary key."""
    return tuple(
        unique
        for unique in table.uniques
        if unique.columns and unique.valid and not (unique.primary or unique.partial or unique.exclusion)
    )


def numbered(column: Column) -> bool:
    """Whether the database numbers the column: an identity, or a sequence."""
    return bool(column.identity) or (column.default or "").startswith("nextval(")


def class_names(tables: Iterable[Table], reserved: Collection[str]) -> dict[Name, str]:
    """A class for each table: its name in CamelCase, with that of its schema if that is not public."""

    def name(table: Table) -> str:
        schema = "" if table.name.schema == DEFAULT_SCHEMA else f"{table.name.schema} "
        words = WORDS.split(_ascii(schema + table.name.name))
        text = "".join(word[:1].upper() + word[1:] for word in words)
        return text if text[:1].isalpha() else f"Table{text}"

    return dict(zip((table.name for table in tables), distinct(map(name, tables), reserved), strict=True))


def identifiers(names: Iterable[str], reserved: Collection[str]) -> list[str]:
    """Names of attributes, all different from each other and from `reserved`."""
    return distinct(map(_identifier, names), reserved)


def _identifier(name: str) -> str:
    text = "_".join(filter(None, WORDS.split(_ascii(name))))
    text = text if text[:1].isalpha() else f"column_{text}".rstrip("_")
    return f"{text}_column" if keyword.iskeyword(text) else text


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def distinct(names: Iterable[str], reserved: Collection[str]) -> list[str]:
    """Each name, with a number added if it is reserved or already used."""
    taken, original = set(reserved), []
    for name in names:
        number, chosen = 1, name
        while chosen in taken:
            number += 1
            chosen = f"{name}{number}"
        taken.add(chosen)
        original.append(chosen)
    return original


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type as format_type writes it, split into its parts: `numeric(12,3)[]` is `numeric`, (12, 3), an array."""

    text: str
    name: str
    arguments: tuple[int, ...] = ()
    array: bool = False

    @classmethod
    def of(cls, column: Column) -> Type:
        """With domains replaced by their base types."""
        text = column.base_type
        element = text.removesuffix("[]")
        match = re.fullmatch(r"([a-z ]+?)(?:\((\d+(?:,\d+)*)\))?( with(?:out)? time zone)?", element)
        if match is None:
            return cls(text=text, name=element, array=text != element)
        arguments = tuple(map(int, match[2].split(","))) if match[2] else ()
        return cls(text=text, name=match[1] + (match[3] or ""), arguments=arguments, array=text != element)


Writer = Callable[[ExportContext], Files]
