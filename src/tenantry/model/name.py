"""Names of relations: read as SQL reads them, written as SQL writes them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from psycopg import sql

from tenantry.errors import UsageError

LONGEST = 63
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*\Z")
_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^\s."]+))\s*(\.|\Z)')


def quoted(identifier: str) -> str:
    """`identifier` as SQL text, quoted only if it is not plain lower case."""
    return identifier if _PLAIN.match(identifier) else '"' + identifier.replace('"', '""') + '"'


def split(text: str) -> tuple[str, ...]:
    """The parts of a dotted SQL name; unquoted parts are folded to lower case.

    Raises UsageError if the text is not a name.
    """
    parts, position = [], 0
    while True:
        match = _PART.match(text, position)
        if match is None or match.group(0) == "":
            raise UsageError(f"{text!r} is not a name", remedy='Write schema.table, "Quoted" where SQL requires it.')
        parts.append(match.group(1).replace('""', '"') if match.group(1) else match.group(2).lower())
        position = match.end()
        if match.group(3) == "":
            return tuple(parts)


def shortened(name: str) -> str:
    """`name` cut to PostgreSQL's 63 bytes; a hash of the full name keeps shortened names distinct."""
    return name if len(name.encode()) <= LONGEST else hashed(name)


def hashed(name: str, of: str = "") -> str:
    """`name` followed by a hash of itself, or of the text `of` which it is a part, cut to 63 bytes."""
    digest = hashlib.sha256((of or name).encode()).hexdigest()[:8]
    return name.encode()[: LONGEST - 9].decode(errors="ignore") + "_" + digest


JOURNAL_SCHEMA = "tenantry"
"""The schema of all objects of tenantry's that are not on a table of the user's: journal, functions, backups."""


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """The schema and name of a relation, as stored in the catalog."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def from_item(self, *, only: bool) -> sql.Composed:
        """The relation as an item of FROM; with `only`, without its partitions and inheritance children."""
        return sql.SQL("ONLY {}" if only else "{}").format(self.identifier)

    @property
    def regclass(self) -> sql.Composed:
        """A literal of type regclass, which fails if the relation does not exist."""
        return sql.SQL("{}::pg_catalog.regclass").format(sql.Literal(self.identifier.as_string(None)))

    @property
    def oid(self) -> sql.Composed:
        """An expression for the relation's oid, NULL if it does not exist."""
        return sql.SQL("pg_catalog.to_regclass({})").format(sql.Literal(self.identifier.as_string(None)))

    @classmethod
    def parse(cls, text: str, *, schema: str) -> Name:
        """Read `table` (of `schema`) or `schema.table`. Raises UsageError."""
        parts = split(text)
        if len(parts) > 2:
            raise UsageError(f"{text!r} has more parts than a schema and a table")
        return cls(parts[0], parts[1]) if len(parts) == 2 else cls(schema, parts[0])


def object_name(purpose: str, *parts: str) -> str:
    """The name of an object in the schema tenantry that serves what these parts name, such as a schema and a table:
    lower case and without spaces, so that it needs no quotes. If the parts are not like that, or another division of
    them would give the same name, a hash is added."""
    name = f"{purpose}_{'__'.join(re.sub('[^a-z0-9_]', '_', part.lower()) for part in parts)}"
    clear = all(re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*", part) for part in parts)
    return shortened(name) if clear else hashed(name, repr((purpose, *parts)))


def index_name(table: Name, *columns: str, ending: str) -> Name:
    """The name of an index of tenantry's. Two underscores precede each column, so that group_id of the table user gives
    another name than id of the table user_group; if these occur in a name itself, a hash is added."""
    parts = (table.name, *columns)
    name = f"tenantry_{'__'.join(parts)}_{ending}"
    clear = not any("__" in part or part.startswith("_") or part.endswith("_") for part in parts)
    return Name(table.schema, shortened(name) if clear else hashed(name, repr((parts, ending))))
