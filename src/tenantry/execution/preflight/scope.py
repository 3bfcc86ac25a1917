"""What a run will touch, from the steps that it will apply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind, Schema, View
from tenantry.planning import Plan
from tenantry.steps import RelationFill, RowSecurity, Step
from tenantry.steps.derivation import ByPath
from tenantry.steps.step import Need


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The schema, and the steps up to the end of the last phase of the run."""

    schema: Schema
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, schema: Schema, plan: Plan, until: Phase) -> Scope:
        return cls(schema=schema, steps=plan.until(until))

    @cached_property
    def relations(self) -> frozenset[Name]:
        """Tables and views that a step changes."""
        return frozenset(
            step.table for step in self.steps if step.table in self.schema.tables or step.table in self.schema.views
        )

    @cached_property
    def acted_as(self) -> frozenset[str]:
        """Roles that own changed objects, that will own objects of tenantry, or as which statements run."""
        owners = {
            found.owner
            for name in self.relations
            if (found := self.schema.tables.get(name) or self.schema.views.get(name)) is not None
        }
        return frozenset(owners | {role for step in self.steps for role in step.acts_as})

    @cached_property
    def schemas(self) -> frozenset[str]:
        return frozenset(step.table.schema for step in self.steps)

    @cached_property
    def fills(self) -> Mapping[Name, RelationFill]:
        """Relations whose rows are updated in place while the user's triggers exist; a user's own NOT NULL column needs
        no backfill."""
        return {
            fill.relation: fill
            for step in self.steps
            if step.filling is not None and step.allotted
            for fill in step.filling.fills
            if not (fill.identity and self._not_null(fill.relation, fill.column))
        }

    @cached_property
    def updated(self) -> Mapping[Name, RelationFill]:
        """The same, with those whose triggers have been dropped before."""
        late = (step.filling for step in self.steps if step.filling is not None and not step.allotted)
        return {fill.relation: fill for one in late for fill in one.fills} | dict(self.fills)

    def _not_null(self, table: Name, name: str) -> bool:
        column = self.schema.tables[table].column(name)
        return column is not None and column.not_null

    @cached_property
    def read(self) -> frozenset[Name]:
        """Tables whose rows are counted, changed or read for their tenant."""
        parents = {
            hop.parent
            for fill in self.fills.values()
            for source in fill.sources
            if isinstance(source, ByPath)
            for hop in source.hops
        }
        tenants = {step.tenant_table for step in self.steps if step.tenant_table is not None}
        return self.relations | parents | tenants

    @cached_property
    def growing(self) -> Mapping[Name, str]:
        """Tables that get a column, partitions and children included, with its name."""
        return {
            name: step.tenant_column for step in self.steps if step.tenant_column is not None for name in step.growing
        }

    @cached_property
    def assigned(self) -> frozenset[Name]:
        """Tables that get the assignment trigger, partitions included."""
        return frozenset(name for step in self.steps for name in step.shields)

    # --- privileges of tenantry's role

    def schemas_of(self, need: Need) -> frozenset[str]:
        """Of the steps that need it."""
        return frozenset(step.table.schema for step in self.steps if step.needs == need)

    @cached_property
    def makes_role(self) -> bool:
        """Whether the application role is created."""
        return any(step.needs == "CREATEROLE" for step in self.steps)

    # --- isolate

    @cached_property
    def securities(self) -> tuple[RowSecurity, ...]:
        return tuple(step.secures for step in self.steps if step.secures is not None)

    @cached_property
    def guarded(self) -> frozenset[Name]:
        """Relations that get row-level security."""
        return frozenset(step.table for step in self.securities)

    @cached_property
    def application(self) -> str | None:
        """The application role; None if no step is about it."""
        return next((step.application for step in self.steps if step.application is not None), None)

    @cached_property
    def operators(self) -> frozenset[str]:
        return frozenset(role for step in self.securities for role in step.operators)

    @cached_property
    def legacy(self) -> frozenset[str]:
        return frozenset(role for step in self.securities for role in step.legacy)

    @cached_property
    def views(self) -> tuple[View, ...]:
        """Views that read a protected relation, also through other views."""
        return tuple(self._readers())

    def _readers(self) -> Iterator[View]:
        reached = set(self.guarded)
        waiting = sorted(self.schema.views.values(), key=lambda view: view.name)
        found = True
        while found:
            found = False
            for view in tuple(waiting):
                if reached.intersection(view.reads):
                    reached.add(view.name)
                    waiting.remove(view)
                    found = True
                    yield view

    # --- roles

    def bypasses(self, role: str) -> bool:
        known = self.schema.roles.get(role)
        return known is not None and (known.superuser or known.bypasses)

    def has(self, role: str, privileges_of: frozenset[str]) -> bool:
        """Whether `role` is one of those roles or inherits the privileges of one."""
        known = self.schema.roles.get(role)
        return role in privileges_of or (known is not None and not privileges_of.isdisjoint(known.usage_of))

    @cached_property
    def stored(self) -> frozenset[Name]:
        """The relations that store rows."""
        return frozenset(
            name
            for name in self.relations
            if name in self.schema.tables and self.schema.tables[name].kind is Kind.TABLE
        )
