"""The part of the phase distribute that Citus does: tables that have the form for it are distributed or copied to each
node.

Foreign keys are dropped first and added last: with one in place, Citus would convert the table that it leads to, and
refuse to distribute those that refer to it. Tables that are copied to each node come before the distributed ones, whose
keys refer to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import ForeignKey, Table
from tenantry.planning.context import PlanContext
from tenantry.steps import (
    AttachForeignKey,
    CheckShards,
    ColocatedForeignKey,
    DetachForeignKey,
    DistributeTable,
    DropForeignKey,
    EmptyLocalTable,
    IdentityToDefault,
    PropagateTenant,
    Step,
    TenantForeignKey,
    ValidateAttachedKey,
)
from tenantry.steps.colocated_key import as_it_was

PHASE = Phase.DISTRIBUTE


def citus_steps(context: PlanContext, prepared: Sequence[Step]) -> Iterator[Step]:
    """`prepared` are the steps of the phase distribute that plain PostgreSQL can do."""
    engine = _Engine(context=context, prepared=tuple(prepared))
    yield PropagateTenant(
        phase=PHASE, table=context.ownership.tenant.name, role=context.spec.application.role
    )  # fmt: skip
    yield from engine.defaults()
    yield from engine.detached()
    yield from engine.distributed()
    yield from engine.emptied()
    yield from engine.attached()
    yield from engine.checked()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """A foreign key in its form after the first part of the phase."""

    form: TenantForeignKey
    original: ForeignKey | None
    valid: bool = True
    enforced: bool = True
    after: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Engine:
    context: PlanContext
    prepared: tuple[Step, ...]

    @cached_property
    def copied(self) -> tuple[Name, ...]:
        """The tables that are copied to each node, each after those that it refers to."""
        names = (*self.context.ownership.shared, self.context.ownership.tenant.name)
        known = dict.fromkeys(name for name in names if self._table(name) is not None)
        if self.context.ownership.tenant.name not in known:
            known[self.context.ownership.tenant.name] = None
        return tuple(_parents_first(known, {name: self._parents(name) for name in known}))

    @cached_property
    def owned(self) -> tuple[tuple[Name, str], ...]:
        """The tables that are distributed, each with its tenant column, in the order of their names."""
        return tuple(sorted((owned.table, owned.column) for owned in self.context.ownership.owned))

    def _table(self, name: Name) -> Table | None:
        return self.context.schema.tables.get(name)

    def _parents(self, name: Name) -> tuple[Name, ...]:
        table = self._table(name)
        return tuple(key.parent for key in table.foreign_keys) if table is not None else ()

    # --- foreign keys

    @cached_property
    def links(self) -> tuple[_Link, ...]:
        keys = {step.key for step in self.prepared}
        forms = [
            (step.key, step.wanted_key if isinstance(step, ColocatedForeignKey) else step)
            for step in self.prepared if isinstance(step, ColocatedForeignKey | TenantForeignKey)
        ]  # fmt: skip
        again = {(form.table, form.constraint) for _, form in forms}
        dropped = {(step.table, step.constraint) for step in self.prepared if isinstance(step, DropForeignKey)}
        found = list[_Link]()
        for key, form in forms:
            proof = f"colocated_foreign_key_valid:{form.table}:{form.constraint}"
            after = tuple(one for one in (key, proof) if one in keys)
            found.append(_Link(form=form, original=None, valid=proof in keys, after=after))
        for name in (*self.copied, *(name for name, _ in self.owned)):
            table = self._table(name)
            found += (
                _Link(form=as_it_was(PHASE, name, key), original=key, valid=key.validated, enforced=key.enforced)
                for key in (table.foreign_keys if table is not None else ())
                if (name, key.name) not in again and (name, key.name) not in dropped and key.declared
            )
        return tuple(found)

    def detached(self) -> Iterator[Step]:
        for link in self.links:
            yield DetachForeignKey(
                phase=PHASE, table=link.form.table, wanted_key=link.form, foreign_key=link.original,
                valid=link.valid, enforced=link.enforced, after=link.after,
            )  # fmt: skip

    def attached(self) -> Iterator[Step]:
        for link in self.links:
            yield AttachForeignKey(
                phase=PHASE, table=link.form.table, wanted_key=link.form, enforced=link.enforced
            )  # fmt: skip
        for link in self.links:
            if link.valid and link.enforced:
                yield ValidateAttachedKey(
                    phase=PHASE, table=link.form.table, constraint=link.form.constraint, parent=link.form.parent
                )  # fmt: skip

    # --- tables

    def defaults(self) -> Iterator[Step]:
        for name in self._all:
            table = self._table(name)
            for column in table.columns if table is not None else ():
                if column.identity:
                    yield IdentityToDefault(
                        phase=PHASE, table=name, column=column.name, identity=column.identity
                    )  # fmt: skip

    @property
    def _all(self) -> tuple[Name, ...]:
        return (*self.copied, *(name for name, _ in self.owned))

    def distributed(self) -> Iterator[Step]:
        for name in self.copied:
            yield DistributeTable(phase=PHASE, table=name)
        first = None
        for name, column in self.owned:
            yield DistributeTable(phase=PHASE, table=name, column=column, together_with=first)
            first = first or name

    def emptied(self) -> Iterator[Step]:
        for name in self._all:
            yield EmptyLocalTable(phase=PHASE, table=name)

    def checked(self) -> Iterator[Step]:
        for name in self._all:
            yield CheckShards(phase=PHASE, table=name)


def _parents_first(names: Mapping[Name, None], parents: Mapping[Name, tuple[Name, ...]]) -> list[Name]:
    """The names in an order in which each comes after its parents, unless they refer to each other."""
    ordered: dict[Name, None] = {}

    def add(name: Name, above: tuple[Name, ...]) -> None:
        if name in ordered or name in above or name not in names:
            return
        for parent in parents[name]:
            add(parent, (*above, name))
        ordered[name] = None

    for name in names:
        add(name, ())
    return list(ordered)
