"""What leads around the policies, as the catalog shows it. That the policies themselves are in force is a matter of
their steps, which `structure` looks at; what a role can do in fact is tried in `experiment`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from tenantry.checks.check import Ground
from tenantry.execution.preflight.around import SECURE_VIEWS, function_findings, view_findings
from tenantry.execution.preflight.roles import application_role_findings
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind
from tenantry.planning.isolate import UNCHECKED, WRITES
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "isolation.sql")
MAINTAIN = 17
"""The first version that has the privilege."""

_error = partial(Finding, family=Family.ISOLATION, severity=Severity.ERROR)
_warning = partial(Finding, family=Family.ISOLATION, severity=Severity.WARNING)
_information = partial(Finding, family=Family.ISOLATION, severity=Severity.INFO)


def isolation(ground: Ground) -> Iterator[Finding]:
    """Nothing before isolate is reached: until then every role with privileges sees all rows, as it always did."""
    if not ground.reached(Phase.ISOLATE):
        return
    ground.looking("what leads around the policies")
    catalog = _Catalog(ground=ground)
    yield from _role(catalog)
    yield from _policies(catalog)
    yield from _privileges(catalog)
    yield from _views_and_functions(catalog)
    yield from _foreign_tables(catalog)
    yield from _rules(catalog)
    yield from _publications(catalog)
    yield from _tenant_by_default(catalog)


@dataclass(frozen=True, kw_only=True)
class _Catalog:
    """What is guarded, and the questions asked of the catalog about it."""

    ground: Ground

    @cached_property
    def scope(self) -> Scope:
        return Scope.of(self.ground.schema, self.ground.plan, Phase.CONTRACT)

    @property
    def role(self) -> str:
        return self.ground.spec.application.role

    @cached_property
    def role_exists(self) -> bool:
        return self.role in self.ground.live.roles

    @cached_property
    def guarded(self) -> tuple[Name, ...]:
        """The relations that have policies of ours, and are wanted."""
        return tuple(sorted(name for name in self.scope.guarded if self.wants(name) and self.ground.has(name)))

    def wants(self, name: Name) -> bool:
        tenant = self.ground.ownership.tenant.name
        return self.ground.wants(name) or (name == tenant and self.ground.tables is None)

    def ask(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.ground.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_QUERIES[query], parameters).fetchall()

    def privileges(self, names: Iterable[Name], privileges: Sequence[str]) -> Mapping[Name, list[str]]:
        """Those of `privileges` that the application role has on each relation, in whatever way."""
        rows = self.ask("privileges", role=self.role, names=_texts(names), privileges=list(privileges))
        return {Name(row["schema"], row["name"]): row["privileges"] for row in rows}


def _texts(names: Iterable[Name]) -> list[str]:
    return [name.identifier.as_string(None) for name in names]


def _listed(names: Sequence[Any]) -> str:
    """The first three, and how many more."""
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _as_check(finding: Finding) -> Finding:
    """A preflight's finding, said of what is there now."""
    remedy = f"{finding.remedy[0].upper()}{finding.remedy[1:]}."
    return replace(finding, family=Family.ISOLATION, refuses=False, forcible=True, remedy=remedy)


def _role(catalog: _Catalog) -> Iterator[Finding]:
    """The application role itself, and those whose sight it can take on."""
    yield from map(_as_check, application_role_findings(catalog.scope))
    known = catalog.ground.live.roles.get(catalog.role)
    if known is None:
        return
    seeing = catalog.scope.operators | catalog.scope.legacy
    reached = [row["name"] for row in catalog.ask("reached_roles", role=catalog.role, roles=sorted(seeing))]
    # Those whose privileges it simply has were named above, but for legacy roles.
    others = [name for name in reached if name in catalog.scope.legacy or name not in known.usage_of]
    if others:
        yield _error(
            name="application-reaches-role", count=len(others), samples=tuple({"role": name} for name in others),
            message=f"The application role {catalog.role} can act as {_listed(others)}, and then sees all rows",
            remedy=f"REVOKE {quoted(others[0])} FROM {quoted(catalog.role)}.",
        )  # fmt: skip


def _policies(catalog: _Catalog) -> Iterator[Finding]:
    """PERMISSIVE policies beside ours: the floor alone holds back what they show."""
    ours = {step.table: step.names for step in catalog.scope.securities}
    added: dict[Name, list[dict[str, Any]]] = {}
    for row in catalog.ask("policies", names=_texts(catalog.guarded), role=catalog.role):
        table = Name(row.pop("schema"), row.pop("name"))
        if row["policy"] not in ours[table]:
            added.setdefault(table, []).append(row)
    for table, policies in added.items():
        names = [quoted(policy["policy"]) for policy in policies]
        yield _warning(
            name="policy-added", table=table, count=len(policies), samples=tuple(policies),
            message=f"The policy {_listed(names)} of {table} is for the application too: the RESTRICTIVE floor alone"
            " keeps it from showing other tenants' rows",
            remedy=f"DROP POLICY {names[0]} ON {table}; or make it AS RESTRICTIVE.",
        )  # fmt: skip


def _privileges(catalog: _Catalog) -> Iterator[Finding]:
    """What policies do not cover, and writing what all tenants read."""
    never = [privilege for privilege in UNCHECKED if privilege != "MAINTAIN" or catalog.scope.schema.major >= MAINTAIN]
    for name, held in catalog.privileges(catalog.guarded, never).items():
        if catalog.scope.has(catalog.role, frozenset((catalog.ground.live.tables[name].owner,))):
            continue  # An owner has them all; that it is one was said above.
        yield _error(
            name="privilege-past-policies", table=name, count=len(held),
            message=f"{catalog.role} has {', '.join(held)} on {name}, which no policy holds back",
            remedy=_revoke(held, name, catalog.role),
        )  # fmt: skip
    tenant = catalog.ground.ownership.tenant.name
    shared = [name for name in (*catalog.ground.ownership.shared, tenant) if catalog.wants(name)]
    for name, held in catalog.privileges(shared, WRITES).items():
        yield _warning(
            name="shared-table-writable", table=name, count=len(held),
            message=f"{catalog.role} has {', '.join(held)} on {name}, which all tenants read: one of them can change it"
            " for all",
            remedy=_revoke(held, name, catalog.role),
        )  # fmt: skip


def _revoke(privileges: Sequence[str], name: Name, role: str) -> str:
    revoke = f"REVOKE {', '.join(privileges)} ON {name} FROM"
    return (
        f"{revoke} {quoted(role)}; where it has them through others, FROM PUBLIC or the roles that it is a member of."
    )


def _views_and_functions(catalog: _Catalog) -> Iterator[Finding]:
    scope = catalog.scope
    yield from (_as_check(found) for found in view_findings(scope) if _about_wanted(catalog, found))
    plain = [view.name for view in scope.views if view.kind is Kind.VIEW]
    if plain and scope.schema.major < SECURE_VIEWS:
        yield _information(
            name="views-as-owner", count=len(plain), samples=tuple({"view": str(name)} for name in plain),
            message=f"Before PostgreSQL 15 no view is held to the policies of whoever reads it: {_listed(plain)}",
            remedy="Let the application read the tables, or upgrade to PostgreSQL 15 and migrate again.",
        )  # fmt: skip
    reached = catalog.ask("reached_functions", role=catalog.role) if catalog.role_exists else ()
    signatures = frozenset(row["signature"] for row in reached)
    yield from (_as_check(found) for found in function_findings(scope, signatures) if _about_wanted(catalog, found))


def _about_wanted(catalog: _Catalog, finding: Finding) -> bool:
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


def _foreign_tables(catalog: _Catalog) -> Iterator[Finding]:
    shared = catalog.ground.ownership.shared
    foreign = [
        name
        for name, table in sorted(catalog.ground.live.tables.items())
        if table.kind is Kind.FOREIGN and name not in shared and catalog.ground.wants(name)
    ]
    for name, held in catalog.privileges(foreign, ("SELECT", *WRITES)).items():
        yield _warning(
            name="foreign-table-open", table=name, count=len(held),
            message=f"{catalog.role} has {', '.join(held)} on the foreign table {name}, where there are no policies",
            remedy=f"REVOKE ALL ON {name} FROM {quoted(catalog.role)}, PUBLIC; or say shared = true of it in the spec.",
        )  # fmt: skip


def _rules(catalog: _Catalog) -> Iterator[Finding]:
    found: dict[tuple[Name, str, str], list[Name]] = {}
    for row in catalog.ask("rules", names=_texts(catalog.guarded)):
        key = (Name(row["schema"], row["name"]), row["rule"], row["owner"])
        found.setdefault(key, []).append(Name(row["read_schema"], row["read_name"]))
    for (table, rule, owner), reads in found.items():
        yield _warning(
            name="rule-runs-as-owner", table=table, count=len(reads),
            message=f"What the rule {quoted(rule)} of {table} does to {_listed(reads)}, it does as {owner}, past the"
            " policies of whoever writes",
            remedy=f"DROP RULE {quoted(rule)} ON {table}, and make a trigger of it; or see that it touches no more.",
        )  # fmt: skip


def _publications(catalog: _Catalog) -> Iterator[Finding]:
    found: dict[str, list[Name]] = {}
    for row in catalog.ask("publications", names=_texts(catalog.guarded)):
        found.setdefault(row["publication"], []).append(Name(row["schema"], row["name"]))
    for publication, tables in found.items():
        yield _information(
            name="publication", count=len(tables), samples=tuple({"table": str(name)} for name in tables[:20]),
            message=f"The publication {quoted(publication)} sends rows of all tenants to whoever subscribes:"
            f" {_listed(tables)}",
            remedy="See that only databases for all tenants subscribe, or give the tables a WHERE (PostgreSQL 15).",
        )  # fmt: skip


def _tenant_by_default(catalog: _Catalog) -> Iterator[Finding]:
    setting = catalog.ground.ownership.setting
    rows = catalog.ask("tenants_by_default", role=catalog.role, setting=setting)
    for row in rows:
        database = row["database"]
        what = f"ALTER ROLE {quoted(row['role'])}" if row["role"] else "ALTER ROLE ALL"
        what += f" IN DATABASE {quoted(database)}" if database else ""
        yield _warning(
            name="tenant-by-default",
            message=f"{what} SET {setting} gives sessions that name no tenant the rows of one",
            remedy=f"{what} RESET {setting}.",
        )
