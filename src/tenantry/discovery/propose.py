"""From a schema and the census of its data to a proposed spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tenantry.discovery.bookkeeping import ToolTable, tool_table_of
from tenantry.discovery.draft import Draft
from tenantry.discovery.links import Link, Links
from tenantry.discovery.proposal import Decision, Proposal, Undecided
from tenantry.discovery.rules import (
    assigned,
    decided,
    shared_by_data,
    shared_by_keys,
    tool_table,
    unreached,
)
from tenantry.discovery.search import Ask, Search, search
from tenantry.discovery.tenant_table import Candidate, candidates, recognise, tenant_part
from tenantry.errors import UsageError
from tenantry.model.evidence import Evidence
from tenantry.model.name import Name
from tenantry.model.schema import Schema
from tenantry.model.spec import TablePart, TenantPart

DEFAULT = "default"


def propose(
    schema: Schema, *, ask: Ask, tenant_table: str | None = None, undecided: Undecided = Undecided.ASK,
    home: str | None = None, tenancy: TenantPart | None = None,
) -> Proposal:  # fmt: skip
    """The proposal that `discover` writes; `ask` takes the census and is called a few times, each time about more
    tables.

    `tenant_table` is named as in SQL; without it the table is recognised by its name. `home` is the schema of tables
    that are named without one, public unless given, and `tenancy` what a spec contains of the tenants already.

    Raises UsageError if the named table cannot be the tenant table, if several could be, and if there is nothing to
    migrate.
    """
    links = Links(schema)
    if not links.tables:
        raise UsageError(
            f"The schema {', '.join(schema.schemas)} contains no table", remedy="Load the application's schema."
        )
    home = home or ("public" if "public" in schema.schemas else schema.schemas[0])
    name = recognise(schema, links, home, tenant_table)
    tenant = tenancy or tenant_part(schema, links, name, home)
    if name is not None:
        _take_up(links, name, tenant)
    tool_tables = _tool_tables(links, name, tenant)
    links.leave_out(set(tool_tables))
    draft = Draft(links=links, home=home, tenant=tenant, table=name or Name.parse(tenant.table, schema=home))
    unfit = [one for one in candidates(schema, links) if one.problem and one.reached] if name is None else []
    if unfit:
        return _no_tenant(draft, unfit)
    if name is None or not links.reached(name):
        return _one_tenant(draft, tool_tables, found=name is not None)
    return _several_tenants(search(draft, ask), undecided, tool_tables)


def _take_up(links: Links, name: Name, tenant: TenantPart) -> None:
    """Columns with the tenant column's name and type count as references to the tenant table, with or without a foreign
    key."""
    key = links.tables[name].column(tenant.key)
    for table in links.tables.values():
        column = table.column(tenant.column)
        if table.name == name or column is None or key is None or column.base_type != key.base_type:
            continue
        if not any(column.name in link.columns for link in links.up[table.name]):
            links.add(
                Link(
                    table=table.name, columns=(column.name,), parent=name, parent_columns=(tenant.key,),
                    nullable=not column.not_null, declared=False,
                )
            )  # fmt: skip


def _no_tenant(draft: Draft, unfit: Sequence[Candidate]) -> Proposal:
    """No candidate can serve as the tenant table: the data of several tenants is not merged into one new tenant."""
    names = ", ".join(str(one.table) for one in unfit)
    why = f"{names} could be the tenant table, but cannot be used"
    decisions = {
        name: Decision(
            table=name,
            part=TablePart(name=draft.name(name), undecided=why),
            cause=why,
            answer="give it a primary key of one column, and run discover again",
        )
        for name in draft.others
    }
    reasons = (
        *(one.evidence for one in unfit),
        "Give it a primary key of one column (uuid, an integer or text), and run discover again; or choose another"
        " table with --tenant-table.",
    )
    return _proposal(draft, decisions, Evidence(), reasons=reasons, default=None)


def _tool_tables(links: Links, tenant: Name | None, part: TenantPart) -> dict[Name, ToolTable]:
    """The tables of frameworks and migration tools, except those with a tenant column."""
    direct = {link.table for link in links.direct(tenant, part.key)} if tenant is not None else set()
    found = {name: tool_table_of(table) for name, table in links.tables.items() if name not in {tenant, *direct}}
    return {name: tool_tables for name, tool_tables in found.items() if tool_tables is not None}


def _one_tenant(draft: Draft, tool_tables: Mapping[Name, ToolTable], *, found: bool) -> Proposal:
    """Nothing refers to a tenant: the existing business becomes the first one."""
    reasons = [
        f"No table {f'refers to {draft.table}' if found else 'has the name of a tenant table'}: the business"
        f" in this database becomes the first tenant, {DEFAULT!r}, which owns every row.",
        "If all tenants are to see the same reference data, set shared = true instead of assign.",
    ]
    if not found:
        reasons.append("If there is a tenant table, run: tenantry discover --tenant-table TABLE.")
    decisions = {
        name: tool_table(draft, name, tool_tables[name]) if name in tool_tables else assigned(draft, name, DEFAULT)
        for name in draft.others
    }
    return _proposal(draft, decisions, Evidence(), reasons=tuple(reasons), default=DEFAULT)


def _several_tenants(found: Search, undecided: Undecided, tool_tables: Mapping[Name, ToolTable]) -> Proposal:
    decisions = {}
    known = {*found.draft.path_links, *found.draft.children}
    left = {name: one for name, one in found.first.tables.items() if name not in known}
    shared = {name for name, one in left.items() if one.rows}
    common = found.draft.common(shared)
    for name in found.draft.others:
        if name in tool_tables:
            decisions[name] = tool_table(found.draft, name, tool_tables[name])
        elif name in known:
            decisions[name] = decided(found, name)
        elif name in shared:
            decisions[name] = shared_by_data(found, name)
        elif name in left:
            decisions[name] = shared_by_keys(found, name)
        else:
            decisions[name] = unreached(found, name, undecided, DEFAULT, common.get(name))
    default = DEFAULT if undecided is Undecided.DEFAULT else None
    reason = f"The tenants are the rows of {found.draft.table}; {len(known)} tables contain rows of tenants."
    return _proposal(found.draft, decisions, found.evidence, reasons=(reason,), default=default)


def _proposal(
    draft: Draft, decisions: dict[Name, Decision], evidence: Evidence, *, default: str | None,
    reasons: tuple[str, ...] = (),
) -> Proposal:  # fmt: skip
    spec = draft.spec().model_copy(
        update={
            "tenant": draft.tenant.model_copy(update={"default": default}),
            "reference": draft.crossing(),
            "table": tuple(decision.part for decision in decisions.values()),
        }
    )
    return Proposal(spec=spec, tenant=draft.table, reasons=reasons, decisions=decisions, evidence=evidence)
