"""What the application role executes by reading and writing its tables: functions of defaults, checks, index
expressions, policies, views and triggers, which run with its privileges, and what their texts refer to."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenantry.errors import UsageError
from tenantry.model.name import Name
from tenantry.model.schema import Executed, Schema
from tenantry.planning.context import PlanContext

_SEQUENCE = re.compile(r"\b(?:nextval|currval)\s*\(\s*'((?:[^']|'')+)'", re.IGNORECASE)
_QUALIFIED = re.compile(r'(?:"((?:[^"]|"")+)"|(?<![\w$."])([^\W\d][\w$]*))\s*\.\s*["\w]')
_RELATION = re.compile(
    r"\b(insert\s+into|update|delete\s+from|merge\s+into|from|join)\s+(?:only\s+)?"
    r'((?:"(?:[^"]|"")+"|[^\W\d][\w$]*)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[^\W\d][\w$]*))?)',
    re.IGNORECASE,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def executed(context: PlanContext, views: Iterator[Name]) -> Iterator[tuple[Name, Executed]]:
    """The functions, with the table that tenants write, or the view, by which each runs."""
    tables = [table for unit in context.units() for table in unit.all]
    tables += [table for name in sorted(context.ownership.written) for table in context.schema.tree(name)]
    tables += [table for member in context.ownership.members for table in context.family(member.table)]
    for table in tables:
        for one in table.executes:
            yield table.name, one
    for name in views:
        for one in context.schema.views[name].executes:
            yield name, one


def sequences_named(schema: Schema, one: Executed) -> Iterator[Name]:
    """The sequences that a function's text uses, as far as it names them."""
    for text in _SEQUENCE.findall(_COMMENT.sub("", one.source)):
        yield from _resolve(text.replace("''", "'"), schema, schema.sequences)


def schemas_named(schema: Schema, one: Executed) -> Iterator[str]:
    """The schemas in which a function's text looks up names, if the user has objects there."""
    known = {name.schema for name in (*schema.sequences, *schema.tables, *schema.views)}
    known |= {function.name.schema for function in schema.functions}
    for quoted, word in _QUALIFIED.findall(_COMMENT.sub("", one.source)):
        name = quoted.replace('""', '"') or word.lower()
        if name in known:
            yield name


def relations_named(schema: Schema, one: Executed) -> Iterator[tuple[str, Name]]:
    """The tables and views after a keyword in a function's text, with the privilege that this needs."""
    known = {*schema.tables, *schema.views}
    for words, text in _RELATION.findall(_COMMENT.sub("", one.source)):
        keyword = words.split()[0].upper()
        for name in _resolve(text, schema, known):
            yield keyword if keyword in ("INSERT", "UPDATE", "DELETE") else "SELECT", name


def _resolve(text: str, schema: Schema, known: frozenset[Name] | set[Name]) -> Iterator[Name]:
    """The object that a name in a text refers to, by the user's search_path."""
    try:
        name = Name.parse(text, schema="")
    except (UsageError, ValueError):
        return
    paths = (name.schema,) if name.schema else schema.search_path
    yield from [found for path in paths if (found := Name(path, name.name)) in known][:1]
