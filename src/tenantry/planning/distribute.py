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
from typing import TypeGuard

from tenantry.model.name import Name, index_name
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.model.schema import ForeignKey, Kind, Table, Unique
from tenantry.planning.context import OwnedRelation, PlanContext
from tenantry.planning.enforce import composite_form, index_steps, not_null
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
    PartitionedIndex,
    ReferenceTrigger,
    RelationFill,
    RowSecurity,
    SentinelDefault,
    SentinelFill,
    SentinelPolicies,
    SentinelRow,
    Step,
    TenantChange,
    TenantForeignKey,
    TenantIndex,
    ValidateColocatedKey,
    ValidateReferences,
    WidenKey,
)
from tenantry.steps.colocated_key import as_it_was
from tenantry.steps.derivation import ByKey
from tenantry.steps.index import IndexStep
from tenantry.steps.row_security import Sight
from tenantry.steps.sentinel import SENTINEL, SENTINEL_NAME
from tenantry.steps.trigger import RowTrigger
from tenantry.steps.unique import KeyPart

PHASE = Phase.DISTRIBUTE
STORED = (Kind.TABLE, Kind.PARTITIONED)
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
    yield from distribution.reference_triggers(late=False)
    yield from distribution.dropped()
    yield from distribution.widened()
    yield from distribution.validated_late()
    yield from distribution.reference_triggers(late=True)


@dataclass(frozen=True, kw_only=True)
class Distributing:
    """The steps for the objects of the earlier phases, and for the user's."""

    context: PlanContext
    earlier: tuple[Step, ...]

    @cached_property
    def units(self) -> tuple[OwnedRelation, ...]:
        """The tables that are distributed. Preflight refuses by name what no engine accepts, such as inheritance."""
        return tuple(unit for unit in self.context.units() if not unit.table.inherits and unit.table.kind in STORED)

    @cached_property
    def tables(self) -> tuple[tuple[Owned, Table], ...]:
        """These tables and all their partitions. An index or a key that a partition has from its table is part of that
        of the table."""
        return tuple((unit.owned, table) for unit in self.units for table in unit.all)

    @cached_property
    def _ended(self) -> frozenset[str]:
        return frozenset(key for step in self.earlier for key in step.ends)

    # --- triggers

    def triggers(self) -> Iterator[Step]:
        """Those of tenantry, except for those that keep references to mixed tables within a tenant."""
        yield from (self._ended_by(step) for step in self._standing if not isinstance(step, KEEPING))
        for table in self._everything:
            for trigger in table.triggers:
                if not trigger.inherited:
                    partitions = tuple(part.name for part in self.context.schema.partitions(table.name))
                    yield DropUserTrigger(phase=PHASE, table=table.name, trigger=trigger, partitions=partitions)

    def reference_triggers(self, *, late: bool) -> Iterator[Step]:
        """Once composite keys hold, the triggers that have kept references to mixed tables within a tenant."""
        if late is any(self._late(key) for key in self._to_mixed):
            yield from (self._ended_by(step) for step in self._standing if isinstance(step, KEEPING))

    @property
    def _standing(self) -> Iterator[RowTrigger]:
        yield from (step for step in self.earlier if isinstance(step, RowTrigger) and step.key not in self._ended)

    def _ended_by(self, step: RowTrigger) -> DropTrigger:
        made_by, _, detail = step.key.partition(f":{step.table}")
        guard = replace(step, everybody=self._sentinel or "") if isinstance(step, ReferenceTrigger) else step
        return DropTrigger(
            phase=PHASE, table=step.table, trigger=step.trigger, function=step.function, made_by=made_by,
            detail=detail, tree=step.below, proof=self._proofs.get((step.table, step.trigger), ""),
            guard=guard if isinstance(guard, ReferenceTrigger | TenantChange) else None,
        )  # fmt: skip

    @cached_property
    def _proofs(self) -> Mapping[tuple[Name, str], str]:
        """By table and trigger, the step that has validated what the trigger keeps true."""
        return {(step.table, step.name): step.key for step in self.earlier if isinstance(step, ValidateReferences)}

    @cached_property
    def _everything(self) -> tuple[Table, ...]:
        """The distributed tables, and those that are copied to each node: shared ones, and the tenant table."""
        names = (*self.context.ownership.shared, self.context.ownership.tenant.name)
        schema = self.context.schema
        copied = (table for name in names if name in schema.tables for table in schema.tree(name))
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
    def _mixed(self) -> tuple[OwnedRelation, ...]:
        return tuple(unit for unit in self.units if unit.owned.mixed)

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
        return tuple((unit.name, unit.owned.column) for unit in self._mixed)

    def everybodys_rows(self) -> Iterator[Step]:
        """As in the phases backfill and enforce: the rows, a check that refuses new ones without a tenant, those
        written meanwhile, and NOT NULL. The default comes after the first fill, so that on the way back, in reverse
        order, no row gets the sentinel any more once the rows are given back."""
        if self._sentinel is None:
            return
        for unit in self._mixed:
            yield self._fill(unit, self._sentinel, sweep=False)
        for unit in self._mixed:
            column, tree = unit.owned.column, unit.tree_names
            for table in unit.all:
                yield SentinelDefault(
                    phase=PHASE, table=table.name, column=column, type=self.context.setting_type,
                    setting=self.context.ownership.setting, value=self._sentinel,
                )  # fmt: skip
            yield NotNullCheck(phase=PHASE, table=unit.name, column=column, tree=tree)
            yield self._fill(unit, self._sentinel, sweep=True)
        for unit in self._mixed:
            yield from not_null(unit, PHASE)
        for direct in self.policies():
            if direct.security.sight is Sight.MIXED:
                yield SentinelPolicies(
                    phase=PHASE, table=direct.table, security=direct.security, sentinel=self._sentinel, nulls=False
                )
        for step in self.earlier:
            if (
                isinstance(step, TenantIndex | PartitionedIndex) and step.only_shared and step.root is None
                and step.table in self._by_name
            ):  # fmt: skip
                parts = tuple(one for one in self.earlier if isinstance(one, IndexStep) and one.root == step.index)
                yield DropSharedUnique(phase=PHASE, table=step.table, index=step, parts=parts)

    def _fill(self, unit: OwnedRelation, value: str, *, sweep: bool) -> SentinelFill:
        column = unit.owned.column
        fills = tuple(
            RelationFill(
                relation=table.name, column=column, overrides=False, keyed=True,
                sources=(ByKey(value=value, type=self.context.setting_type),),
                search_path=self.context.schema.search_path,
            )
            for table in unit.relations
        )  # fmt: skip
        return SentinelFill(
            phase=PHASE, table=unit.name, purpose="everybody_sweep" if sweep else "everybody", fills=fills,
            complete=tuple((fill.relation, column) for fill in fills) if sweep else (),
        )  # fmt: skip

    @cached_property
    def _by_name(self) -> Mapping[Name, Owned]:
        return {table.name: owned for owned, table in self.tables}

    # --- foreign keys

    @cached_property
    def _ours(self) -> tuple[TenantForeignKey, ...]:
        """The foreign keys that tenantry has made, in their wanted form: that of a partitioned table for those of all
        its partitions."""
        made = [step for step in self.earlier if isinstance(step, TenantForeignKey)]
        parts = {(part, step.constraint) for step in made for part in step.tree}
        return tuple(
            _last_form(replace(step, leaves=self._leaves(step.table) if step.whole else ()))
            for step in made if (step.table, step.constraint) not in parts
        )  # fmt: skip

    def _leaves(self, table: Name) -> tuple[Name, ...]:
        return tuple(leaf.name for leaf in self.context.schema.leaves(table))

    @cached_property
    def _to_mixed(self) -> tuple[TenantForeignKey, ...]:
        """Composite keys to mixed tables, which had none as long as rows of them had no tenant: a row refers to a row
        of its own tenant, one of all tenants to one of all tenants. Preflight refuses any other reference."""
        found = list[TenantForeignKey]()
        for owned, key, parent in bound_references(self.context):
            if parent.mixed:
                unit = self.context.units_of(owned)[0]
                whole = unit.table.kind is Kind.PARTITIONED
                made = composite_form(self.context, unit, unit.table, key, parent, PHASE, with_partitions=whole)
                wanted = replace(_last_form(made), leaves=self._leaves(unit.name))
                found.append(replace(wanted, changes=_changes(key, wanted)))
        return tuple(found)

    def _late(self, key: TenantForeignKey) -> bool:
        """Whether a key is validated once its table's keys are widened: with those of a partitioned table, the keys to
        it are added once more."""
        parent = self.context.schema.tables.get(key.parent)
        return parent is not None and (parent.kind is Kind.PARTITIONED or parent.partition_of is not None)

    def colocated(self) -> Iterator[Step]:
        for one in self._keys:
            yield from one.steps
        for one in self._keys:
            if not self._late(one.form):
                yield from one.proofs

    def validated_late(self) -> Iterator[Step]:
        """The validation of foreign keys to partitioned tables."""
        for one in self._keys:
            if self._late(one.form):
                yield from one.proofs

    @cached_property
    def _keys(self) -> tuple[_Key, ...]:
        """The foreign keys that are replaced, and new ones."""
        return (*self._made_again(), *self._users_made_again(), *map(self._new, self._to_mixed))

    @staticmethod
    def _new(key: TenantForeignKey) -> _Key:
        whole = (key,) if key.leaves else ()
        return _Key(form=key, steps=key.first, proofs=(*_proofs_of_first(key), *whole))

    def _made_again(self) -> Iterator[_Key]:
        users = {(name, key.columns, key.parent): key for name, key in self._users_keys}
        for wanted in self._ours:
            beside = users.get((wanted.table, wanted.columns[:-1], wanted.parent))
            yield self._again(wanted, None, "" if beside is None else _changes(beside, wanted))

    @property
    def _users_keys(self) -> Iterator[tuple[Name, ForeignKey]]:
        """By the table, also those that only its partitions have."""
        for unit in self.units:
            yield from ((unit.name, key) for key in self.context.keys(unit))

    def _users_made_again(self) -> Iterator[_Key]:
        for owned, table, key in self._declared:
            sets = key.on_delete in SETS and owned.column in key.columns
            if self._stays(owned, key) and key.enforced and (key.deferrable or key.on_update != "a" or sets):
                wanted = replace(
                    self._original(table, key), on_update="a", deferrable=False, deferred=False,
                    on_delete="a" if sets else key.on_delete, delete_columns=() if sets else key.delete_columns,
                )  # fmt: skip
                yield self._again(wanted, key, _changes(key, wanted), self._original(table, key))

    @property
    def _declared(self) -> Iterator[tuple[Owned, Table, ForeignKey]]:
        """The user's foreign keys, each on the table that it was declared for."""
        for owned, table in self.tables:
            yield from ((owned, table, key) for key in table.foreign_keys if not key.inherited)

    def _original(self, table: Table, key: ForeignKey) -> TenantForeignKey:
        """A foreign key of the user's in its original form. One of a partitioned table that is not validated, since
        PostgreSQL 18, is added NOT VALID to the table itself."""
        original = as_it_was(PHASE, table.name, key)
        schema = self.context.schema
        partitioned = table.kind is Kind.PARTITIONED
        return replace(
            original, whole=original.whole or (partitioned and key.validated),
            tree=tuple(part.name for part in schema.partitions(table.name)),
            parent_tree=tuple(part.name for part in schema.partitions(key.parent)),
            leaves=self._leaves(table.name) if key.validated and key.enforced else (),
        )  # fmt: skip

    @staticmethod
    def _again(
        wanted: TenantForeignKey, key: ForeignKey | None, changes: str, original: TenantForeignKey | None = None
    ) -> _Key:
        """A key of the user's that is NOT VALID, since rows may violate it, stays so."""
        again = ColocatedForeignKey(
            phase=PHASE, table=wanted.table, foreign_key=key, original=original, wanted_key=wanted, changes=changes
        )  # fmt: skip
        proofs = tuple(_proofs(wanted)) if key is None or key.validated else ()
        return _Key(form=wanted, steps=(again,), proofs=proofs)

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
        for owned, table, key in self._declared:
            if not self._stays(owned, key):
                twin = self._twins.get((owned.table, key.columns, key.parent), "")
                yield DropForeignKey(
                    phase=PHASE, table=table.name, foreign_key=key, original=self._original(table, key), twin=twin
                )  # fmt: skip

    @cached_property
    def _twins(self) -> Mapping[tuple[Name, tuple[str, ...], Name], str]:
        every = (*self._ours, *self._to_mixed)
        return {(step.table, step.columns[:-1], step.parent): step.constraint for step in every}

    # --- unique keys

    @cached_property
    def _wide(self) -> tuple[_WideKey, ...]:
        """The unique keys that get the tenant column, each with the index that replaces it. An index replaces one of
        them: where several have the same columns, the others get indexes of their own."""
        taken = set[Name]()
        found = list[_WideKey]()
        for owned, table in self.tables:
            for unique in table.uniques:
                if needs_tenant(owned, unique):
                    found.append(self._widened(owned, table, unique, taken))
                    taken |= {index.index for index in (*found[-1].indexes, *found[-1].replaced)}
        return tuple(found)

    def _widened(self, owned: Owned, table: Table, unique: Unique, taken: Container[Name]) -> _WideKey:
        if table.kind is not Kind.PARTITIONED:
            index = self._index(owned, table, unique, taken)
            columns = index.columns if index.phase is not PHASE else unique.columns
            return _WideKey(owned=owned, table=table, unique=unique, columns=columns, by=index)
        parts = tuple(
            (part, own, None if part.kind is Kind.PARTITIONED else self._built(owned, part, own, unique.name))
            for part, own in self.context.schema.unique_parts(table.name, unique.name)
        )
        return _WideKey(
            owned=owned, table=table, unique=unique, columns=unique.columns, parts=parts,
            replaced=self._replaced(owned, table, unique, taken),
        )  # fmt: skip

    def indexes(self) -> Iterator[Step]:
        """Those that are yet to be built."""
        for wide in self._wide:
            yield from (step for step in wide.replaced if step.phase is PHASE)
            yield from (index for index in wide.indexes if index.phase is PHASE)

    def widened(self) -> Iterator[Step]:
        homes = set[tuple[Name, frozenset[str]]]()
        for wide in self._wide:
            table, unique = wide.table, wide.unique
            place = table.name, frozenset(wide.columns)
            new = wide.by is not None and wide.by.phase is PHASE
            home = not new or (place not in homes and self._is_home(table, unique))
            homes |= {place} if home else set()
            yield WidenKey(
                phase=PHASE, table=table.name, unique=unique, column=wide.owned.column,
                by=wide.by.index if wide.by is not None else None, columns=wide.columns,
                referred=tuple(self._referring(table, wide.columns)), needed_by=tuple(self._needing(table, unique)),
                home=home, replaced=wide.replaced,
                parts=tuple(
                    KeyPart(
                        table=part.name, unique=own, parent=part.partition_of or table.name,
                        by=by.index if by is not None else None,
                    )
                    for part, own, by in wide.parts
                ),
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
        if there and _plain(unique):
            return there[0]
        return self._built(owned, table, unique, unique.name)

    @staticmethod
    def _built(owned: Owned, table: Table, unique: Unique, name: str) -> TenantIndex:
        return TenantIndex(
            phase=PHASE, table=table.name, index=index_name(table.name, name, ending="wide"),
            column=owned.column, unique=True, rest=unique.rest, columns=() if unique.rest else unique.columns,
            reason=f"{unique.name} within a tenant",
        )  # fmt: skip

    @cached_property
    def _indexes(self) -> Mapping[Name, list[TenantIndex]]:
        found: dict[Name, list[TenantIndex]] = {}
        for step in self.earlier:
            if _of_keys(step) and isinstance(step, TenantIndex):
                found.setdefault(step.table, []).append(step)
        return found

    def _replaced(self, owned: Owned, table: Table, unique: Unique, taken: Container[Name]) -> tuple[IndexStep, ...]:
        """The steps that have made the index of a partitioned table, and its parts, that composite keys have used; or
        make one that they need before the key of the table is widened. None if another unique key replaces it."""
        if not _plain(unique):
            return ()
        made = [step for step in self.earlier if isinstance(step, IndexStep)]
        for whole in made:
            if whole.table == table.name and _of_keys(whole) and set(whole.columns) == set(unique.columns):
                parts = tuple(step for step in made if step is whole or step.root == whole.index)
                return parts if whole.index not in taken else ()
        if table.name != owned.table or not any(self._referring(table, unique.columns)):
            return ()
        (unit,) = (unit for unit in self.units if unit.name == table.name)
        reason = f"for foreign keys to {table.name} within a tenant"
        steps = tuple(index_steps(unit, unique.columns, PHASE, unique=True, reason=reason))
        return steps if steps[0].index not in taken else ()

    def _needing(self, parent: Table, unique: Unique) -> Iterator[Name]:
        names = {table.name for table in self.context.schema.tree(parent.name)}
        for owned, table, key in self._declared:
            if (
                not self._stays(owned, key) and key.parent in names
                and set(key.parent_columns) == set(unique.columns)
            ):  # fmt: skip
                yield table.name

    def _referring(self, table: Table, columns: tuple[str, ...]) -> Iterator[TenantForeignKey]:
        names = {part.name for part in self.context.schema.tree(table.name)}
        for key in (*self._ours, *self._to_mixed):
            if key.parent in names and set(key.parent_columns[:-1]) == set(columns):
                yield key


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """A foreign key in its wanted form, the steps that give it that form, and those that validate it."""

    form: TenantForeignKey
    steps: tuple[Step, ...]
    proofs: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _WideKey:
    """A unique key that gets the tenant column, with the index that replaces it; for a partitioned table with those of
    its partitions, and the steps of the index that composite keys have used until then."""

    owned: Owned
    table: Table
    unique: Unique
    columns: tuple[str, ...]
    by: TenantIndex | None = None
    parts: tuple[tuple[Table, Unique, TenantIndex | None], ...] = ()
    replaced: tuple[IndexStep, ...] = ()

    @property
    def indexes(self) -> Iterator[TenantIndex]:
        yield from (index for index in (self.by, *(by for *_, by in self.parts)) if index is not None)


def _plain(unique: Unique) -> bool:
    """Whether an index of the tenant and the same columns does all that this one does."""
    others = "NULLS NOT DISTINCT" in unique.rest or "INCLUDE" in unique.rest
    return bool(unique.columns) and not unique.partial and not unique.deferrable and not others


def _of_keys(step: Step) -> TypeGuard[TenantIndex | PartitionedIndex]:
    """Whether composite keys may depend on the index: it is not part of that of a partitioned table."""
    if not isinstance(step, TenantIndex | PartitionedIndex) or step.root is not None:
        return False
    return step.unique and not step.rest and not step.only_shared


def bound_references(context: PlanContext) -> Iterator[tuple[Owned, ForeignKey, Owned]]:
    """The foreign keys from or to a mixed table that composite keys keep within a tenant from the phase distribute on:
    the table, its key, and the table to which it refers. A row of all tenants then refers only to such rows."""
    plain = {unit.name for unit in context.units() if unit.table.kind in STORED and not unit.table.inherits}
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


def _proofs_of_first(key: TenantForeignKey) -> Iterator[Step]:
    for one in key.first:
        if one.table != key.table or not key.whole:
            yield ValidateColocatedKey(
                phase=PHASE, table=one.table, constraint=one.constraint, parent=one.parent, on_delete=one.on_delete
            )  # fmt: skip


def _proofs(key: TenantForeignKey) -> Iterator[Step]:
    """The validation; on a partitioned table that of each partition's key, which the table's own then adopts."""
    yield from _proofs_of_first(key)
    if key.leaves:
        yield ValidateColocatedKey(
            phase=PHASE, table=key.table, constraint=key.constraint, parent=key.parent, on_delete=key.on_delete,
            adopting=key,
        )  # fmt: skip


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
