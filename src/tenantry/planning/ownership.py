"""Resolves a spec against a schema: names to tables, and tables to their owners in order of derivation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path as File
from typing import TypeVar

from tenantry.errors import UsageError, nearest
from tenantry.model.name import Name
from tenantry.model.ownership import Assignment, Hop, Member, Owned, Ownership, TenantTable
from tenantry.model.schema import Kind, Schema, Table
from tenantry.model.spec import AcceptPart, Orphans, Spec, TablePart
from tenantry.planning.assignments import read_assignments
from tenantry.planning.derivation import Derivation
from tenantry.planning.lookup import Lookup
from tenantry.planning.paths import EQUALS, Paths, WaitsError, crossing, reference
from tenantry.planning.tenant_rows import declared_tenants, name_column

Part = TypeVar("Part")
Value = TypeVar("Value")
MISFIT = "its entry in the spec does not fit the database"
KEY_TYPES = ("uuid", "smallint", "integer", "bigint", "text", "character varying", "character")


def resolve(spec: Spec, schema: Schema, *, lenient: bool = False) -> Ownership:
    """Which rows of this database belong to whom. Raises UsageError with everything that does not fit; `lenient`:
    entries that do not fit are left out, with the reason, except for a tenant table that cannot be one."""
    errors: list[UsageError] = []
    try:
        ownership = _Resolver(spec, schema, errors, lenient=lenient).ownership()
    except UsageError as error:
        # Without a tenant table nothing else can be resolved.
        if not errors:
            raise
        raise _all_of([*errors, error]) from error
    if errors and not lenient:
        raise _all_of(errors)
    return ownership


def _all_of(errors: Sequence[UsageError]) -> UsageError:
    if len(errors) == 1:
        return errors[0]
    source, _, _ = errors[0].message.partition(": ")
    found = [_sentence(_without_source(error, source), error.remedy) for error in errors]
    return UsageError(
        f"{source}: {len(errors)} entries do not fit the database",
        remedy="Correct all of them, then run the same command again.",
        details=found,
    )


def _sentence(message: str, remedy: str) -> str:
    end = "" if message.endswith(("?", "!")) else "."
    return f"{message}{end} {remedy}".rstrip()


def _without_source(error: UsageError, source: str) -> str:
    return error.message.removeprefix(f"{source}: ")


class _Resolver:
    """Resolves the entries of a spec; those that do not fit are left out, and added to `errors`."""

    def __init__(self, spec: Spec, schema: Schema, errors: list[UsageError], *, lenient: bool) -> None:
        self.spec = spec
        self.schema = schema
        self.lenient = lenient
        self.errors = errors
        self.lookup = Lookup(source=str(spec.path or "the spec"), home=spec.schemas[0], schema=schema)
        self.heirs = self._heirs()
        whole = (part for part in spec.reference if part.parent is not None)
        self.references = list(self._fitting(lambda part: reference(part, self.lookup), whole))
        crosses = (part for part in spec.reference if part.crosses)
        named = self._fitting(lambda part: tuple(crossing(part, self.lookup)), crosses)
        self.crossing = frozenset(chain.from_iterable(named))
        self.parts: dict[Name, TablePart] = {}
        for name, table in self._fitting(self._part, spec.table):
            self.parts[name] = table
        self.tenant = self._tenant()
        list(self._fitting(self._accepted, spec.accept))
        self.owned_names = {
            name for name, part in self.parts.items()
            if not part.shared and part.membership is None and part.undecided is None
        }  # fmt: skip
        self.undecided = {
            name: part.undecided for name, part in self.parts.items() if part.undecided is not None
        }  # fmt: skip
        self.paths = Paths(
            lookup=self.lookup, tenant=self.tenant, heirs=self.heirs, references=self.references,
            crossing=self.crossing, owned=self.owned_names, undecided=self.undecided,
        )  # fmt: skip

    def _fitting(self, read: Callable[[Part], Value], parts: Iterable[Part]) -> Iterator[Value]:
        """The meaning of each part of the spec that fits."""
        for part in parts:
            try:
                yield read(part)
            except UsageError as error:
                self.errors.append(error)

    def _part(self, part: TablePart) -> tuple[Name, TablePart]:
        place = f"[[table]] {part.name!r}"
        name = self.lookup.table(part.name, place).name
        if name in self.parts:
            raise self.lookup.error(f"{place}: {name} has two entries", remedy="Keep one of them.")
        return name, part

    def _accepted(self, part: AcceptPart) -> None:
        """A table that does not exist is a typing error; tenantry's own may not exist yet."""
        place = f"[[accept]] {part.check!r} table"
        if part.table is not None and self.lookup.name(part.table, place) != self.tenant.name:
            self.lookup.table(part.table, place)

    def _heirs(self) -> dict[Name, Name]:
        heirs: dict[Name, Name] = {}
        for table in self.schema.tables.values():
            if table.partition_of is None and not table.inherits:
                for partition in self.schema.partitions(table.name):
                    heirs[partition.name] = table.name
                for heir in self.schema.heirs(table.name):
                    heirs[heir.name] = table.name
        return heirs

    # --- the tenant table

    def _tenant(self) -> TenantTable:
        part = self.spec.tenant
        name = self.lookup.name(part.table, "[tenant] table")
        table = self.schema.tables.get(name)
        if table is None:
            if not part.create and not self.lenient:
                raise self.lookup.error(
                    f"[tenant] table: the table {name} does not exist"
                    + nearest(str(name), [str(known) for known in self.schema.tables]),
                    remedy="Correct the name of the tenant table, or set create = true to have it created.",
                )
            return self._with_slugs(
                TenantTable(name=name, key=part.key, slug=part.slug, type="uuid", create=part.create)
            )
        self.lookup.column(table, part.slug, "[tenant] slug")
        key = table.column(self.lookup.column(table, part.key, "[tenant] key"))
        assert key is not None
        if key.base_type.partition("(")[0] not in KEY_TYPES:
            raise self.lookup.error(
                f"[tenant] key: {table.name}.{key.name} is of type {key.type}; a tenant key is uuid, an integer or text"
            )
        if not any(unique.columns == (key.name,) and not unique.partial for unique in table.uniques):
            raise self.lookup.error(f"[tenant] key: {table.name}.{key.name} is neither the primary key nor unique")
        return self._with_slugs(TenantTable(name=table.name, key=key.name, slug=part.slug, type=key.base_type))

    def _with_slugs(self, tenant: TenantTable) -> TenantTable:
        part, tables = self.spec.tenant, self.spec.table
        wants_default = any(table.orphans is Orphans.DEFAULT for table in tables)
        if wants_default and part.default is None:
            raise self.lookup.error("[tenant] default is missing, and a table has orphans = 'default'")
        quarantine = part.quarantine if any(table.orphans is Orphans.QUARANTINE for table in tables) else None
        named = [
            table.assign.tenant for table in tables if table.assign is not None and table.assign.tenant is not None
        ]
        base = self.spec.path.parent if self.spec.path is not None else File()
        read = partial(declared_tenants, folder=base, place=f"{self.lookup.source}: [tenant] csv")
        declared = next(self._fitting(read, [part]), ())
        slugs = dict.fromkeys((*named, *(slug for slug, _ in declared)))
        names = tuple((slug, name) for slug, name in declared if name is not None)
        self._check_names(tenant, names)
        return replace(tenant, default=part.default, quarantine=quarantine, slugs=tuple(slugs), names=names)

    def _check_names(self, tenant: TenantTable, names: tuple[tuple[str, str], ...]) -> None:
        table = self.schema.tables.get(tenant.name)
        if names and table is not None and name_column(table.columns, tenant) is None:
            raise self.lookup.error(
                f"[tenant] rows {names[0][0]!r} name: {tenant.name} has no column for a tenant's name",
                remedy="Remove the names.",
            )

    # --- tables

    def _owned(self, name: Name, part: TablePart) -> Owned:
        place = f"[[table]] {part.name!r}"
        table = self.schema.tables[name]
        if name in self.heirs:
            raise self.lookup.error(f"{place}: {name} is part of {self.heirs[name]}; list that table only")
        if table.kind is Kind.FOREIGN:
            raise self.lookup.error(f"{place}: {name} is a foreign table, which cannot be owned", "Set shared = true.")
        if name == self.tenant.name:
            raise self.lookup.error(f"{place}: this is the tenant table itself; remove the entry")
        paths = tuple(self.paths.path(table, path, f"{place} paths") for path in part.paths)
        children = tuple(self.paths.child(table, child, f"{place} children") for child in part.children)
        direct = paths[0] if paths and len(paths[0].hops) == 1 and self._is_tenant_key(paths[0].hops[0]) else None
        column = part.column or (direct.columns[0] if direct else self.spec.tenant.column)
        given = direct is not None and direct.columns == (column,)
        self._check_column(table, column, given=given, place=place)
        self._check_heirs(table, place)
        if given:
            self._check_generated(table, column, part, place)
        for unique in part.unique:
            self._check_unique(table, unique, place)
        return Owned(
            table=name, column=column, has_own_column=given, mixed=part.orphans is Orphans.SHARED, paths=paths,
            children=children, assignment=self._assignment(table, part, place), orphans=part.orphans,
            unique=part.unique,
        )  # fmt: skip

    def _is_tenant_key(self, hop: Hop) -> bool:
        return hop.parent == self.tenant.name and hop.parent_columns == (self.tenant.key,)

    def _check_column(self, table: Table, name: str, *, given: bool, place: str) -> None:
        for part in (*self.schema.tree(table.name), *self.schema.heirs(table.name)):
            column = part.column(name)
            if column is None or (given and part.name != table.name):
                continue
            if column.base_type != self.tenant.type:
                raise self.lookup.error(
                    f"{place}: {part.name}.{name} is of type {column.type}, but the tenant key of type"
                    f" {self.tenant.type}",
                    remedy="Change the column's type, or choose another name with [tenant] column"
                    f" or column = … in {place}.",
                )
            if not given and table.name not in self.schema.preserved:
                # A child's own column would be merged with tenantry's, and keep its values (hazard 7).
                raise self.lookup.error(
                    f"{place}: {part.name} already has a column {name!r}",
                    remedy=f'If it contains the tenant, set paths = [["{name}"]]; else choose another name'
                    " with column = ….",
                )

    def _check_generated(self, table: Table, name: str, part: TablePart, place: str) -> None:
        """A backfill cannot give a row another tenant than the expression of a generated column does."""
        column = table.column(name)
        sole = len(part.paths) == 1 and not part.children and part.orphans in (Orphans.FAIL, Orphans.SHARED)
        if column is not None and column.generated and not sole:
            raise self.lookup.error(
                f"{place}: {table.name}.{name} is a generated column, so only its expression can give rows a tenant",
                remedy='Remove other paths and children, and set orphans to "fail" or "shared".',
            )

    def _check_heirs(self, table: Table, place: str) -> None:
        """A table has the tenant column and the triggers of one owned table, and cannot belong to two."""
        for heir in self.schema.heirs(table.name):
            for other in sorted(self.owned_names - {table.name}):
                if any(one.name == heir.name for one in self.schema.heirs(other)):
                    raise self.lookup.error(
                        f"{place}: {heir.name} inherits from it and from {other}, which is also an owned table",
                        remedy=f"ALTER TABLE {heir.name} NO INHERIT one of them first.",
                    )

    def _check_unique(self, table: Table, name: str, place: str) -> None:
        found = next((unique for unique in table.uniques if unique.name == name), None)
        if found is None or found.primary or found.exclusion:
            known = [unique.name for unique in table.uniques if not unique.primary and not unique.exclusion]
            raise self.lookup.error(
                f"{place} unique: {table.name} has no unique constraint or index {name!r}{nearest(name, known)}"
            )
        if not found.valid:
            raise self.lookup.error(
                f"{place} unique: {name} is not valid: its build was interrupted, or not every partition has its part",
                remedy="REINDEX it, or attach the missing parts; or remove it from the list.",
            )
        for one, part in ((table, found), *self.schema.unique_parts(table.name, name)):
            if part.referenced:
                raise self.lookup.error(
                    f"{place} unique: a foreign key depends on {part.name} of {one.name}, so it must stay global",
                    remedy="Remove it from the list, or change that foreign key first.",
                )

    def _assignment(self, table: Table, part: TablePart, place: str) -> Assignment | None:
        assign = part.assign
        if assign is None:
            return None
        if assign.column is not None:
            self.lookup.column(table, assign.column, f"{place} assign")
            if (column := table.column(assign.column)) is not None and column.generated:
                raise self.lookup.error(
                    f"{place} assign: {table.name}.{assign.column} is a generated column, which has no value yet when"
                    " the trigger assigns a new row",
                    remedy="Use sql = … with the columns that it is computed from.",
                )
        rows = None
        if assign.csv is not None:
            base = self.spec.path.parent if self.spec.path is not None else File()
            rows = read_assignments(base / assign.csv, table, f"{self.lookup.source}: {place} assign")
        return Assignment(tenant=assign.tenant, column=assign.column, expression=assign.sql, rows=rows)

    # --- all together

    def ownership(self) -> Ownership:
        owned = self._all_owned()
        derivation = Derivation(owned=owned, heirs=self.heirs, tenant=self.tenant.name, schema=self.schema)
        certain = derivation.certain()
        owned = {name: replace(table, late=name not in certain) for name, table in owned.items()}
        members = tuple(self._members(owned))
        undecided = dict(self.undecided)
        for name, table in self.schema.tables.items():
            if (
                name not in self.parts
                and name != self.tenant.name
                and name not in self.heirs
                and table.kind is not Kind.FOREIGN
            ):
                undecided[name] = "the spec has no entry for it"
        return Ownership(
            tenant=_with_assigned(self.tenant, owned.values()), setting=self.spec.tenant.setting,
            components=replace(derivation, owned=owned).components(),
            shared=tuple(sorted(name for name, part in self.parts.items() if part.shared)),
            written=frozenset(name for name, part in self.parts.items() if part.shared == "write"),
            members=members, undecided=undecided,
            heirs={
                name: root for name, root in self.heirs.items()
                if root in owned or any(member.table == root for member in members)
            },
            references=tuple(self.references), crossing=self.crossing,
            misfits=tuple(_without_source(error, self.lookup.source) for error in self.errors),
        )  # fmt: skip

    def _members(self, owned: Mapping[Name, Owned]) -> Iterator[Member]:
        """The tables with a membership; those whose link table is undecided are undecided, too."""
        parts = [
            (name, part) for name, part in self.parts.items() if part.membership is not None and part.undecided is None
        ]
        for name, part in parts:
            try:
                yield self._member(name, part, owned)
            except WaitsError as waits:
                self.undecided[name] = f"{waits.on}, which it needs, is undecided"
            except UsageError as error:
                self.errors.append(error)
                self.undecided[name] = MISFIT

    def _member(self, name: Name, part: TablePart, owned: Mapping[Name, Owned]) -> Member:
        place = f"[[table]] {part.name!r}"
        if name in self.heirs:
            raise self.lookup.error(f"{place}: {name} is part of {self.heirs[name]}; list that table only")
        if self.schema.tables[name].kind is Kind.FOREIGN:
            raise self.lookup.error(f"{place}: {name} is a foreign table, which cannot have policies")
        if name == self.tenant.name:
            raise self.lookup.error(f"{place}: this is the tenant table itself; remove the entry")
        link = self.lookup.table(part.membership or "", f"{place} membership")
        if link.name in self.undecided:
            raise WaitsError(link.name)
        if link.name not in owned:
            raise self.lookup.error(
                f"{place} membership: {link.name} is not an owned table, so it does not link rows to tenants",
                remedy=f"Give {link.name} a path to its tenant.",
            )
        if owned[link.name].mixed:
            raise self.lookup.error(
                f"{place} membership: rows of {link.name} without a tenant are shared, and would link to no tenant",
                remedy='Set orphans = "fail", or another value than "shared", for it.',
            )
        keys = [key for key in self.paths.keys(link) if self.heirs.get(key.parent, key.parent) == name]
        if len(keys) != 1:
            listed = ", ".join(f"({', '.join(key.columns)})" for key in keys) or "none"
            raise self.lookup.error(
                f"{place} membership: {link.name} must have exactly one foreign key to {name}, and has {listed}",
                remedy="Use a link table that has one; if the database does not declare it, add a [[reference]].",
            )
        (key,) = keys
        return Member(
            table=name, link=link.name, columns=key.columns, own_columns=key.parent_columns,
            operators=key.operators or (EQUALS,) * len(key.columns), writable=part.writable,
        )  # fmt: skip

    def _all_owned(self) -> dict[Name, Owned]:
        """Tables that depend on one which turns out to be undecided are resolved again, until none does."""
        owned: dict[Name, Owned] = {}
        waiting = sorted(self.owned_names)
        while waiting:
            gone = set()
            for name in waiting:
                try:
                    owned[name] = self._owned(name, self.parts[name])
                except WaitsError as waits:
                    gone.add(name)
                    self.undecided[name] = f"{waits.on}, which it needs, is undecided"
                except UsageError as error:
                    gone.add(name)
                    self.errors.append(error)
                    self.undecided[name] = MISFIT
                if name in gone:
                    self.owned_names.discard(name)
                    owned.pop(name, None)
            waiting = sorted(name for name, table in owned.items() if not gone.isdisjoint(self._stands_on(table)))
        return owned

    def _stands_on(self, table: Owned) -> Iterator[Name]:
        for path in table.paths:
            yield from (self.heirs.get(hop.parent, hop.parent) for hop in path.hops)
        yield from (child.table for child in table.children)


def _with_assigned(tenant: TenantTable, owned: Iterable[Owned]) -> TenantTable:
    """A tenant table that does not exist yet gets the tenants in CSV files, since nobody could have added them."""
    if not tenant.create:
        return tenant
    named = [row[-1] for table in owned if table.assignment is not None for row in table.assignment.rows or ()]
    return replace(tenant, slugs=tuple(dict.fromkeys((*tenant.slugs, *named))))
