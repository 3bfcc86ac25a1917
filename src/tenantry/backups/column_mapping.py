"""How the columns of a table in a backup map to the table as it is now: columns and keys may have changed since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from tenantry.backups.content import source
from tenantry.backups.restore import RestoredTable, differs
from tenantry.errors import Refused
from tenantry.model.backup import CopiedColumn, TableCopy
from tenantry.model.name import Name
from tenantry.model.schema import ForeignKey, Schema, Table
from tenantry.steps import Step
from tenantry.steps.derivation import ByPath

NO_ACTION = "a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """`copy` with the columns that it shares with the table; `target` restores them. `left_out` is shown to the
    user."""

    target: RestoredTable
    copy: TableCopy
    left_out: tuple[str, ...] = ()


def fit(schema: Schema, copy: TableCopy, relation: sql.Composable, *, force: bool) -> Fit | str:
    """How the rows of the backup, in `relation`, are restored; or why there is nothing to restore.

    Raises Refused if the table or one of its columns is gone; with `force` such a column is left out.
    """
    table = schema.tables.get(copy.table)
    if table is None:
        if copy.ours:
            return f"{copy.table}: tenantry made it, and the rollback dropped it"
        raise Refused(
            f"The table {copy.table} no longer exists",
            remedy=f"Create it as it was, or restore other tables with --table; its rows are in {_place(copy)}.",
        )
    present = source(schema, copy.table, managed={}, created=frozenset())
    there = {column.name: column for column in table.columns if not column.generated}
    lost = [column.name for column in copy.columns if column.name not in there and not column.ours]
    if lost and not force:
        raise Refused(
            f"{copy.table} has lost columns since the backup: {', '.join(lost)}",
            remedy="Add them again, or restore the other columns with --force.",
        )
    left_out = [column.name for column in copy.columns if column.name not in there]
    shared = [column for column in copy.columns if column.name in there]
    columns = tuple(CopiedColumn(name=column.name, type=there[column.name].type) for column in shared)
    casts = tuple(
        column.name for column in shared
        if there[column.name].domain or differs(column.type, there[column.name].base_type)
    )  # fmt: skip
    key = _key(table, {column.name for column in columns})
    replaced = _replaced(schema, table, columns, key) if key else ()
    settled = {*key, *replaced}
    target = RestoredTable(
        table=copy.table, source=relation, only=present.leaves == (copy.table,), columns=columns, casts=casts, key=key,
        replaced=replaced,
        generated=tuple(c.name for c in columns if key and there[c.name].identity == "a" and c.name not in settled),
    )  # fmt: skip
    return Fit(
        target=target, copy=copy,
        left_out=(f"{copy.table}: its column {', '.join(left_out)}, which no longer exists",) if left_out else (),
    )  # fmt: skip


def _place(copy: TableCopy) -> str:
    return f"tenantry.{copy.copy}" if copy.copy else "the dump"


def _key(table: Table, columns: set[str]) -> tuple[str, ...]:
    """Columns that identify a row, now and in the backup; empty if there are none."""
    never_null = {column.name for column in table.columns if column.not_null}
    if table.primary_key and columns >= set(table.primary_key):
        return table.primary_key
    for unique in table.uniques:
        whole = unique.valid and not (unique.partial or unique.exclusion) and bool(unique.columns)
        if whole and columns & never_null >= set(unique.columns):
            return unique.columns
    return ()


def _replaced(
    schema: Schema, table: Table, columns: Sequence[CopiedColumn], key: tuple[str, ...]
) -> tuple[str, ...]:  # fmt: skip
    """Columns whose change requires that a row is deleted and inserted: those of a further unique constraint that is
    checked row by row, and an identity that is GENERATED ALWAYS. Empty if a foreign key would act on the deletion."""
    if any(reference.on_delete != NO_ACTION for _, reference in _references(schema, table.name)):
        return ()
    wanted = {name for unique in table.uniques if not unique.deferrable for name in unique.columns}
    wanted |= {column.name for column in table.columns if column.identity == "a"}
    return tuple(column.name for column in columns if column.name in wanted - set(key))


def _references(schema: Schema, parent: Name) -> Iterator[tuple[Name, ForeignKey]]:
    for name, table in schema.tables.items():
        yield from ((name, key) for key in table.foreign_keys if key.parent == parent)


def parents_first(schema: Schema, fits: Iterable[Fit], steps: Iterable[Step]) -> tuple[Fit, ...]:
    """The order in which rows are restored: the trigger of a row whose parent changes, too, may read the parent's
    tenant, and must find the restored one. If tables refer to each other in a circle, the order does not matter."""
    known = {one.target.table: one for one in fits}
    above = {name: {key.parent for key in schema.tables[name].foreign_keys} for name in known}
    for step in steps:
        # What a trigger reads when a row is written; a fill reads nothing then.
        for relation, sources in step.derives if step.filling is None else ():
            paths = [source for source in sources if isinstance(source, ByPath)] if relation in above else []
            above.get(relation, set()).update(hop.parent for path in paths for hop in path.hops)
    ordered: dict[Name, Fit] = {}

    def visit(name: Name, below: frozenset[Name]) -> None:
        if name in known and name not in ordered and name not in below:
            for parent in sorted(above[name]):
                visit(parent, below | {name})
            ordered[name] = known[name]

    for name in sorted(known):
        visit(name, frozenset())
    return tuple(ordered.values())


def reached(schema: Schema, tables: Iterable[Name]) -> tuple[Name, ...]:
    """Other tables whose rows a foreign key would delete or change when rows of these are deleted or changed."""
    chosen = set(tables)
    found: set[Name] = set()
    waiting = list(chosen)
    while waiting:
        parent = waiting.pop()
        for child, reference in _references(schema, parent):
            if child not in chosen | found and not {reference.on_delete, reference.on_update} <= {NO_ACTION, "r"}:
                found.add(child)
                waiting.append(child)
    return tuple(sorted(name for name in found if schema.tables[name].partition_of is None))
