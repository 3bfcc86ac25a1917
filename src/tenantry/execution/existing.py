"""Which steps are applied, read from the catalog for many steps at once. Their states: tenantry.planning.diff."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import sql
from pydantic import ValidationError

from tenantry.errors import Refused
from tenantry.model.plan import Phase
from tenantry.planning import Plan, diff
from tenantry.planning.diff import Comparison
from tenantry.postgres.journal import Entry, Journal
from tenantry.postgres.owner_context import reads_catalog_only
from tenantry.steps import Step, from_json
from tenantry.steps.introspection import identifiers, raw

TOGETHER = 50
"""The number of different queries in one statement: few round trips, at a size that the planner can handle."""
MISSING = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)


def definitions(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> dict[str, str | None]:
    """The definition of each step's object in the catalog, by the step's key; None if it does not exist."""
    found: dict[str, str | None] = dict.fromkeys(step.key for step in steps)
    alike = _alike(steps)
    for first in range(0, len(alike), TOGETHER):
        for part in _by_owner_context(connection, alike[first : first + TOGETHER]):
            found |= _definitions_of(connection, part)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alike:
    """Steps whose definitions are one query except for the texts in it, so that it is planned once for all of them: one
    of the steps, the query with columns for its texts, and each step's key and texts."""

    example: Step
    query: str
    steps: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


def _alike(steps: Sequence[Step]) -> list[_Alike]:
    alike: dict[str, _Alike] = {}
    for step in steps:
        query, texts = _with_texts_apart(step)
        alike.setdefault(query, _Alike(example=step, query=query)).steps.append((step.key, texts))
    return list(alike.values())


@lru_cache(maxsize=1 << 16)
def _with_texts_apart(step: Step) -> tuple[str, tuple[str, ...]]:
    """A step's definition with columns of `asked` in place of its texts, and these; all as SQL writes it. Cached,
    because a run needs it many times."""
    texts: list[str] = []

    def parts(query: sql.Composable) -> Iterator[str]:
        if isinstance(query, sql.Composed):
            for part in query:
                yield from parts(part)
        elif isinstance(query, sql.Literal) and isinstance(query._obj, str):
            yield f"asked.text{len(texts)}"
            texts.append(query.as_string(None))
        else:
            yield query.as_string(None)

    return "".join(parts(step.definition())), tuple(texts)


def _by_owner_context(connection: psycopg.Connection[Any], alike: Sequence[_Alike]) -> tuple[Sequence[_Alike], ...]:
    """Those that only query the catalog, and those whose query runs as the owner of the tables that it reads: an owner
    may not even look names up in tenantry's schema, or in those of others."""
    if reads_catalog_only(connection, [one.example.definition() for one in alike]):
        return (alike,)
    alone = [reads_catalog_only(connection, [one.example.definition()]) for one in alike]
    parts = (
        [one for one, reads in zip(alike, alone, strict=True) if reads is catalog_only]
        for catalog_only in (True, False)
    )
    return tuple(filter(None, parts))


def survey(
    connection: psycopg.Connection[Any], plan: Plan, entries: Mapping[str, Entry], *, exact: bool = True
) -> Comparison:
    """Compares plan, journal and catalog. Backfills are checked row by row if `exact`; otherwise the journal counts."""
    orphans = diff.orphaned(plan, entries)
    found = definitions(connection, diff.steps_to_read(plan.steps, entries, orphans, exact=exact))
    return diff.compare(plan.steps, entries, found, orphans)


def in_force(
    connection: psycopg.Connection[Any], steps: Sequence[Step], entries: Mapping[str, Entry]
) -> frozenset[str]:
    """Keys of the steps for which there is nothing to do."""
    found = definitions(connection, diff.steps_to_read(steps, entries, exact=True))
    return diff.compare(steps, entries, found).in_force


def altered(connection: psycopg.Connection[Any], entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """Keys of the applied steps whose objects were changed or dropped since."""
    return diff.altered(entries, definitions(connection, diff.made(entries)))


def _definitions_of(connection: psycopg.Connection[Any], alike: Sequence[_Alike]) -> dict[str, str | None]:
    """The definitions, except for steps whose query refers to objects that do not exist."""
    try:
        return _ask(connection, alike)
    except psycopg.errors.InsufficientPrivilege:
        # Citus checks privileges on what is under pg_roles in a query that also reads a distributed table.
        if len(alike) == 1:
            raise
        return {key: text for one in alike for key, text in _definitions_of(connection, [one]).items()}
    except MISSING:
        parts = list(alike) if len(alike) > 1 else [replace(alike[0], steps=[step]) for step in alike[0].steps]
        if len(parts) == 1:
            return {}
        return {key: text for part in parts for key, text in _definitions_of(connection, [part]).items()}


def _ask(connection: psycopg.Connection[Any], alike: Sequence[_Alike]) -> dict[str, str | None]:
    keys = [key for one in alike for key, _ in one.steps]
    numbers = itertools.count()
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT asked.number, (SELECT found.text FROM ({}) AS found(text) LIMIT 1)::text"
            " FROM (VALUES {}) AS asked ({})"
        ).format(
            raw(one.query),
            sql.SQL(", ").join(raw(f"({', '.join([str(next(numbers)), *texts])})") for _, texts in one.steps),
            identifiers(("number", *(f"text{place}" for place in range(len(one.steps[0][1]))))),
        )
        for one in alike
    )
    return {keys[number]: text for number, text in connection.execute(query)}


def read_entries(journal: Journal) -> dict[str, Entry]:
    """The steps that tenantry has applied. Raises Refused for a row of the journal that is not a valid step."""
    entries = journal.entries()
    for key, entry in entries.items():
        try:
            problem = "" if from_json(entry.value).key == key else "contains another step"
            problem = problem or ("" if isinstance(entry.before, dict) else "has a `before` that is not a JSON object")
            Phase(entry.phase)
        except ValueError as error:
            problem = f"cannot be read: {_first_problem(error)}"
        if problem:
            raise Refused(
                f"The row {key!r} of tenantry.steps {problem}",
                remedy="The journal was changed outside tenantry: restore the row from a dump of the schema tenantry.",
            )
    return entries


def _first_problem(error: ValueError) -> str:
    """One line; pydantic's own message has several."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        if first["type"] == "union_tag_invalid":
            return f"the kind of step {first['ctx']['tag']!r} is unknown"
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    return str(error).splitlines()[0]
