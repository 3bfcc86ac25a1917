"""Tables that were renamed since they were migrated: the journal finds them by their OIDs, and the steps on them are
renamed. PostgreSQL follows a rename everywhere except in the texts of functions: those are created again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.postgres.journal import Entry, Journal
from tenantry.postgres.schema_snapshot import Described, rename_noted
from tenantry.steps import Step, from_json, to_json
from tenantry.steps.introspection import raw
from tenantry.steps.naming import Renamed
from tenantry.steps.renaming import Names, named_in, renamed, same_index, with_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentNames:
    """The journal's `entries` under the present names of tables, each with the key under which it is stored; and the
    objects of tenantry's to be renamed accordingly: `functions`, and `indexes` that have another name in the plan."""

    entries: Mapping[str, Entry]
    stored: Mapping[str, str] = field(default_factory=dict)
    functions: Names = field(default_factory=dict)
    indexes: Names = field(default_factory=dict)
    tables: Mapping[Name, Name | None] = field(default_factory=dict)
    columns: Mapping[tuple[Name, str], str | None] = field(default_factory=dict)
    """The present names of tables, and of columns of these, that have other names in the journal; None if they are
    gone."""


def current_names(entries: Mapping[str, Entry]) -> CurrentNames:
    """The contents of the journal, whatever its tables were called then."""
    names = {}
    for entry in entries.values():
        step = from_json(entry.value)
        if entry.named is not None and entry.named != step.table:
            names[step.table] = entry.named
            # An index follows its table into another schema.
            if step.own_index is not None and entry.named.schema != step.table.schema:
                names[step.own_index] = Name(entry.named.schema, step.own_index.name)
    columns = {
        (entry.named, was): now
        for entry in entries.values() if entry.named is not None
        for was, now in entry.columns.items()
    }  # fmt: skip
    current = (
        _under(CurrentNames(entries=entries), names, columns) if names or columns else CurrentNames(entries=entries)
    )
    gone = {from_json(entry.value).table: None for entry in entries.values() if entry.table_dropped}
    return replace(current, tables={**names, **gone}, columns=columns)


def with_indexes(current: CurrentNames, plan: Sequence[Step]) -> CurrentNames:
    """The same, with the names of indexes that the plan has after the present names of their tables."""
    if not current.stored:
        return current
    planned = [(step, name) for step in plan if (name := step.own_index) and step.key not in current.entries]
    in_plan = {step.key for step in plan}
    steps = (from_json(entry.value) for entry in current.entries.values())
    of_journal = [(step, name) for step in steps if (name := step.own_index) and step.key not in in_plan]
    names = {was: name for step, name in planned for made, was in of_journal if same_index(made, step)}
    return replace(_under(current, names), indexes=names) if names else current


def _under(
    current: CurrentNames, names: Names, columns: Mapping[tuple[Name, str], str | None] = MappingProxyType({})
) -> CurrentNames:
    now_called = Renamed({place: now for place, now in columns.items() if now is not None})
    touched = {table for table, _ in columns}
    entries: dict[str, Entry] = {}
    stored: dict[str, str] = {}
    functions: dict[Name, Name] = dict(current.functions)
    for key, entry in current.entries.items():
        step = from_json(entry.value)
        now = with_columns(renamed(step, names), now_called)
        # In PostgreSQL's text of them, columns have other names by now, or are missing.
        if not touched.isdisjoint(named_in(now)):
            entry = replace(entry, definition=None)
        own = {was: name for (table, was), name in now_called.names.items() if table == now.table}
        before = {name: _recorded(name, value, names, own) for name, value in entry.before.items()}
        if now != step or before != entry.before or entry.definition != current.entries[key].definition:
            was, called = step.trigger_function, now.trigger_function
            if was is not None and called is not None and was != called:
                functions[was] = called
            # The text of a function is unchanged, so another text is wanted by now.
            follows = was is None and entry.wanted == step.wanted
            entry = replace(
                entry, key=now.key, value=to_json(now), wanted=now.wanted if follows else entry.wanted,
                definition=entry.definition if was is not None else _text(entry.definition, names),
                before=before,
            )  # fmt: skip
            stored[now.key] = current.stored.get(key, key)
        elif key in current.stored:
            stored[key] = current.stored[key]
        entries[entry.key] = entry
    return replace(current, entries=entries, stored=stored, functions=functions)


_PART = r'(?:(?:"[^"]*")+|[^\W\d][\w$]*)'
_TOKEN = re.compile(rf"(?:'[^']*')+|{_PART}(?:\.{_PART})?")
"""A string, or a name with or without its schema."""
_NO_COLUMN = ("::", "COLLATE ", "TRIGGER ", "INDEX ", "CONSTRAINT ", "USING ")
"""What stands before a name that is no column's."""
_SQL = ("index", "inside", "constraint", "trigger", "default")
"""What steps record as SQL text. Nothing else is changed: a comment may well contain a table's name."""


def _text(text: Any, names: Names) -> Any:
    """A definition as the catalog writes it: tables with their schema, the index that it creates without. A string or
    a quoted name that looks like a table's stays, since the new name could end it, and the rest of the new name would
    be run as SQL."""
    if not isinstance(text, str):
        return text
    tables = {str(was): str(now) for was, now in names.items()}
    indexes = {quoted(was.name): quoted(now.name) for was, now in names.items()}

    # All at once: two tables may have exchanged their names.
    def now(match: re.Match[str]) -> str:
        created = text.endswith(("INDEX ", "INDEX CONCURRENTLY "), 0, match.start())
        return (indexes if created else tables).get(match[0], match[0])

    return _TOKEN.sub(now, text)


def settle(journal: Journal, current: CurrentNames) -> None:
    """Update the journal, and rename tenantry's objects that are named after a table."""
    if not current.stored:
        return
    with journal.connection.transaction():
        _rename(journal, "FUNCTION", "to_regprocedure", "()", current.functions)
        _rename(journal, "INDEX", "to_regclass", "", current.indexes)
        journal.rename({stored: current.entries[key] for key, stored in current.stored.items()})
        tables = {was: now for was, now in current.tables.items() if now is not None}
        columns = {place: now for place, now in current.columns.items() if now is not None}
        written = _as_catalog_writes(journal, columns.values())
        rename_noted(journal.connection, partial(_described, tables, columns, written))


def _as_catalog_writes(journal: Journal, names: Iterable[str]) -> dict[str, str]:
    query = "SELECT one, pg_catalog.quote_ident(one) FROM pg_catalog.unnest(%s::text[]) AS one"
    return dict(journal.connection.execute(query, [list(names)]).fetchall())


def _recorded(name: str, value: Any, tables: Names, columns: Mapping[str, str]) -> Any:
    """What a step has recorded under this name, with the present names in it."""
    if name == "entries" and value is not None:
        return [one | {"on_column": columns.get(one["on_column"], one["on_column"])} for one in value]
    if name in ("copies", "leaves") and isinstance(value, dict):
        return {_text(partition, tables): one for partition, one in value.items()}
    if name == "parts" and isinstance(value, dict):
        return {_text(place, tables): {key: _recorded(key, one, tables, columns) for key, one in part.items()}
                for place, part in value.items()}  # fmt: skip
    return _columns(_text(value, tables), columns) if name in _SQL else value


def _identifier(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def _described(
    tables: Names, columns: Mapping[tuple[Name, str], str], written: Mapping[str, str], name: str, one: Described
) -> tuple[str, Described]:  # fmt: skip
    """An object of the recorded schema under the present names of tables, and of their columns."""
    relation = _text(one.relation, tables)
    label, definition = _text(name, tables), _text(one.definition, tables)
    own = {was: now for (table, was), now in columns.items() if str(table) == relation}
    if label.startswith(f"column {relation}."):
        column = label.removeprefix(f"column {relation}.")
        label = f"column {relation}.{_columns(column, own, written.__getitem__)}"
    head, reference, rest = definition.partition(" REFERENCES ")
    parent, bracket, rest = rest.partition("(")
    listed, end, rest = rest.partition(")")
    theirs = {was: now for (table, was), now in columns.items() if str(table) == parent}
    head, listed, rest = (
        _columns(text, names, written.__getitem__) for text, names in ((head, own), (listed, theirs), (rest, own))
    )
    definition = "".join((head, reference, parent, bracket, listed, end, rest))
    return label, Described(relation=relation, definition=definition)


def _columns(text: Any, names: Mapping[str, str], write: Callable[[str], str] = _identifier) -> Any:
    """A definition in which columns have other names: in expressions, in a list, and of the rows of a trigger. The
    names of the object itself, of functions, types, and collations stay. `write` quotes a name."""
    if not isinstance(text, str) or not names:
        return text

    def now(match: re.Match[str]) -> str:
        if text.startswith("(", match.end()) or text.endswith(_NO_COLUMN, 0, match.start()):
            return match[0]
        row, dot, column = match[0].rpartition(".")
        name = names.get(column[1:-1].replace('""', '"') if column.startswith('"') else column)
        return match[0] if name is None or row not in ("", "new", "old") else row + dot + write(name)

    return _TOKEN.sub(now, text)


def _rename(journal: Journal, kind: str, lookup: str, arguments: str, names: Names) -> None:
    """Rename those that exist. One may take the name that another one gives up, hence the temporary names."""
    connection, between = journal.connection, dict[Name, Name]()
    for number, (was, now) in enumerate(names.items()):
        there = sql.SQL("SELECT pg_catalog.{}({}) IS NOT NULL").format(
            sql.Identifier(lookup), sql.Literal(was.identifier.as_string(None) + arguments)
        )
        if connection.execute(there).fetchone() == (True,):
            between[Name(was.schema, f"tenantry renames {number}")] = now
            _one(journal, kind, arguments, was, f"tenantry renames {number}")
    for was, now in between.items():
        _one(journal, kind, arguments, was, now.name)


def _one(journal: Journal, kind: str, arguments: str, was: Name, now: str) -> None:
    journal.connection.execute(
        sql.SQL("ALTER {} {}{} RENAME TO {}").format(raw(kind), was.identifier, raw(arguments), sql.Identifier(now))
    )
