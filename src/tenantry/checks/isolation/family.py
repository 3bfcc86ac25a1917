"""What leads around the policies, as the catalog shows it. That the policies themselves are in force is a matter of
their steps, which `structure` looks at; what a role can do in fact is tried in `experiment`."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from tenantry.checks.base import CheckContext
from tenantry.checks.isolation.actor import application_user
from tenantry.checks.isolation.beside import beside
from tenantry.checks.isolation.catalog import Catalog, as_check, error, information, listed, texts, warning
from tenantry.checks.isolation.open import open_relations
from tenantry.execution.preflight.powers import powers_of
from tenantry.execution.preflight.rls_bypass import SECURE_VIEWS, function_findings, view_findings
from tenantry.execution.preflight.roles import application_role_findings, unsafe
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind
from tenantry.planning.isolate import UNCHECKED, WRITES

MAINTAIN = 17
"""The first version that has the privilege."""


def isolation(ground: CheckContext) -> Iterator[Finding]:
    """Nothing before isolate is reached: until then every role with privileges sees all rows, as it always did."""
    if not ground.reached(Phase.ISOLATE):
        return
    ground.looking("what leads around the policies")
    catalog = Catalog(ground=ground, user=application_user(ground))
    yield from _role(catalog)
    yield from _powers(catalog)
    yield from _policies(catalog)
    yield from _privileges(catalog)
    opened = list(open_relations(catalog))
    yield from opened
    yield from _views_and_functions(catalog, {finding.table for finding in opened})
    yield from beside(catalog)
    yield from _foreign_tables(catalog)
    yield from _rules(catalog)
    yield from _publications(catalog)
    yield from _tenant_by_default(catalog)


def _role(catalog: Catalog) -> Iterator[Finding]:
    """The application role itself, those whose sight it can take on, and those who log in and are the application."""
    yield from map(as_check, application_role_findings(catalog.scope))
    known = catalog.ground.live.roles.get(catalog.role)
    if known is None:
        return
    for principal in catalog.principals if not known.superuser else ():
        reached = catalog.reach(principal).roles | catalog.reach(principal).having
        # Those whose privileges it simply has were named above, but for legacy roles.
        named = known.usage_of if principal == catalog.role else ()
        others = sorted(
            name for name in (catalog.seeing & reached) - {principal}
            if name in catalog.scope.legacy or name not in named
        )  # fmt: skip
        if principal != catalog.role:
            own = list(unsafe(catalog.scope, catalog.ground.live.roles[principal]))
            own += [f"can act as {listed(others)}"] if others else []
            if own:
                report = error if principal == catalog.user else warning
                yield report(
                    name="application-member-unsafe",
                    message=f"Who connects as {principal} can be the application role {catalog.role}, and no policy"
                    f" holds {principal}: it {' and '.join(own)}",
                    remedy=f"Take these away from it; or REVOKE {quoted(catalog.role)} FROM {quoted(principal)}, if the"
                    " application never connects as it.",
                )  # fmt: skip
        elif others:
            yield error(
                name="application-reaches-role", count=len(others), samples=tuple({"role": name} for name in others),
                message=f"The application role {catalog.role} can act as {listed(others)}, and then sees all rows",
                remedy=f"REVOKE {quoted(others[0])} FROM {quoted(catalog.role)}.",
            )  # fmt: skip


def _powers(catalog: Catalog) -> Iterator[Finding]:
    """What several of them have by the same role is said once."""
    said = set[str]()
    for principal in catalog.principals:
        for finding in powers_of(
            principal, catalog.standings, catalog.memberships, catalog.ground.connection, catalog.scope
        ):
            if finding.remedy not in said:
                said.add(finding.remedy)
                yield as_check(finding)


def _policies(catalog: Catalog) -> Iterator[Finding]:
    """PERMISSIVE policies beside ours: the floor alone holds back what they show."""
    ours = {step.table: step.names for step in catalog.scope.securities}
    added: dict[Name, list[dict[str, Any]]] = {}
    for row in catalog.ask("policies", names=texts(catalog.guarded), roles=list(catalog.actors)):
        table = Name(row.pop("schema"), row.pop("name"))
        if row["policy"] not in ours[table]:
            added.setdefault(table, []).append(row)
    for table, policies in added.items():
        names = [quoted(policy["policy"]) for policy in policies]
        yield warning(
            name="policy-added", table=table, count=len(policies), samples=tuple(policies),
            message=f"The policy {listed(names)} of {table} is for the application too: the RESTRICTIVE floor alone"
            " keeps it from showing other tenants' rows",
            remedy=f"DROP POLICY {names[0]} ON {table}; or make it AS RESTRICTIVE.",
        )  # fmt: skip


def _privileges(catalog: Catalog) -> Iterator[Finding]:
    """What policies do not cover, and writing what all tenants read."""
    never = [privilege for privilege in UNCHECKED if privilege != "MAINTAIN" or catalog.scope.schema.major >= MAINTAIN]
    for name, held in catalog.privileges(catalog.guarded, never).items():
        if catalog.scope.has(catalog.role, frozenset((catalog.ground.live.tables[name].owner,))):
            continue  # An owner has them all; that it is one was said above.
        yield error(
            name="privilege-past-policies", table=name, count=len(held.privileges),
            message=f"{catalog.holders(held)} has {', '.join(held.privileges)} on {name}, which no policy holds back",
            remedy=catalog.revoke(held, name),
        )  # fmt: skip
    tenant = catalog.ground.ownership.tenant.name
    ownership = catalog.ground.ownership
    read = [name for name in ownership.shared if catalog.wants(name) and name not in ownership.written]
    writes = {
        **catalog.privileges(read, (*WRITES, *never)),
        **catalog.privileges([name for name in ownership.written if catalog.wants(name)], never),
    }
    # Of the tenant table the others were asked above.
    writes = {**writes, **catalog.privileges([tenant] if catalog.wants(tenant) else [], WRITES)}
    for name, held in writes.items():
        yield warning(
            name="shared-table-writable", table=name, count=len(held.privileges),
            message=f"{catalog.holders(held)} has {', '.join(held.privileges)} on {name}, which all tenants"
            f" {'share' if name in ownership.written else 'read'}: one of them can change it for all",
            remedy=catalog.revoke(held, name)
            + (' Or say shared = "write" of it in the spec.' if name in read else ""),
        )  # fmt: skip


def _views_and_functions(catalog: Catalog, opened: Container[Name | None]) -> Iterator[Finding]:
    """What the application may read of views that are `opened` was said by then."""
    scope = catalog.scope
    yield from (
        as_check(found) for found in view_findings(scope) if found.table not in opened and _about_wanted(catalog, found)
    )
    plain = [view.name for view in scope.views if view.kind is Kind.VIEW]
    if plain and scope.schema.major < SECURE_VIEWS:
        yield information(
            name="views-as-owner", count=len(plain), samples=tuple({"view": str(name)} for name in plain),
            message=f"Before PostgreSQL 15 no view is held to the policies of whoever reads it: {listed(plain)}",
            remedy="Let the application read the tables, or upgrade to PostgreSQL 15 and migrate again.",
        )  # fmt: skip
    reached = catalog.ask("reached_functions", roles=list(catalog.actors))
    signatures = frozenset(row["signature"] for row in reached)
    yield from (as_check(found) for found in function_findings(scope, signatures) if _about_wanted(catalog, found))


def _about_wanted(catalog: Catalog, finding: Finding) -> bool:
    """Of a view, whether it reads a wanted table; --table of none wants all."""
    if catalog.ground.tables is None or finding.table is None:
        return True
    waiting, seen = [finding.table], set[Name]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        view = catalog.ground.schema.views.get(name)
        if view is None and catalog.ground.wants(name):
            return True
        waiting.extend(view.reads if view is not None else ())
    return False


def _foreign_tables(catalog: Catalog) -> Iterator[Finding]:
    shared = catalog.ground.ownership.shared
    foreign = [
        name
        for name, table in sorted(catalog.ground.live.tables.items())
        if table.kind is Kind.FOREIGN and name not in shared and catalog.ground.wants(name)
    ]
    for name, held in catalog.privileges(foreign, ("SELECT", *WRITES)).items():
        yield error(
            name="foreign-table-open", table=name, count=len(held.privileges),
            message=f"{catalog.holders(held)} has {', '.join(held.privileges)} on the foreign table {name}, where there"
            " are no policies",
            remedy=f"REVOKE ALL ON {name} FROM {quoted(catalog.holders(held))}, PUBLIC; or say shared = true of it in"
            " the spec.",
        )  # fmt: skip


def _rules(catalog: Catalog) -> Iterator[Finding]:
    found: dict[tuple[Name, str, str], list[Name]] = {}
    for row in catalog.ask("rules", names=texts(catalog.guarded)):
        key = (Name(row["schema"], row["name"]), row["rule"], row["owner"])
        found.setdefault(key, []).append(Name(row["read_schema"], row["read_name"]))
    for (table, rule, owner), reads in found.items():
        yield warning(
            name="rule-runs-as-owner", table=table, count=len(reads),
            message=f"What the rule {quoted(rule)} of {table} does to {listed(reads)}, it does as {owner}, past the"
            " policies of whoever writes",
            remedy=f"DROP RULE {quoted(rule)} ON {table}, and make a trigger of it; or see that it touches no more.",
        )  # fmt: skip


def _publications(catalog: Catalog) -> Iterator[Finding]:
    found: dict[str, list[Name]] = {}
    for row in catalog.ask("publications", names=texts(catalog.guarded)):
        found.setdefault(row["publication"], []).append(Name(row["schema"], row["name"]))
    for publication, tables in found.items():
        yield information(
            name="publication", count=len(tables), samples=tuple({"table": str(name)} for name in tables[:20]),
            message=f"The publication {quoted(publication)} sends rows of all tenants to whoever subscribes:"
            f" {listed(tables)}",
            remedy="See that only databases for all tenants subscribe, or give the tables a WHERE (PostgreSQL 15).",
        )  # fmt: skip


def _tenant_by_default(catalog: Catalog) -> Iterator[Finding]:
    setting = catalog.ground.ownership.setting
    rows = catalog.ask("tenants_by_default", role=catalog.role, setting=setting)
    for row in rows:
        database = row["database"]
        what = f"ALTER ROLE {quoted(row['role'])}" if row["role"] else "ALTER ROLE ALL"
        what += f" IN DATABASE {quoted(database)}" if database else ""
        yield warning(
            name="tenant-by-default",
            message=f"{what} SET {setting} gives sessions that name no tenant the rows of one",
            remedy=f"{what} RESET {setting}.",
        )
