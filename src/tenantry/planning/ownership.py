"""Resolves a spec against a schema: names to tables, columns to foreign keys, tables to their order of derivation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path as File
from typing import TypeVar

from tenantry.errors import UsageError, nearest
from tenantry.model.name import Name, split
from tenantry.model.ownership import Assignment, Child, Hop, Owned, Ownership, Path, TenantTable
from tenantry.model.schema import ForeignKey, Kind, Schema, Table
from tenantry.model.spec import Orphans, ReferencePart, Spec, TablePart
from tenantry.planning.assignments import read_assignments
from tenantry.planning.derivation import Derivation

Part = TypeVar("Part")
Value = TypeVar("Value")
MISFIT = "what the spec says of it does not fit the database"
KEY_TYPES = ("uuid", "smallint", "integer", "bigint", "text", "character varying", "character")


def resolve(spec: Spec, schema: Schema, *, lenient: bool = False) -> Ownership:
    """Who owns which rows of this database. Raises UsageError where the spec does not fit it; `lenient`: what does not
    fit is left out, and the ownership says why."""
    return _Resolver(spec, schema, lenient=lenient).ownership()


def foreign_keys(schema: Schema, table: Table) -> tuple[ForeignKey, ...]:
    """The foreign keys of a table; those that only its partitions declare count as its own."""
    found: dict[tuple[tuple[str, ...], Name], ForeignKey] = {}
    for part in schema.tree(table.name):
        for key in part.foreign_keys:
            if not key.inherited or part.name == table.name:
                found.setdefault((key.columns, key.parent), key)
    return tuple(found.values())


class _WaitsError(Exception):
    """A table's way ends at one that is undecided: so is the table."""

    def __init__(self, on: Name) -> None:
        super().__init__(on)
        self.on = on


class _Resolver:
    def __init__(self, spec: Spec, schema: Schema, *, lenient: bool) -> None:
        self.spec = spec
        self.schema = schema
        self.lenient = lenient
        self.misfits: list[str] = []
        self.source = str(spec.path or "the spec")
        self.home = spec.schemas[0]
        self.heirs = self._heirs()
        self.references = list(self._fitting(self._reference, spec.reference))
        self.parts = dict(self._fitting(self._part, spec.table))
        self.tenant_name = Name.parse(spec.tenant.table, schema=self.home)
        self.tenant = self._tenant()
        self.owned_names = {
            name for name, part in self.parts.items()
            if not part.shared and part.undecided is None
        }  # fmt: skip
        self.undecided = {
            name: part.undecided for name, part in self.parts.items() if part.undecided is not None
        }  # fmt: skip

    def _fitting(self, read: Callable[[Part], Value], parts: Iterable[Part]) -> Iterator[Value]:
        """What each part of the spec means; where lenient, of those that fit."""
        for part in parts:
            try:
                yield read(part)
            except UsageError as error:
                self._misfit(error)

    def _misfit(self, error: UsageError) -> None:
        if not self.lenient:
            raise error
        self.misfits.append(error.message.removeprefix(f"{self.source}: "))

    def _part(self, part: TablePart) -> tuple[Name, TablePart]:
        return self._table(part.name, f"[[table]] {part.name!r}").name, part

    def _error(self, message: str, remedy: str = "") -> UsageError:
        return UsageError(f"{self.source}: {message}", remedy=remedy)

    def _heirs(self) -> dict[Name, Name]:
        heirs: dict[Name, Name] = {}
        for table in self.schema.tables.values():
            if table.partition_of is None and not table.inherits:
                for partition in self.schema.partitions(table.name):
                    heirs[partition.name] = table.name
                for heir in self.schema.heirs(table.name):
                    heirs[heir.name] = table.name
        return heirs

    def _table(self, text: str, place: str) -> Table:
        name = Name.parse(text, schema=self.home)
        table = self.schema.tables.get(name)
        if table is None:
            valid = [str(known) for known in self.schema.tables]
            short = [known.name for known in self.schema.tables if known.schema == self.home]
            raise self._error(
                f"{place}: there is no table {name}{nearest(str(name), valid) or nearest(name.name, short)}"
            )
        return table

    def _column(self, table: Table, name: str, place: str) -> str:
        if table.column(name) is None:
            hint = nearest(name, [column.name for column in table.columns])
            raise self._error(f"{place}: {table.name} has no column {name!r}{hint}")
        return name

    # --- the tenant table

    def _tenant(self) -> TenantTable:
        part = self.spec.tenant
        table = self.schema.tables.get(self.tenant_name)
        if table is None:
            if not part.create and not self.lenient:
                raise self._error(
                    f"[tenant] table: there is no table {self.tenant_name}"
                    + nearest(str(self.tenant_name), [str(known) for known in self.schema.tables]),
                    remedy="Name the tenant table, or set create = true to have one made.",
                )
            return self._with_slugs(
                TenantTable(name=self.tenant_name, key=part.key, slug=part.slug, type="uuid", create=part.create)
            )
        self._column(table, part.slug, "[tenant] slug")
        key = table.column(self._column(table, part.key, "[tenant] key"))
        assert key is not None
        if key.base_type.partition("(")[0] not in KEY_TYPES:
            raise self._error(
                f"[tenant] key: {table.name}.{key.name} is of type {key.type}; a tenant key is uuid, an integer or text"
            )
        if not any(unique.columns == (key.name,) and not unique.partial for unique in table.uniques):
            raise self._error(f"[tenant] key: {table.name}.{key.name} is neither the primary key nor unique")
        return self._with_slugs(TenantTable(name=table.name, key=key.name, slug=part.slug, type=key.base_type))

    def _with_slugs(self, tenant: TenantTable) -> TenantTable:
        part, tables = self.spec.tenant, self.spec.table
        wants_default = any(table.orphans is Orphans.DEFAULT for table in tables)
        if wants_default and part.default is None:
            raise self._error("[tenant] default is missing, and a table has orphans = 'default'")
        quarantine = part.quarantine if any(table.orphans is Orphans.QUARANTINE for table in tables) else None
        named = [
            table.assign.tenant for table in tables if table.assign is not None and table.assign.tenant is not None
        ]
        return replace(tenant, default=part.default, quarantine=quarantine, slugs=tuple(dict.fromkeys(named)))

    # --- paths

    def _reference(self, part: ReferencePart) -> tuple[Name, ForeignKey]:
        """A [[reference]] as a foreign key that is not declared."""
        sides = []
        for text in (part.child, part.parent):
            parts = split(text)
            if len(parts) < 2:
                raise self._error(f"[[reference]]: {text!r} is not table.column")
            name = Name(parts[0], parts[1]) if len(parts) == 3 else Name(self.home, parts[0])
            table = self._table(str(name), "[[reference]]")
            sides.append((table.name, self._column(table, parts[-1], "[[reference]]")))
        (child, column), (parent, parent_column) = sides
        key = ForeignKey(
            name=f"reference_{column}", columns=(column,), parent=parent, parent_columns=(parent_column,),
            operators=(("pg_catalog", "="),), declared=False, validated=False,
        )  # fmt: skip
        return child, key

    def _keys(self, table: Table) -> list[ForeignKey]:
        return [*foreign_keys(self.schema, table), *(key for name, key in self.references if name == table.name)]

    def _hop(self, table: Table, columns: tuple[str, ...], place: str, *, last: bool) -> tuple[Hop, Table | None]:
        for column in columns:
            self._column(table, column, place)
        keys = [key for key in self._keys(table) if sorted(key.columns) == sorted(columns)]
        ends = [key for key in keys if self._root(key.parent) in self.owned_names or key.parent == self.tenant_name]
        candidates = ends if last and ends else keys
        if not candidates:
            only = table.column(columns[0])
            if len(columns) == 1 and only is not None and last and only.base_type == self.tenant.type:
                hop = Hop(columns=columns, parent=self.tenant_name, parent_columns=(self.tenant.key,),
                          operators=(("pg_catalog", "="),), nullable=not only.not_null)  # fmt: skip
                return hop, None
            known = ["(" + ", ".join(key.columns) + ")" for key in self._keys(table)]
            raise self._error(
                f"{place}: {table.name} has no foreign key on ({', '.join(columns)})"
                + (f"; it has {', '.join(known)}" if known else ""),
                remedy="Name the columns of a foreign key, or declare a [[reference]].",
            )
        key = candidates[0]
        nullable = not key.declared or not key.validated or any(
            # In a BEFORE trigger a generated column is still NULL: its rows get their tenant later.
            not (found := table.column(name)) or not found.not_null or found.generated for name in key.columns
        )  # fmt: skip
        parent = self.schema.tables.get(key.parent)
        unique = key.declared or (
            parent is not None
            and any(set(found.columns) == set(key.parent_columns) and not found.partial for found in parent.uniques)
        )
        hop = Hop(columns=key.columns, parent=key.parent, parent_columns=key.parent_columns,
                  operators=key.operators or (("pg_catalog", "="),) * len(key.columns),
                  nullable=nullable, deferrable=key.deferrable, unique=unique)  # fmt: skip
        return hop, parent

    def _root(self, name: Name) -> Name:
        return self.heirs.get(name, name)

    def _path(self, table: Table, columns: Iterable[tuple[str, ...]], place: str) -> Path:
        hops: list[Hop] = []
        at: Table | None = table
        steps = list(columns)
        for number, names in enumerate(steps, start=1):
            if at is None:
                raise self._error(f"{place}: the path goes on behind the tenant table")
            hop, at = self._hop(at, names, place, last=number == len(steps))
            hops.append(hop)
            if hop.parent == self.tenant_name or self._root(hop.parent) in self.owned_names:
                return Path(hops=tuple(hops))
        if hops and self._root(hops[-1].parent) in self.undecided:
            raise _WaitsError(self._root(hops[-1].parent))
        raise self._error(
            f"{place}: the path ends in {hops[-1].parent if hops else table.name},"
            " which is neither owned nor the tenant table",
            remedy="Add hops until it reaches an owned table or the tenant table.",
        )

    def _child(self, table: Table, text: str, place: str) -> Child:
        parts = split(text)
        if len(parts) < 2:
            raise self._error(f"{place}: {text!r} is not table.column")
        name = Name(parts[0], parts[1]) if len(parts) == 3 else Name(self.home, parts[0])
        child = self._table(str(name), place)
        self._column(child, parts[-1], place)
        for key in self._keys(child):
            if parts[-1] in key.columns and self._root(key.parent) == table.name:
                if child.name in self.undecided:
                    raise _WaitsError(child.name)
                if child.name not in self.owned_names:
                    raise self._error(f"{place}: {child.name} is not owned, so it cannot tell an owner")
                return Child(table=child.name, columns=key.columns, own_columns=key.parent_columns,
                             operators=key.operators or (("pg_catalog", "="),) * len(key.columns),
                             deferrable=key.deferrable)  # fmt: skip
        raise self._error(f"{place}: {child.name}.{parts[-1]} is no foreign key to {table.name}")

    # --- tables

    def _owned(self, name: Name, part: TablePart) -> Owned:
        place = f"[[table]] {part.name!r}"
        table = self.schema.tables[name]
        if name in self.heirs:
            raise self._error(f"{place}: {name} follows {self.heirs[name]}; name that table only")
        if table.kind is Kind.FOREIGN:
            raise self._error(f"{place}: {name} is a foreign table, which cannot be owned", "Set shared = true.")
        if name == self.tenant_name:
            raise self._error(f"{place}: this is the tenant table itself; leave it out")
        paths = tuple(self._path(table, path, f"{place} paths") for path in part.paths)
        children = tuple(self._child(table, child, f"{place} children") for child in part.children)
        direct = paths[0] if paths and len(paths[0].hops) == 1 and self._is_tenant_key(paths[0].hops[0]) else None
        column = part.column or (direct.columns[0] if direct else self.spec.tenant.column)
        given = direct is not None and direct.columns == (column,)
        self._check_column(table, column, given=given, place=place)
        for unique in part.unique:
            self._check_unique(table, unique, place)
        return Owned(
            table=name, column=column, given=given, mixed=part.orphans is Orphans.SHARED, paths=paths,
            children=children, assignment=self._assignment(table, part, place), orphans=part.orphans,
            unique=part.unique,
        )  # fmt: skip

    def _is_tenant_key(self, hop: Hop) -> bool:
        return hop.parent == self.tenant_name and hop.parent_columns == (self.tenant.key,)

    def _check_column(self, table: Table, name: str, *, given: bool, place: str) -> None:
        for part in (*self.schema.tree(table.name), *self.schema.heirs(table.name)):
            column = part.column(name)
            if column is None or (given and part.name != table.name):
                continue
            if column.base_type != self.tenant.type:
                raise self._error(
                    f"{place}: {part.name}.{name} is of type {column.type}, the tenant key of type {self.tenant.type}",
                    remedy="Change the column's type, or choose another name with [tenant] column"
                    f" or column = … in {place}.",
                )
            if not given and table.name not in self.schema.kept:
                # An heir's own column would be merged with ours, and keep its values (hazard 7).
                raise self._error(
                    f"{place}: {part.name} already has a column {name!r}",
                    remedy=f'Write paths = [["{name}"]] if it holds the tenant, or choose another name'
                    " with column = ….",
                )

    def _check_unique(self, table: Table, name: str, place: str) -> None:
        found = next((unique for unique in table.uniques if unique.name == name), None)
        if found is None or found.primary or found.exclusion:
            known = [unique.name for unique in table.uniques if not unique.primary and not unique.exclusion]
            raise self._error(
                f"{place} unique: {table.name} has no unique constraint or index {name!r}{nearest(name, known)}"
            )
        if found.referenced:
            raise self._error(
                f"{place} unique: a foreign key depends on {name}, so it must stay global",
                remedy="Take it out of the list, or change that foreign key first.",
            )

    def _assignment(self, table: Table, part: TablePart, place: str) -> Assignment | None:
        assign = part.assign
        if assign is None:
            return None
        if assign.column is not None:
            self._column(table, assign.column, f"{place} assign")
        rows = None
        if assign.csv is not None:
            base = self.spec.path.parent if self.spec.path is not None else File()
            rows = read_assignments(base / assign.csv, table, f"{self.source}: {place} assign")
        return Assignment(tenant=assign.tenant, column=assign.column, expression=assign.sql, rows=rows)

    # --- all together

    def ownership(self) -> Ownership:
        owned = self._all_owned()
        derivation = Derivation(owned=owned, heirs=self.heirs, tenant=self.tenant_name, schema=self.schema)
        certain = derivation.certain()
        owned = {name: replace(table, late=name not in certain) for name, table in owned.items()}
        undecided = dict(self.undecided)
        for name, table in self.schema.tables.items():
            if (
                name not in self.parts
                and name != self.tenant_name
                and name not in self.heirs
                and table.kind is not Kind.FOREIGN
            ):
                undecided[name] = "the spec does not name it"
        return Ownership(
            tenant=_with_assigned(self.tenant, owned.values()), setting=self.spec.tenant.setting,
            components=replace(derivation, owned=owned).components(),
            shared=tuple(sorted(name for name, part in self.parts.items() if part.shared)),
            undecided=undecided, heirs={name: root for name, root in self.heirs.items() if root in owned},
            references=tuple(self.references), misfits=tuple(self.misfits),
        )  # fmt: skip

    def _all_owned(self) -> dict[Name, Owned]:
        owned: dict[Name, Owned] = {}
        for name in sorted(self.owned_names):
            try:
                owned[name] = self._owned(name, self.parts[name])
            except _WaitsError as waits:
                self.owned_names.discard(name)
                self.undecided[name] = f"{waits.on}, which it needs, is undecided"
                return self._all_owned()
            except UsageError as error:
                self._misfit(error)
                self.owned_names.discard(name)
                self.undecided[name] = MISFIT
                return self._all_owned()
        return owned


def _with_assigned(tenant: TenantTable, owned: Iterable[Owned]) -> TenantTable:
    """A tenant table that is yet to be made gets the tenants that CSV files name: nobody could have added them."""
    if not tenant.create:
        return tenant
    named = [row[-1] for table in owned if table.assignment is not None for row in table.assignment.rows or ()]
    return replace(tenant, slugs=tuple(dict.fromkeys((*tenant.slugs, *named))))
