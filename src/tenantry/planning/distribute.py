"""The phase distribute: tables take the form in which a distributed engine such as Citus can spread them by tenant. It
runs on plain PostgreSQL, where all of it can be tested and reverted.

Triggers come first: tenantry's own would defer keys that can no longer be deferred, and recognise the old application
by the floor, which is dropped as well. Then the rows of mixed tables that belong to all tenants get the sentinel
tenant, and the column NOT NULL. Foreign keys come before the keys to which they refer: the composite ones in their last
form, so that no row is without one; then the user's own to owned tables are dropped, since they need the unique keys
without the tenant that are widened last.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tenantry.model.name import Name, index_name
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.model.schema import ForeignKey, Kind, Table, Unique
from tenantry.planning.context import PlanContext
from tenantry.planning.enforce import composite_form
from tenantry.planning.expand import new_tenant
from tenantry.steps import (
    ColocatedForeignKey,
    DirectPolicies,
    DropForeignKey,
    DropLegacyPolicies,
    DropSharedUnique,
    DropTrigger,
    DropUserTrigger,
    NotNullCheck,
    ReferenceTrigger,
    RelationFill,
    RowSecurity,
    SentinelDefault,
    SentinelFill,
    SentinelPolicies,
    SentinelRow,
    SetNotNull,
    Step,
    TenantChange,
    TenantForeignKey,
    TenantIndex,
    ValidateColocatedKey,
    ValidateNotNullCheck,
    ValidateReferences,
    WidenKey,
)
from tenantry.steps.colocated_key import as_it_was
from tenantry.steps.derivation import ByKey
from tenantry.steps.row_security import Sight
from tenantry.steps.sentinel import SENTINEL, SENTINEL_NAME
from tenantry.steps.trigger import RowTrigger

PHASE = Phase.DISTRIBUTE
SETS = ("n", "d")
"""ON DELETE SET NULL and SET DEFAULT."""
KEEPING = (ReferenceTrigger, TenantChange)
"""The triggers that do for references to mixed tables what composite keys do for others."""


def distribute_steps(context: PlanContext, earlier: Sequence[Step]) -> Iterator[Step]:
    """`earlier` are the steps of the phases before, whose objects take another form."""
    distribution = Distributing(context=context, earlier=tuple(earlier))
    yield from distribution.triggers()
    yield from distribution.sentinel()
    yield from distribution.policies()
    yield from distribution.everybodys_rows()
    yield from distribution.indexes()
    yield from distribution.colocated()
    yield from distribution.reference_triggers()
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
        """Those of tenantry, except for those that keep references to mixed tables within a tenant."""
        yield from (self._ended_by(step) for step in self._standing if not isinstance(step, KEEPING))
        for table in self._everything:
            for trigger in table.triggers:
                yield DropUserTrigger(phase=PHASE, table=table.name, trigger=trigger)

    def reference_triggers(self) -> Iterator[Step]:
        """Once composite keys hold, the triggers that have kept references to mixed tables within a tenant."""
        yield from (self._ended_by(step) for step in self._standing if isinstance(step, KEEPING))

    @property
    def _standing(self) -> Iterator[RowTrigger]:
        yield from (step for step in self.earlier if isinstance(step, RowTrigger) and step.key not in self._ended)

    def _ended_by(self, step: RowTrigger) -> DropTrigger:
        made_by, _, detail = step.key.partition(f":{step.table}")
        return DropTrigger(
            phase=PHASE, table=step.table, trigger=step.trigger, function=step.function, made_by=made_by,
            detail=detail, tree=step.below, proof=self._proofs.get((step.table, step.trigger), ""),
        )  # fmt: skip

    @cached_property
    def _proofs(self) -> Mapping[tuple[Name, str], str]:
        """By table and trigger, the step that has validated what the trigger keeps true."""
        return {(step.table, step.name): step.key for step in self.earlier if isinstance(step, ValidateReferences)}

    @cached_property
    def _everything(self) -> tuple[Table, ...]:
        """The distributed tables, and those that are copied to each node: shared ones, and the tenant table."""
        names = (*self.context.ownership.shared, self.context.ownership.tenant.name)
        copied = (self.context.schema.tables[name] for name in names if name in self.context.schema.tables)
        return tuple({table.name: table for table in (*(table for _, table in self.tables), *copied)}.values())

    # --- policies

    def policies(self) -> Iterator[DirectPolicies]:
        contracted = {step.table: step for step in self.earlier if isinstance(step, DropLegacyPolicies)}
        for step in self.earlier:
            if isinstance(step, RowSecurity) and step.link is None:
                last = contracted.get(step.table)
                yield DirectPolicies(
                    phase=PHASE, table=step.table, security=last.security if last is not None else step,
                    legacy=last is not None, sentinel=self._sentinel,
                )  # fmt: skip

    # --- rows of all tenants, in mixed tables

    @property
    def _sentinel(self) -> str | None:
        return self.context.ownership.tenant.sentinel

    @cached_property
    def _mixed(self) -> tuple[tuple[Owned, Table], ...]:
        return tuple((owned, table) for owned, table in self.tables if owned.mixed)

    def sentinel(self) -> Iterator[Step]:
        """The sentinel tenant."""
        if self._sentinel is None:
            return
        row = new_tenant(self.context, SENTINEL, SENTINEL_NAME)
        yield SentinelRow(
            phase=PHASE, table=row.table, tenant=row.tenant, slug=row.slug, name=row.name, columns=row.columns,
            referenced_by=tuple(one for one in row.referenced_by if one not in self._shared),
            search_path=row.search_path, value=self._sentinel, type=self.context.setting_type, shared=self._shared,
        )  # fmt: skip

    @cached_property
    def _shared(self) -> tuple[tuple[Name, str], ...]:
        return tuple((table.name, owned.column) for owned, table in self._mixed)

    def everybodys_rows(self) -> Iterator[Step]:
        """As in the phases backfill and enforce: the rows, a check that refuses new ones without a tenant, those
        written meanwhile, and NOT NULL. The default comes after the first fill, so that on the way back, in reverse
        order, no row gets the sentinel any more once the rows are given back."""
        if self._sentinel is None:
            return
        for owned, table in self._mixed:
            yield self._fill(owned, table, self._sentinel, sweep=False)
        for owned, table in self._mixed:
            yield SentinelDefault(
                phase=PHASE, table=table.name, column=owned.column, type=self.context.setting_type,
                setting=self.context.ownership.setting, value=self._sentinel,
            )  # fmt: skip
            yield NotNullCheck(phase=PHASE, table=table.name, column=owned.column)
            yield self._fill(owned, table, self._sentinel, sweep=True)
        for owned, table in self._mixed:
            yield ValidateNotNullCheck(phase=PHASE, table=table.name, column=owned.column)
            yield SetNotNull(phase=PHASE, table=table.name, column=owned.column)
        for direct in self.policies():
            if direct.security.sight is Sight.MIXED:
                yield SentinelPolicies(
                    phase=PHASE, table=direct.table, security=direct.security, sentinel=self._sentinel, nulls=False
                )
        for step in self.earlier:
            if isinstance(step, TenantIndex) and step.only_shared and step.table in self._by_name:
                yield DropSharedUnique(phase=PHASE, table=step.table, index=step)

    def _fill(self, owned: Owned, table: Table, value: str, *, sweep: bool) -> SentinelFill:
        fill = RelationFill(
            relation=table.name, column=owned.column, overrides=False, keyed=True,
            sources=(ByKey(value=value, type=self.context.setting_type),), search_path=self.context.schema.search_path,
        )  # fmt: skip
        return SentinelFill(
            phase=PHASE, table=table.name, purpose="everybody_sweep" if sweep else "everybody", fills=(fill,),
            complete=((table.name, owned.column),) if sweep else (),
        )  # fmt: skip

    @cached_property
    def _by_name(self) -> Mapping[Name, Owned]:
        return {table.name: owned for owned, table in self.tables}

    # --- foreign keys

    @cached_property
    def _ours(self) -> tuple[TenantForeignKey, ...]:
        """The foreign keys that tenantry has made, in their wanted form."""
        return tuple(_last_form(step) for step in self.earlier if isinstance(step, TenantForeignKey))

    @cached_property
    def _to_mixed(self) -> tuple[TenantForeignKey, ...]:
        """Composite keys to mixed tables, which had none as long as rows of them had no tenant: a row refers to a row
        of its own tenant, one of all tenants to one of all tenants. Preflight refuses any other reference."""
        found = list[TenantForeignKey]()
        for owned, key, parent in bound_references(self.context):
            if parent.mixed:
                unit = self.context.units_of(owned)[0]
                made = composite_form(self.context, unit, unit.table, key, parent, PHASE, with_partitions=False)
                wanted = _last_form(made)
                found.append(replace(wanted, changes=_changes(key, wanted)))
        return tuple(found)

    def colocated(self) -> Iterator[Step]:
        pairs = [*self._made_again(), *self._users_made_again(), *((key, _proof(key)) for key in self._to_mixed)]
        yield from (again for again, _ in pairs)
        yield from (proof for _, proof in pairs if proof is not None)

    def _made_again(self) -> Iterator[tuple[Step, Step | None]]:
        users = {(name, key.columns, key.parent): key for name, key in self._users_keys}
        for wanted in self._ours:
            beside = users.get((wanted.table, wanted.columns[:-1], wanted.parent))
            yield self._again(wanted, None, "" if beside is None else _changes(beside, wanted))

    @property
    def _users_keys(self) -> Iterator[tuple[Name, ForeignKey]]:
        yield from ((table.name, key) for _, table in self.tables for key in table.foreign_keys)

    def _users_made_again(self) -> Iterator[tuple[Step, Step | None]]:
        for owned, table in self.tables:
            for key in table.foreign_keys:
                sets = key.on_delete in SETS and owned.column in key.columns
                if self._stays(owned, key) and key.enforced and (key.deferrable or key.on_update != "a" or sets):
                    wanted = replace(
                        as_it_was(PHASE, table.name, key), on_update="a", deferrable=False, deferred=False,
                        on_delete="a" if sets else key.on_delete, delete_columns=() if sets else key.delete_columns,
                    )  # fmt: skip
                    yield self._again(wanted, key, _changes(key, wanted))

    @staticmethod
    def _again(wanted: TenantForeignKey, key: ForeignKey | None, changes: str) -> tuple[Step, Step | None]:
        """A key of the user's that is NOT VALID, since rows may violate it, stays so."""
        again = ColocatedForeignKey(
            phase=PHASE, table=wanted.table, foreign_key=key, wanted_key=wanted, changes=changes
        )  # fmt: skip
        return again, _proof(wanted) if key is None or key.validated else None

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
        every = (*self._ours, *self._to_mixed)
        return {(step.table, step.columns[:-1], step.parent): step.constraint for step in every}

    # --- unique keys

    @cached_property
    def _wide(self) -> tuple[tuple[Owned, Table, Unique, TenantIndex], ...]:
        """The unique keys that get the tenant column, each with the index that replaces it. An index replaces one of
        them: where several have the same columns, the others get indexes of their own."""
        taken = set[Name]()
        found = list[tuple[Owned, Table, Unique, TenantIndex]]()
        for owned, table in self.tables:
            for unique in table.uniques:
                if needs_tenant(owned, unique):
                    index = self._index(owned, table, unique, taken)
                    taken.add(index.index)
                    found.append((owned, table, unique, index))
        return tuple(found)

    def indexes(self) -> Iterator[Step]:
        """Those that are yet to be built."""
        yield from (index for *_, index in self._wide if index.phase is PHASE)

    def widened(self) -> Iterator[Step]:
        homes = set[tuple[Name, frozenset[str]]]()
        for owned, table, unique, by in self._wide:
            columns = by.columns if by.phase is not PHASE else unique.columns
            place = table.name, frozenset(columns)
            home = by.phase is not PHASE or (place not in homes and self._is_home(table, unique))
            homes |= {place} if home else set()
            yield WidenKey(
                phase=PHASE, table=table.name, unique=unique, column=owned.column, by=by.index, columns=columns,
                referred=tuple(self._referring(table, columns)), needed_by=tuple(self._needing(table, unique)),
                home=home,
            )  # fmt: skip

    def _is_home(self, table: Table, unique: Unique) -> bool:
        """Whether composite keys can only refer to the index of this phase: there is no earlier one for them."""
        earlier = {frozenset(step.columns) for step in self._indexes.get(table.name, ())}
        return not unique.partial and not unique.deferrable and frozenset(unique.columns) not in earlier

    def _index(self, owned: Owned, table: Table, unique: Unique, taken: Container[Name]) -> TenantIndex:
        """An index that exists since enforce or contract, for composite keys, and is not `taken` by another unique key,
        or one that is yet to be built."""
        there = [
            step for step in self._indexes.get(table.name, ())
            if set(step.columns) == set(unique.columns) and step.index not in taken
        ]  # fmt: skip
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
        for key in (*self._ours, *self._to_mixed):
            if key.parent == table.name and set(key.parent_columns[:-1]) == set(columns):
                yield key


def bound_references(context: PlanContext) -> Iterator[tuple[Owned, ForeignKey, Owned]]:
    """The foreign keys from or to a mixed table that composite keys keep within a tenant from the phase distribute on:
    the table, its key, and the table to which it refers. A row of all tenants then refers only to such rows."""
    plain = {unit.name for unit in context.units() if unit.table.kind is Kind.TABLE and not unit.table.inherits}
    for unit in context.units():
        for key, parent in context.references(unit):
            mixed = unit.owned.mixed or parent.mixed
            if mixed and {unit.name, key.parent} <= plain and parent.column not in key.parent_columns:
                yield unit.owned, key, parent


def needs_tenant(owned: Owned, unique: Unique) -> bool:
    """Whether a unique key of the user's lacks the tenant column, and exists after contract."""
    if unique.name in owned.unique or unique.exclusion or unique.inherited or not unique.valid:
        return False
    return owned.column not in unique.columns


def _last_form(key: TenantForeignKey) -> TenantForeignKey:
    """A foreign key of tenantry in the form that can be distributed."""
    return replace(
        key, phase=PHASE, deferrable=False, deferred=False, on_update="a", delete_columns=(), changes="",
        on_delete="a" if key.on_delete in SETS else key.on_delete,
    )  # fmt: skip


def _proof(key: TenantForeignKey) -> Step:
    return ValidateColocatedKey(
        phase=PHASE, table=key.table, constraint=key.constraint, parent=key.parent, on_delete=key.on_delete
    )


def _changes(key: ForeignKey, wanted: TenantForeignKey) -> str:
    """What the application can no longer do that a foreign key of the user's allowed, if the wanted one replaces it."""
    child, parent, columns = wanted.table, wanted.parent, ", ".join(key.columns)
    found = list[str]()
    if key.on_delete in SETS and wanted.on_delete == "a":
        found.append(
            f"a row of {parent} can no longer be deleted while {columns} of {child} refers to it: there is no SET NULL"
        )
    if key.on_update not in ("a", "r"):
        values = ", ".join(key.parent_columns)
        found.append(f"{values} of {parent} can no longer be changed while {columns} of {child} refers to it")
    if key.deferrable:
        found.append(f"{columns} of {child} can no longer be deferred: write the row of {parent} first")
    return "; ".join(found)
