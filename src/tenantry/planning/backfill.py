"""Backfill: the tenant of every existing row, in order of derivation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tenantry.model.name import index_name
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.model.schema import Table
from tenantry.planning.context import PlanContext
from tenantry.planning.expand import constant
from tenantry.steps import Backfill, RelationFill, Step, TenantIndex
from tenantry.steps.derivation import BySlug, Source

Purpose = Literal["fill", "default", "sweep", "rest"]


def backfill_steps(context: PlanContext) -> Iterator[Step]:
    yield from _child_indexes(context)
    for component in context.ownership.components:
        unfilled = tuple(owned for owned in component if constant(context, owned) is None)
        yield from fill_steps(context, unfilled, Phase.BACKFILL, "fill")
        yield from default_steps(context, unfilled, Phase.BACKFILL)


def fill_steps(context: PlanContext, component: tuple[Owned, ...], phase: Phase, purpose: Purpose) -> Iterator[Step]:
    """One backfill for tables that derive from each other, by their sources."""
    fills = [fill for owned in component for fill in _fills(context, owned, context.sources(owned), phase)]
    if fills:
        complete = tuple(
            (relation.name, owned.column)
            for owned in component
            if not owned.mixed and context.fallback(owned) is None
            if not owned.late or phase is Phase.CONTRACT
            for unit in context.units_of(owned)
            for relation in unit.relations
        )
        yield Backfill(phase=phase, table=component[0].table, purpose=purpose, fills=tuple(fills), complete=complete)


def default_steps(context: PlanContext, component: tuple[Owned, ...], phase: Phase) -> Iterator[Step]:
    """The default or quarantine tenant for rows for which no source gives a tenant."""
    for owned in component:
        slug = context.fallback(owned)
        if slug is None:
            continue
        source = BySlug(tenant=context.reference, slug=slug)
        fills = tuple(_fills(context, owned, (source,), phase))
        sure = not owned.late or phase is Phase.CONTRACT
        complete = tuple((fill.relation, owned.column) for fill in fills) if sure else ()
        yield Backfill(phase=phase, table=owned.table, purpose="default", fills=fills, complete=complete)


def _fills(context: PlanContext, owned: Owned, sources: tuple[Source, ...], phase: Phase) -> Iterator[RelationFill]:
    if not sources:
        return
    overrides = not owned.has_own_column and all(source.kind in ("path", "children") for source in sources)
    for unit in context.units_of(owned):
        for relation in unit.relations:
            yield RelationFill(
                relation=relation.name, column=owned.column, sources=sources, overrides=overrides,
                identity=context.schema.tables[owned.table].primary_key if owned.has_own_column else (),
                keyed=phase is not Phase.BACKFILL or any(owned.column in unique.columns for unique in relation.uniques),
                search_path=context.schema.search_path,
            )  # fmt: skip


def _child_indexes(context: PlanContext) -> Iterator[Step]:
    """A table that is filled from its children looks them up row by row, which needs an index."""
    for owned in context.ownership.owned:
        for child in owned.children:
            for unit in context.units():
                if unit.owned.table != child.table:
                    continue
                for relation in unit.relations:
                    if not _indexed(relation, child.columns):
                        yield TenantIndex(
                            phase=Phase.BACKFILL, table=relation.name, column=child.columns[0],
                            columns=child.columns[1:], reason=f"to find the children of {owned.table}",
                            index=index_name(relation.name, *child.columns, ending="child"),
                        )  # fmt: skip


def _indexed(table: Table, columns: tuple[str, ...]) -> bool:
    wanted = set(columns)
    leading = [
        index.columns[: len(columns)] for index in table.indexes if not index.partial and index.method == "btree"
    ]
    leading += [unique.columns[: len(columns)] for unique in table.uniques if not unique.partial]
    return any(set(found) == wanted for found in leading)
