"""Isolate: the application role, its grants, the default from the setting, row-level security, views. From then on a
tenant sees only its own rows."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import Executed, Grant, Kind, Table, View
from tenantry.planning.context import PlanContext
from tenantry.planning.executed import executed, schemas_named, sequences_named
from tenantry.steps import (
    ApiKeyReader,
    ApiKeys,
    ApiKeyTenants,
    ApplicationGrants,
    ApplicationRole,
    ContextDefault,
    FunctionGrant,
    InvokerView,
    RowSecurity,
    SchemaUsage,
    Step,
)  # fmt: skip
from tenantry.steps.derivation import BySlug
from tenantry.steps.row_security import MembershipLink, Sight

PHASE = Phase.ISOLATE
OWN = ("SELECT", "INSERT", "UPDATE", "DELETE")
READ = ("SELECT",)
UNCHECKED = ("TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
"""Privileges that policies do not apply to."""
WRITES = ("INSERT", "UPDATE", "DELETE")


def isolate_steps(context: PlanContext) -> Iterator[Step]:
    role = context.spec.application.role
    tenant = context.ownership.tenant.name
    yield ApplicationRole(phase=PHASE, table=tenant, role=role)
    for unit in context.units():
        # A column that a generated column's expression fills needs no default, and cannot have one.
        for table in unit.all if not context.generated_tenant(unit) else ():
            yield ContextDefault(
                phase=PHASE, table=table.name, column=unit.owned.column, type=context.setting_type,
                setting=context.ownership.setting,
            )  # fmt: skip
    yield from row_securities(context, legacy=context.spec.application.legacy_roles)
    # After the policies, so that the role can never read without them, also not during a rollback.
    yield from _schema_usage(context, role)
    yield from _grants(context, role)
    yield from _views(context, role)
    if context.spec.application.api_keys:
        yield ApiKeys(phase=PHASE, table=tenant)
        yield ApiKeyTenants(phase=PHASE, table=tenant, column=context.ownership.tenant.key)
        yield ApiKeyReader(phase=PHASE, table=tenant, role=role)


def _schema_usage(context: PlanContext, role: str) -> Iterator[Step]:
    """The schemas of the objects that the role uses, types included, and of those that functions running with its
    privileges use."""
    tables = [owned.table for owned in context.ownership.owned]
    tables += [member.table for member in context.ownership.members]
    tables += [*context.ownership.shared, context.ownership.tenant.name, *(view.name for view in _shown(context))]
    one_each = {table.schema: table for table in sorted(tables, reverse=True)}
    for name, schema in (*_type_schemas(context), *_named_schemas(context)):
        one_each.setdefault(schema, Name(schema, name.name))
    for _, table in sorted(one_each.items()):
        yield SchemaUsage(phase=PHASE, table=table, role=role)


def _type_schemas(context: PlanContext) -> Iterator[tuple[Name, str]]:
    """For each table, the schemas of its columns' types, which statements may use."""
    names = [owned.table for owned in context.ownership.owned]
    names += [member.table for member in context.ownership.members]
    for name in (*names, *context.ownership.shared, context.ownership.tenant.name):
        for column in context.schema.tables[name].columns if name in context.schema.tables else ():
            if column.type_schema not in ("pg_catalog", "information_schema"):
                yield name, column.type_schema


def _named_schemas(context: PlanContext) -> Iterator[tuple[Name, str]]:
    for name, function in _executed(context):
        for schema in schemas_named(context.schema, function):
            yield name, schema


# --- grants


def _grants(context: PlanContext, role: str) -> Iterator[Step]:
    users: dict[Name, list[Name]] = {}
    callers: dict[Executed, list[Name]] = {}
    for name, function in _executed(context):
        for sequence in sequences_named(context.schema, function):
            users.setdefault(sequence, []).append(name)
        if not function.public and function.trigger is None:
            callers.setdefault(function, []).append(name)
    for unit in context.units():
        # A tenant may not write links: it could make any row its own.
        links = unit.owned.table in context.links
        never: tuple[str, ...] = (*WRITES, *UNCHECKED) if links else UNCHECKED
        yield _grant(unit.table, unit.name, role, READ if links else OWN, never)
        for part in unit.tree:
            if any(grant.grantee == role for grant in part.grants):
                yield _grant(part, part.name, role, (), never)
        for sequence in {name for table in unit.all for name in table.sequences}:
            users.setdefault(sequence, []).append(unit.name)
    for name in context.ownership.written:
        for sequence in {name for table in context.schema.tree(name) for name in table.sequences}:
            users.setdefault(sequence, []).append(name)
    for sequence, tables in sorted(users.items()):
        yield ApplicationGrants(
            phase=PHASE, table=sequence, role=role, grants=("USAGE",), object="SEQUENCE",
            used_by=tuple(dict.fromkeys(tables)),
        )  # fmt: skip
    for function, tables in callers.items():
        yield FunctionGrant(
            phase=PHASE, table=min(tables), role=role, signature=function.signature,
            used_by=tuple(dict.fromkeys(tables)),
        )  # fmt: skip
    for name in context.ownership.shared:
        grants, withheld = (OWN, UNCHECKED) if name in context.ownership.written else (READ, (*WRITES, *UNCHECKED))
        yield _grant(context.schema.tables[name], name, role, grants, withheld)
    for member in context.ownership.members:
        writes = ("UPDATE",) if member.writable else ()
        held = (*(privilege for privilege in WRITES if privilege not in writes), *UNCHECKED)
        for table in context.family(member.table):
            whole = (*READ, *writes) if table.name == member.table else ()
            if whole or any(grant.grantee == role for grant in table.grants):
                yield _grant(table, table.name, role, whole, held, link=member.link)
    tenant = context.ownership.tenant.name
    yield _grant(context.schema.tables.get(tenant), tenant, role, READ, (*WRITES, *UNCHECKED))


def _grant(
    table: Table | View | None, name: Name, role: str, grants: tuple[str, ...], never: tuple[str, ...],
    left_out: str = "", link: Name | None = None,
) -> Step:  # fmt: skip
    held: tuple[Grant, ...] = () if table is None else table.grants
    revokes = tuple(
        dict.fromkeys(
            (grant.privilege, grant.grantor) for grant in held if grant.grantee == role and grant.privilege in never
        )
    )
    return ApplicationGrants(
        phase=PHASE, table=name, role=role, grants=grants, revokes=revokes, left_out=left_out, link=link
    )  # fmt: skip


# --- row security


def row_securities(context: PlanContext, *, legacy: tuple[str, ...]) -> Iterator[RowSecurity]:
    """The row-level security of every relation that contains or shows owned rows, partitions and children included."""
    readers = context.readers
    for unit in context.units():
        sight = Sight.MIXED if unit.owned.mixed else Sight.OWN
        sight = Sight.LINK if unit.owned.table in context.links else sight
        roles = readers.get(unit.owned.table, ())
        for table in unit.all:
            yield _row_security(context, table.name, unit.owned.column, (table.owner, *roles), sight, legacy)
    for member in context.ownership.members:
        link = MembershipLink(table=member.link, columns=member.columns, own_columns=member.own_columns,
                    operators=member.operators, tenant=context.column(member.link))  # fmt: skip
        sight = Sight.WRITING_MEMBER if member.writable else Sight.MEMBER
        for table in context.family(member.table):
            yield _row_security(context, table.name, member.own_columns[0], (table.owner,), sight, legacy, link)
    tenant = context.ownership.tenant
    known = context.schema.tables.get(tenant.name)
    owner = known.owner if known is not None else context.operator
    yield _row_security(
        context, tenant.name, tenant.key, (owner, *readers.get(tenant.name, ())), Sight.READ, legacy
    )  # fmt: skip


def _row_security(
    context: PlanContext, table: Name, column: str, roles: tuple[str, ...], sight: Sight, legacy: tuple[str, ...],
    link: MembershipLink | None = None,
) -> RowSecurity:  # fmt: skip
    """`roles`: its owner, then the roles as which triggers read it."""
    operators = tuple(dict.fromkeys((*context.operators(roles[0]), *roles[1:])))
    return RowSecurity(
        phase=PHASE, table=table, column=column, type=context.setting_type, setting=context.ownership.setting,
        sight=sight, role=context.spec.application.role, operators=operators, filtered=context.filtered(operators),
        legacy=legacy, link=link, quarantine=_quarantine(context) if link is None else None,
    )  # fmt: skip


def _quarantine(context: PlanContext) -> BySlug | None:
    slug = context.ownership.tenant.quarantine
    return None if slug is None else BySlug(tenant=context.reference, slug=slug)


# --- views


def _guarded(context: PlanContext) -> set[Name]:
    """The relations whose rows belong to tenants."""
    guarded = {context.ownership.tenant.name}
    for unit in context.units():
        guarded.update(table.name for table in unit.all)
    for member in context.ownership.members:
        guarded.update(table.name for table in context.family(member.table))
    return guarded


def _reads_guarded(context: PlanContext, view: View, guarded: set[Name], seen: frozenset[Name] = frozenset()) -> bool:
    if view.name in seen:
        return False
    return any(
        name in guarded
        or (
            name in context.schema.views
            and _reads_guarded(context, context.schema.views[name], guarded, seen | {view.name})
        )
        for name in view.reads
    )


def _shown(context: PlanContext) -> Iterator[View]:
    """The views of the spec's schemas that the application may read: before PostgreSQL 15, and for materialized views
    always, policies do not apply to those over owned tables."""
    guarded = _guarded(context)
    for view in sorted(context.schema.views.values(), key=lambda view: view.name):
        if view.name.schema in context.schema.schemas and (
            _invokes(context, view) or not _reads_guarded(context, view, guarded)
        ):
            yield view


def _invokes(context: PlanContext, view: View) -> bool:
    return view.kind is Kind.VIEW and context.schema.major >= 15


def _executed(context: PlanContext) -> Iterator[tuple[Name, Executed]]:
    yield from executed(context, (view.name for view in _shown(context)))


def _views(context: PlanContext, role: str) -> Iterator[Step]:
    """Views over owned tables run as the role that queries them. The application may read them, and write through those
    that PostgreSQL can update itself, where the policies apply; not through triggers and rules of others."""
    guarded = _guarded(context)
    shown = {view.name for view in _shown(context)}
    for view in sorted(context.schema.views.values(), key=lambda view: view.name):
        of_tenants = _reads_guarded(context, view, guarded)
        if of_tenants and _invokes(context, view):
            yield InvokerView(phase=PHASE, table=view.name)
        if view.name in shown:
            writes = tuple(statement for statement in WRITES if of_tenants and statement in view.writable)
            yield _grant(view, view.name, role, (*READ, *writes), UNCHECKED, _left_out(view, role, writes))
        elif view.name.schema in context.schema.schemas and any(grant.grantee == role for grant in view.grants):
            yield _grant(view, view.name, role, (), (*READ, *WRITES, *UNCHECKED))


def _left_out(view: View, role: str, writes: tuple[str, ...]) -> str:
    others = {
        grant.privilege
        for grant in view.grants
        if grant.grantee not in (view.owner, role) and grant.privilege in WRITES and grant.privilege not in writes
    }
    given = ", ".join(privilege for privilege in WRITES if privilege in others)
    return f"other roles may {given} there; {role} may not, unless you grant it" if given else ""
