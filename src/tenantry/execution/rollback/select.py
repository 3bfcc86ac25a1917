"""The steps that a rollback of some tables reverts: theirs, and those of all tables that derive their tenant from
them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenantry.errors import Refused, UsageError, nearest
from tenantry.model.name import Name
from tenantry.postgres.journal import Entry
from tenantry.steps import Step, from_json
from tenantry.steps.renaming import named_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The entries to be reverted; `tables` are those that are reverted completely, `others` those that are reverted in
    part."""

    entries: tuple[Entry, ...]
    tables: tuple[Name, ...] = ()
    others: tuple[Name, ...] = ()


def select(entries: Iterable[Entry], named: Sequence[str]) -> Selection:
    """All entries, or those of the tables `named` as in SQL, and of what depends on them.

    Raises UsageError for a table without steps, Refused for the tenant table, and for any table once tables are
    distributed by Citus.
    """
    entries = tuple(entries)
    if not named:
        return Selection(entries=entries)
    steps = {entry.key: from_json(entry.value) for entry in entries}
    if any(step.engine for step in steps.values()):
        raise Refused(
            "Tables are distributed by Citus: a table that is not cannot refer to them",
            remedy="Omit --table to roll everything back.",
        )
    roots = {part: step.table for step in steps.values() for part in step.below}
    known = {roots.get(step.table, step.table) for step in steps.values() if step.of_table and not step.of_tables}
    requested = [_resolve(text, known) for text in named]
    _refuse(requested, steps.values(), known, roots)
    tables = _closure({*requested}, _derivations(steps.values(), roots))
    with_partitions = tables | {part for part, root in roots.items() if root in tables}
    chosen = [key for key, step in steps.items() if _is_reverted(step, with_partitions, known | roots.keys())]
    others = {roots.get(steps[key].table, steps[key].table) for key in chosen if not steps[key].of_tables} - tables
    return Selection(
        entries=tuple(entry for entry in entries if entry.key in set(chosen)),
        tables=tuple(sorted(tables)), others=tuple(sorted(others)),
    )  # fmt: skip


def _resolve(text: str, known: Iterable[Name]) -> Name:
    """A table by its name; without a schema, the one of that name that has steps."""
    name = Name.parse(text, schema="")
    same = sorted(one for one in known if one.name == name.name)
    return name if name.schema else (same[0] if len(same) == 1 else Name("public", name.name))


def _refuse(requested: Sequence[Name], steps: Iterable[Step], known: set[Name], roots: Mapping[Name, Name]) -> None:
    tenants = {step.tenant_table for step in steps}
    for name in requested:
        if name in tenants:
            raise Refused(
                f"{name} is the tenant table, which all owned tables need: it cannot be rolled back by itself",
                remedy="Omit --table to roll everything back.",
            )
        if name in roots:
            raise UsageError(f"{name} is a part of {roots[name]}", remedy=f"Use --table {roots[name]}.")
        if name not in known:
            hint = nearest(str(name), map(str, known))
            raise UsageError(f"{name} has no step of tenantry{hint}", remedy="`tenantry status` lists the tables.")


def _derivations(steps: Iterable[Step], roots: Mapping[Name, Name]) -> Mapping[Name, set[Name]]:
    """By table, the tables from which the tenants of its rows are derived."""
    found: dict[Name, set[Name]] = {}
    for step in steps:
        for relation, sources in step.derives:
            found.setdefault(roots.get(relation, relation), set()).update(named_in(sources))
    return {table: {roots.get(name, name) for name in names} - {table} for table, names in found.items()}


def _closure(tables: set[Name], derivations: Mapping[Name, set[Name]]) -> set[Name]:
    while True:
        # A table that has no tenant of its own, such as a shared one, gives none.
        more = {table for table, sources in derivations.items() if not tables.isdisjoint(sources & derivations.keys())}
        if more <= tables:
            return tables
        tables = tables | more


def _is_reverted(step: Step, tables: set[Name], known: set[Name]) -> bool:
    """Whether a step is reverted with these tables: it is on one of them, or names one. Privileges of the application
    on a sequence stay while another table of those `known` is filled from it."""
    if not step.of_table:
        return False
    if users := step.of_tables:
        return tables.issuperset(known.intersection(users))
    return step.table in tables or not tables.isdisjoint(named_in(step))
