"""The phase distribute: tables take the form in which a distributed engine such as Citus can spread them by tenant. It
runs on plain PostgreSQL, where all of it can be tested and reverted.

Triggers come first: tenantry's own would defer keys that can no longer be deferred, and recognise the old application
by the floor, which is dropped as well. Foreign keys come before the keys to which they refer: the composite ones in
their last form, so that no row is without one; then the user's own to owned tables are dropped, since they need the
unique keys without the tenant that are widened last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tenantry.model.name import Name, index_name
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.model.schema import ForeignKey, Kind, Table, Unique
from tenantry.planning.context import PlanContext
from tenantry.steps import (
    ColocatedForeignKey,
    DirectPolicies,
    DropForeignKey,
    DropLegacyPolicies,
    DropTrigger,
    DropUserTrigger,
    RowSecurity,
    Step,
    TenantForeignKey,
    TenantIndex,
    ValidateColocatedKey,
    WidenKey,
)
from tenantry.steps.colocated_key import as_it_was
from tenantry.steps.trigger import RowTrigger

PHASE = Phase.DISTRIBUTE
SETS = ("n", "d")
"""ON DELETE SET NULL and SET DEFAULT."""


def distribute_steps(context: PlanContext, earlier: Sequence[Step]) -> Iterator[Step]:
    """`earlier` are the steps of the phases before, whose objects take another form."""
    distribution = Distributing(context=context, earlier=tuple(earlier))
    yield from distribution.triggers()
    yield from distribution.policies()
    yield from distribution.colocated()
    yield from distribution.dropped()
    yield from distribution.widened()


@dataclass(frozen=True, kw_only=True)
class Distributing:
    """The steps for the objects of the earlier phases, and for the user's."""

    context: PlanContext
    earlier: tuple[Step, ...]

    @cached_property
    def tables(self) -> tuple[tuple[Owned, Table], ...]:
        """The tables that are distributed. Preflight refuses by name what no engine accepts, such as inheritance."""
        return tuple(
            (unit.owned, unit.table) for unit in self.context.units()
            if not unit.table.inherits and unit.table.kind is Kind.TABLE
        )  # fmt: skip

    @cached_property
    def _ended(self) -> frozenset[str]:
        return frozenset(key for step in self.earlier for key in step.ends)

    # --- triggers

    def triggers(self) -> Iterator[Step]:
        for step in self.earlier:
            if isinstance(step, RowTrigger) and step.key not in self._ended:
                made_by, _, detail = step.key.partition(f":{step.table}")
                yield DropTrigger(
                    phase=PHASE, table=step.table, trigger=step.trigger, function=step.function, made_by=made_by,
                    detail=detail, tree=step.below,
                )  # fmt: skip
        for table in self._everything:
            for trigger in table.triggers:
                yield DropUserTrigger(phase=PHASE, table=table.name, trigger=trigger)

    @cached_property
    def _everything(self) -> tuple[Table, ...]:
        """The distributed tables, and those that are copied to each node: shared ones, and the tenant table."""
        names = (*self.context.ownership.shared, self.context.ownership.tenant.name)
        copied = (self.context.schema.tables[name] for name in names if name in self.context.schema.tables)
        return tuple({table.name: table for table in (*(table for _, table in self.tables), *copied)}.values())

    # --- policies

    def policies(self) -> Iterator[Step]:
        contracted = {step.table: step for step in self.earlier if isinstance(step, DropLegacyPolicies)}
        for step in self.earlier:
            if isinstance(step, RowSecurity) and step.link is None:
                last = contracted.get(step.table)
                yield DirectPolicies(
                    phase=PHASE, table=step.table, security=last.security if last is not None else step,
                    legacy=last is not None,
                )  # fmt: skip

    # --- foreign keys

    @cached_property
    def _ours(self) -> tuple[TenantForeignKey, ...]:
        """The foreign keys that tenantry has made, in their wanted form."""
        made = (step for step in self.earlier if isinstance(step, TenantForeignKey))
        return tuple(
            replace(
                step, phase=PHASE, deferrable=False, deferred=False, on_update="a", delete_columns=(), changes="",
                on_delete="a" if step.on_delete in SETS else step.on_delete,
            )
            for step in made
        )  # fmt: skip

    def colocated(self) -> Iterator[Step]:
        pairs = [*self._made_again(), *self._users_made_again()]
        yield from (again for again, _ in pairs)
        yield from (proof for _, proof in pairs)

    def _made_again(self) -> Iterator[tuple[Step, Step]]:
        made = {step.key: step for step in self.earlier if isinstance(step, TenantForeignKey)}
        for wanted in self._ours:
            changes = _set_by(wanted) if made[wanted.key].on_delete in SETS else ""
            yield self._again(wanted, None, changes)

    def _users_made_again(self) -> Iterator[tuple[Step, Step]]:
        for owned, table in self.tables:
            for key in table.foreign_keys:
                sets = key.on_delete in SETS and owned.column in key.columns
                if self._stays(owned, key) and key.enforced and (key.deferrable or key.on_update != "a" or sets):
                    wanted = replace(
                        as_it_was(PHASE, table.name, key), on_update="a", deferrable=False, deferred=False,
                        on_delete="a" if sets else key.on_delete, delete_columns=() if sets else key.delete_columns,
                    )  # fmt: skip
                    yield self._again(wanted, key, _set_by(wanted) if sets else "")

    @staticmethod
    def _again(wanted: TenantForeignKey, key: ForeignKey | None, changes: str) -> tuple[Step, Step]:
        again = ColocatedForeignKey(
            phase=PHASE, table=wanted.table, foreign_key=key, wanted_key=wanted, changes=changes
        )  # fmt: skip
        return again, ValidateColocatedKey(
            phase=PHASE, table=wanted.table, constraint=wanted.constraint, parent=wanted.parent,
            on_delete=wanted.on_delete,
        )  # fmt: skip

    def _stays(self, owned: Owned, key: ForeignKey) -> bool:
        """Whether a key stays: it refers to a table that is not owned, or includes the tenant on both sides."""
        parent = self.context.ownership.of(key.parent)
        if parent is None:
            return True
        return any(
            (here, there) == (owned.column, parent.column)
            for here, there in zip(key.columns, key.parent_columns, strict=True)
        )

    def dropped(self) -> Iterator[Step]:
        for owned, table in self.tables:
            for key in table.foreign_keys:
                if not self._stays(owned, key):
                    twin = self._twins.get((table.name, key.columns, key.parent), "")
                    yield DropForeignKey(phase=PHASE, table=table.name, foreign_key=key, twin=twin)

    @cached_property
    def _twins(self) -> Mapping[tuple[Name, tuple[str, ...], Name], str]:
        return {(step.table, step.columns[:-1], step.parent): step.constraint for step in self._ours}

    # --- unique keys

    def widened(self) -> Iterator[Step]:
        wide = [
            (owned, table, unique)
            for owned, table in self.tables if not owned.mixed
            for unique in table.uniques if needs_tenant(owned, unique)
        ]  # fmt: skip
        built = {(table.name, unique.name): self._index(owned, table, unique) for owned, table, unique in wide}
        yield from (index for index in built.values() if index.phase is PHASE)
        for owned, table, unique in wide:
            by = built[table.name, unique.name]
            columns = by.columns if by.phase is not PHASE else unique.columns
            yield WidenKey(
                phase=PHASE, table=table.name, unique=unique, column=owned.column, by=by.index, columns=columns,
                referred=tuple(self._referring(table, columns)), needed_by=tuple(self._needing(table, unique)),
            )  # fmt: skip

    def _index(self, owned: Owned, table: Table, unique: Unique) -> TenantIndex:
        """An index that exists since enforce or contract, for composite keys, or one that is yet to be built."""
        there = [step for step in self._indexes.get(table.name, ()) if set(step.columns) == set(unique.columns)]
        there.sort(key=lambda step: step.columns != unique.columns)
        plain = bool(unique.columns) and not unique.partial and not unique.deferrable
        if there and plain and "NULLS NOT DISTINCT" not in unique.rest and "INCLUDE" not in unique.rest:
            return there[0]
        return TenantIndex(
            phase=PHASE, table=table.name, index=index_name(table.name, unique.name, ending="wide"),
            column=owned.column, unique=True, rest=unique.rest, columns=() if unique.rest else unique.columns,
            reason=f"{unique.name} within a tenant",
        )  # fmt: skip

    @cached_property
    def _indexes(self) -> Mapping[Name, list[TenantIndex]]:
        found: dict[Name, list[TenantIndex]] = {}
        for step in self.earlier:
            if isinstance(step, TenantIndex) and step.unique and not step.rest and not step.only_shared:
                found.setdefault(step.table, []).append(step)
        return found

    def _needing(self, parent: Table, unique: Unique) -> Iterator[Name]:
        for owned, table in self.tables:
            if any(
                not self._stays(owned, key) and key.parent == parent.name
                and set(key.parent_columns) == set(unique.columns)
                for key in table.foreign_keys
            ):  # fmt: skip
                yield table.name

    def _referring(self, table: Table, columns: tuple[str, ...]) -> Iterator[TenantForeignKey]:
        for key in self._ours:
            if key.parent == table.name and set(key.parent_columns[:-1]) == set(columns):
                yield key


def needs_tenant(owned: Owned, unique: Unique) -> bool:
    """Whether a unique key of the user's lacks the tenant column, and exists after contract."""
    if unique.name in owned.unique or unique.exclusion or unique.inherited or not unique.valid:
        return False
    return owned.column not in unique.columns


def _set_by(key: TenantForeignKey) -> str:
    return (
        f"a row of {key.parent} can no longer be deleted while {', '.join(key.columns)} of {key.table} refers to it:"
        " there is no SET NULL"
    )
