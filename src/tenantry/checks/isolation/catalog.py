"""Ways to bypass the policies that the catalog shows: roles, views, functions, and objects other than tables. Whether
the policies are applied is checked in `structure`, and what a role can actually do in `probes`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from tenantry.checks.base import CheckContext
from tenantry.checks.isolation.probes import application_user
from tenantry.execution.preflight.rls_bypass import SECURE_VIEWS, function_findings, view_findings
from tenantry.execution.preflight.roles import Reach, application_role_findings, powers_of, schemas, unsafe
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import JOURNAL_SCHEMA, Name, quoted
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind, View
from tenantry.model.wording import counted, listed
from tenantry.planning.isolate import UNCHECKED, WRITES
from tenantry.postgres.powers import Membership, RoleAttributes, read_roles
from tenantry.postgres.queries import read_queries
from tenantry.steps import from_json
from tenantry.steps.row_security import FLOOR

_QUERIES = read_queries(Path(__file__).with_name("sql") / "isolation.sql")
error = partial(Finding, family=Family.ISOLATION, severity=Severity.ERROR)
warning = partial(Finding, family=Family.ISOLATION, severity=Severity.WARNING)
information = partial(Finding, family=Family.ISOLATION, severity=Severity.INFO)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationPrivileges:
    """The privileges of the application on a relation, and which of its roles has them."""

    privileges: tuple[str, ...]
    holders: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """`user` is the application's login, where a connection of it was given."""

    context: CheckContext
    user: str | None = None

    @cached_property
    def scope(self) -> Scope:
        return Scope.of(self.context.schema, self.context.plan, Phase.CONTRACT)

    @property
    def role(self) -> str:
        return self.context.spec.application.role

    @cached_property
    def guarded(self) -> tuple[Name, ...]:
        """The relations with policies of tenantry that are included."""
        return tuple(sorted(name for name in self.scope.guarded if self.wants(name) and self.context.has(name)))

    def wants(self, name: Name) -> bool:
        tenant = self.context.ownership.tenant.name
        return self.context.wants(name) or (name == tenant and self.context.tables is None)

    # --- the application

    @cached_property
    def _roles(self) -> tuple[tuple[RoleAttributes, ...], tuple[Membership, ...]]:
        return read_roles(self.context.connection)

    @property
    def standings(self) -> tuple[RoleAttributes, ...]:
        return self._roles[0]

    @property
    def memberships(self) -> tuple[Membership, ...]:
        return self._roles[1]

    def reach_of(self, role: str) -> Reach:
        return Reach.of(role, *self._roles)

    @cached_property
    def seeing(self) -> frozenset[str]:
        """The roles that policies do not apply to."""
        return self.scope.operators | self.scope.legacy | {
            one.name for one in self.standings if one.superuser or one.bypasses
        }  # fmt: skip

    @cached_property
    def principals(self) -> tuple[str, ...]:
        """The application role, and its members that can log in: the application connects as one of them. Operators can
        be members, too, to test what it can do. None if the role does not exist."""
        known = {one.name: one for one in self.standings}
        if self.role not in known:
            return ()
        below, before = {self.role}, set[str]()
        while below != before:
            before = set(below)
            below |= {one.member for one in self.memberships if one.of in below and (one.inherits or one.settable)}
        members = sorted(
            name for name in below - self.scope.operators - {self.context.live.user} if known[name].login
        )  # fmt: skip
        return tuple(dict.fromkeys((self.role, *([self.user] if self.user in known else []), *members)))

    @cached_property
    def actors(self) -> tuple[str, ...]:
        """The roles that the application can be and that policies apply to: their privileges are the application's."""
        found = {role for principal in self.principals for role in self.reach_of(principal).roles}
        return (*self.principals[:1], *sorted(found - self.seeing - set(self.principals[:1])))

    # --- queries

    def ask(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.context.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_QUERIES[query], parameters).fetchall()

    def privileges(self, names: Iterable[Name], privileges: Sequence[str]) -> Mapping[Name, RelationPrivileges]:
        """Those of `privileges` that the application has on each relation, directly or by membership."""
        rows = self.ask("privileges", roles=list(self.actors), names=texts(names), privileges=list(privileges))
        return {
            Name(row["schema"], row["name"]): RelationPrivileges(
                privileges=tuple(row["privileges"]), holders=tuple(row["holders"])
            )
            for row in rows
        }

    def holders(self, access: RelationPrivileges) -> str:
        """The role that has the privilege: the application's own if it is one of them."""
        return self.role if self.role in access.holders else access.holders[0]

    def revoke(self, access: RelationPrivileges, name: Name) -> str:
        """The statement that revokes the privileges."""
        return (
            f"REVOKE {', '.join(access.privileges)} ON {name} FROM {quoted(self.holders(access))}; where it has them"
            " through others, FROM PUBLIC or the roles that it is a member of."
        )


def texts(names: Iterable[Name]) -> list[str]:
    return [name.identifier.as_string(None) for name in names]


def as_check(finding: Finding) -> Finding:
    """A finding of preflight, as a finding about the present state."""
    remedy = f"{finding.remedy[0].upper()}{finding.remedy[1:]}."
    return replace(finding, family=Family.ISOLATION, refuses=False, forcible=True, remedy=remedy)


def open_relations(catalog: Catalog) -> Iterator[Finding]:
    """In the spec's schemas every table that is not shared is an error; other schemas are not known to the spec."""
    rows = catalog.ask("open_relations", roles=list(catalog.actors), privileges=["SELECT", *WRITES, "TRUNCATE"])
    shows = _Shows(catalog)
    for row in rows:
        name = Name(row["schema"], row["name"])
        access = RelationPrivileges(privileges=tuple(row["privileges"]), holders=tuple(row["holders"]))
        if not _is_checked(catalog, name) or name in shows.ours:
            continue
        match row["kind"]:
            case "v" | "m":
                yield from _view(catalog, shows, name, access)
            case _:
                yield from _table(catalog, name, access, row)


def _is_checked(catalog: Catalog, name: Name) -> bool:
    """With --table of none all are included; a view is included with the tables that it reads."""
    view = catalog.context.schema.views.get(name)
    if catalog.context.tables is None or view is None:
        return catalog.wants(name)
    return any(_is_checked(catalog, read) for read in view.reads if read != name)


def _table(catalog: Catalog, name: Name, access: RelationPrivileges, row: dict[str, Any]) -> Iterator[Finding]:
    context, who = catalog.context, catalog.holders(access)
    if name in catalog.scope.guarded:
        if not row["secured"]:
            yield error(
                name="table-open", table=name, count=len(access.privileges),
                message=f"{who} has {', '.join(access.privileges)} on {name}, whose row-level security is not enabled",
                remedy=f"Run {context.repair_command}: it creates the policies.",
            )  # fmt: skip
        return
    kept = context.entries.get(f"row_security:{name}")
    if row["secured"] and kept is not None and kept.state == "done":
        return  # Made by tenantry, although the spec no longer asks for it.
    whole = context.live.topmost(name) if name in context.live.tables else name
    if {name, whole, context.ownership.heirs.get(name, name)} & set(context.ownership.shared):
        return
    if row["kind"] == Kind.FOREIGN and name in context.live.tables:
        return  # Another check reports it.
    known = name.schema in (*context.schema.schemas, JOURNAL_SCHEMA)
    what = (
        "which contains tenantry's records of all tenants"
        if name.schema == JOURNAL_SCHEMA
        else "which has no policies of tenantry"
    )
    say = "" if name.schema == JOURNAL_SCHEMA else "; or give it paths, or shared = true, in the spec"
    say = say if known else f"; or add {quoted(name.schema)} to the spec's schemas, and its tables to the spec"
    yield (error if known else warning)(
        name="table-open", table=name, count=len(access.privileges),
        message=f"{who} has {', '.join(access.privileges)} on {name}, {what}",
        remedy=f"REVOKE ALL ON {name} FROM {quoted(who)}, PUBLIC{say}.",
    )  # fmt: skip


class _Shows:
    """Which views show more rows than their reader may see."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._views = catalog.context.schema.views
        self._stored = {view.name for view in catalog.scope.views if view.kind is Kind.MATERIALIZED_VIEW}
        done = (from_json(entry.value) for entry in catalog.context.entries.values())
        self.ours = frozenset(step.makes for step in done if step.keeps is not None and step.makes is not None)
        """Views of balances, which check the tenant themselves."""
        self.all = cache(self._all)

    def _all(self, name: Name) -> bool:
        """Whether a relation shows the rows of all tenants when it is read as another role."""
        context = self._catalog.context
        if name in self._stored or name in context.ownership.undecided:
            return True
        view = self._views.get(name)
        return view is not None and self.by_owner(view) and any(self._read(view, read) for read in view.reads)

    def by_owner(self, view: View) -> bool:
        """Whether the view reads its tables as its owner. A security_invoker view behaves as if its query stood in the
        reader's own, wherever it is used."""
        invoker = view.invoker and self._catalog.scope.schema.major >= SECURE_VIEWS
        return view.kind is Kind.MATERIALIZED_VIEW or not invoker

    def _read(self, view: View, name: Name) -> bool:
        scope = self._catalog.scope
        if name in scope.guarded:
            return scope.bypasses(view.owner) or scope.has(view.owner, scope.operators | scope.legacy)
        return name != view.name and self.all(name)


def _view(catalog: Catalog, shows: _Shows, name: Name, access: RelationPrivileges) -> Iterator[Finding]:
    view = catalog.context.schema.views.get(name)
    if view is None or not shows.all(name) or "SELECT" not in access.privileges:
        return
    who = catalog.holders(access)
    if view.kind is Kind.MATERIALIZED_VIEW:
        yield error(
            name="materialized-view-granted", table=name,
            message=f"{who} may read the materialized view {name}, which contains rows of all tenants without policies",
            remedy=f"REVOKE ALL ON {name} FROM {quoted(who)}, PUBLIC.",
        )  # fmt: skip
        return
    secure = catalog.scope.schema.major >= SECURE_VIEWS
    again = (
        f"ALTER VIEW {name} SET (security_invoker = true)"
        if secure
        else f"REVOKE ALL ON {name} FROM {quoted(who)}, PUBLIC"
    )
    yield error(
        name="view-reads-as-owner", table=name,
        message=f"{who} may read the view {name}, which reads {listed(view.reads)} as {view.owner}: no policy applies",
        remedy=f"{again}.",
    )  # fmt: skip


def beside(catalog: Catalog) -> Iterator[Finding]:
    """Not about tables: skipped with --table."""
    yield from _sequences(catalog)
    if catalog.context.tables is None:
        yield from _creating(catalog)
        yield from _servers(catalog)
        yield from _large_objects(catalog)
        yield from _default_privileges(catalog)


def _creating(catalog: Catalog) -> Iterator[Finding]:
    """Objects that it creates have no policies, and may be mistaken for others of the same name. Before 15 every role
    may create in schema public: then it was not granted to the application."""
    for row in catalog.ask("creating", roles=list(catalog.actors), schemas=list(schemas(catalog.scope))):
        report = information if row["everybody"] else warning
        holder = "PUBLIC" if row["everybody"] else quoted(row["holder"])
        yield report(
            name="application-creates",
            message=f"{row['holder']} may create objects in the {row['kind'].lower()} {row['name']}: they have no"
            " policies, and others may use them by mistake for objects of the same name",
            remedy=f"REVOKE CREATE ON {row['kind']} {row['name']} FROM {holder}.",
        )  # fmt: skip


def _sequences(catalog: Catalog) -> Iterator[Finding]:
    context = catalog.context
    names = {sequence for name in catalog.guarded for sequence in context.live.tables[name].sequences}
    found = catalog.ask("settable_sequences", roles=list(catalog.actors), names=texts(sorted(names)))
    if found:
        sequences = [Name(row["schema"], row["name"]) for row in found]
        holders = sorted({holder for row in found for holder in row["holders"]})
        who = catalog.role if catalog.role in holders else holders[0]
        yield information(
            name="sequence-settable", count=len(sequences),
            samples=tuple({"sequence": str(one)} for one in sequences[: context.samples]),
            message=f"{who} may set sequences that all tenants use, and so make inserts of other tenants fail:"
            f" {listed(sequences)}",
            remedy=f"REVOKE UPDATE ON SEQUENCE {', '.join(map(str, sequences[:3]))} FROM {quoted(who)}, PUBLIC.",
        )  # fmt: skip


def _servers(catalog: Catalog) -> Iterator[Finding]:
    for row in catalog.ask("foreign_servers", roles=list(catalog.actors)):
        mapped = " (a user mapping gives it a login there)" if row["mapped"] else ""
        yield warning(
            name="foreign-server-usable",
            message=f"{row['holder']} may use the {row['kind'].lower()} {row['name']}{mapped}: by foreign tables or"
            " dblink it can reach other databases, or this one as another role",
            remedy=f"REVOKE USAGE ON {row['kind']} {row['name']} FROM {quoted(row['holder'])}, PUBLIC.",
        )  # fmt: skip


def _large_objects(catalog: Catalog) -> Iterator[Finding]:
    ((count,),) = [tuple(row.values()) for row in catalog.ask("large_objects", roles=list(catalog.actors))]
    if count:
        yield warning(
            name="large-objects-open", count=count,
            message=f"{catalog.role} may read {counted(count, 'large object')} of any tenant: policies do not apply to"
            " large objects",
            remedy="Store them in a bytea column of an owned table, or outside the database.",
        )  # fmt: skip


def _default_privileges(catalog: Catalog) -> Iterator[Finding]:
    rows = catalog.ask("default_privileges", roles=list(catalog.actors), schemas=list(catalog.context.schema.schemas))
    for row in rows:
        within = f" IN SCHEMA {quoted(row['schema'])}" if row["schema"] else ""
        yield information(
            name="default-privileges",
            message=f"Tables that {row['role']} creates are open to {row['holder']} before they have policies",
            remedy=f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(row['role'])}{within} REVOKE ALL ON TABLES FROM"
            f" {row['holder'] if row['holder'] == 'PUBLIC' else quoted(row['holder'])}.",
        )  # fmt: skip


MAINTAIN = 17
"""The first version that has the privilege."""


def isolation(context: CheckContext) -> Iterator[Finding]:
    """Nothing before isolate is reached: until then every role with privileges sees all rows."""
    if not context.reached(Phase.ISOLATE):
        return
    context.looking("ways to bypass the policies")
    catalog = Catalog(context=context, user=application_user(context))
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
    """The application role itself, roles that it can become, and logins that are members of it."""
    yield from map(as_check, application_role_findings(catalog.scope))
    known = catalog.context.live.roles.get(catalog.role)
    if known is None:
        return
    for principal in catalog.principals if not known.superuser else ():
        reached = catalog.reach_of(principal).roles | catalog.reach_of(principal).having
        # Roles whose privileges it inherits are reported above, except for legacy roles.
        named = known.usage_of if principal == catalog.role else ()
        others = sorted(
            name for name in (catalog.seeing & reached) - {principal}
            if name in catalog.scope.legacy or name not in named
        )  # fmt: skip
        if principal != catalog.role:
            own = list(unsafe(catalog.scope, catalog.context.live.roles[principal]))
            own += [f"can act as {listed(others)}"] if others else []
            if own:
                report = error if principal == catalog.user else warning
                yield report(
                    name="application-member-unsafe",
                    message=f"{principal} is a member of the application role {catalog.role}, and policies do not apply"
                    f" to {principal}: it {' and '.join(own)}",
                    remedy=f"Take these away from it; or REVOKE {quoted(catalog.role)} FROM {quoted(principal)}, if the"
                    " application never connects as it.",
                )  # fmt: skip
        elif others:
            yield error(
                name="application-reaches-role", count=len(others), samples=tuple({"role": name} for name in others),
                message=f"The application role {catalog.role} can act as {listed(others)}, and so see all rows",
                remedy=f"REVOKE {quoted(others[0])} FROM {quoted(catalog.role)}.",
            )  # fmt: skip


def _powers(catalog: Catalog) -> Iterator[Finding]:
    """Privileges that several of them have by the same role are reported once."""
    said = set[str]()
    for principal in catalog.principals:
        for finding in powers_of(
            principal, catalog.standings, catalog.memberships, catalog.context.connection, catalog.scope
        ):
            if finding.remedy not in said:
                said.add(finding.remedy)
                yield as_check(finding)


def _policies(catalog: Catalog) -> Iterator[Finding]:
    """PERMISSIVE policies of others: only the floor restricts what they show."""
    ours = {step.table: step.names for step in catalog.scope.securities}
    added: dict[Name, list[dict[str, Any]]] = {}
    for row in catalog.ask("policies", names=texts(catalog.guarded), roles=list(catalog.actors)):
        table = Name(row.pop("schema"), row.pop("name"))
        if row["policy"] not in ours[table]:
            added.setdefault(table, []).append(row)
    for table, policies in added.items():
        names = [quoted(policy["policy"]) for policy in policies]
        floor = any(policy.name.startswith(FLOOR) for policy in catalog.context.live.tables[table].policies)
        report, access = warning, "only the RESTRICTIVE floor keeps it from showing rows of other tenants"
        remedy = f"DROP POLICY {names[0]} ON {table}; or create it again AS RESTRICTIVE."
        if not floor:
            report, access = error, "the phase distribute has dropped the floor, so it shows rows of other tenants"
            remedy = f"DROP POLICY {names[0]} ON {table}."
        yield report(
            name="policy-added", table=table, count=len(policies), samples=tuple(policies),
            message=f"{listed(names)} on {table}, not a policy of tenantry, applies to the application role, too:"
            f" {access}",
            remedy=remedy,
        )  # fmt: skip


def _privileges(catalog: Catalog) -> Iterator[Finding]:
    """Privileges that policies do not cover, and writing to shared tables."""
    never = [privilege for privilege in UNCHECKED if privilege != "MAINTAIN" or catalog.scope.schema.major >= MAINTAIN]
    for name, access in catalog.privileges(catalog.guarded, never).items():
        if catalog.scope.has(catalog.role, frozenset((catalog.context.live.tables[name].owner,))):
            continue  # An owner has all privileges; that it is the owner is reported above.
        yield error(
            name="privilege-past-policies", table=name, count=len(access.privileges),
            message=f"{catalog.holders(access)} has {', '.join(access.privileges)} on {name}: policies do not apply"
            " to it",
            remedy=catalog.revoke(access, name),
        )  # fmt: skip
    tenant = catalog.context.ownership.tenant.name
    ownership = catalog.context.ownership
    read = [name for name in ownership.shared if catalog.wants(name) and name not in ownership.written]
    writes = {
        **catalog.privileges(read, (*WRITES, *never)),
        **catalog.privileges([name for name in ownership.written if catalog.wants(name)], never),
    }
    # For the tenant table the other privileges are checked above.
    writes = {**writes, **catalog.privileges([tenant] if catalog.wants(tenant) else [], WRITES)}
    for name, access in writes.items():
        yield warning(
            name="shared-table-writable", table=name, count=len(access.privileges),
            message=f"{catalog.holders(access)} has {', '.join(access.privileges)} on {name}, which all tenants"
            f" {'share' if name in ownership.written else 'read'}: one tenant can change it for all",
            remedy=catalog.revoke(access, name)
            + (' Or set shared = "write" for it in the spec.' if name in read else ""),
        )  # fmt: skip


def _views_and_functions(catalog: Catalog, opened: Container[Name | None]) -> Iterator[Finding]:
    """Views that are `opened` are reported by then."""
    scope = catalog.scope
    yield from (
        as_check(found) for found in view_findings(scope) if found.table not in opened and _about_wanted(catalog, found)
    )
    plain = [view.name for view in scope.views if view.kind is Kind.VIEW]
    if plain and scope.schema.major < SECURE_VIEWS:
        yield information(
            name="views-as-owner", count=len(plain), samples=tuple({"view": str(name)} for name in plain),
            message=f"Before PostgreSQL 15, a view is read as its owner, so that no policy applies: {listed(plain)}",
            remedy="Let the application read the tables; or upgrade to PostgreSQL 15, and run `tenantry migrate`.",
        )  # fmt: skip
    reached = catalog.ask("reached_functions", roles=list(catalog.actors))
    signatures = frozenset(row["signature"] for row in reached)
    yield from (as_check(found) for found in function_findings(scope, signatures) if _about_wanted(catalog, found))


def _about_wanted(catalog: Catalog, finding: Finding) -> bool:
    """Whether a view reads an included table; with --table of none all are included."""
    if catalog.context.tables is None or finding.table is None:
        return True
    waiting, seen = [finding.table], set[Name]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        view = catalog.context.schema.views.get(name)
        if view is None and catalog.context.wants(name):
            return True
        waiting.extend(view.reads if view is not None else ())
    return False


def _foreign_tables(catalog: Catalog) -> Iterator[Finding]:
    shared = catalog.context.ownership.shared
    foreign = [
        name
        for name, table in sorted(catalog.context.live.tables.items())
        if table.kind is Kind.FOREIGN and name not in shared and catalog.context.wants(name)
    ]
    for name, access in catalog.privileges(foreign, ("SELECT", *WRITES)).items():
        yield error(
            name="foreign-table-open", table=name, count=len(access.privileges),
            message=f"{catalog.holders(access)} has {', '.join(access.privileges)} on the foreign table {name}:"
            " policies do not apply to foreign tables",
            remedy=f"REVOKE ALL ON {name} FROM {quoted(catalog.holders(access))}, PUBLIC; or say shared = true of it in"
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
            message=f"The rule {quoted(rule)} of {table} accesses {listed(reads)} as {owner}, so that no policy"
            " applies to the role that writes",
            remedy=f"DROP RULE {quoted(rule)} ON {table}, and use a trigger; or check that it shows no other tenant's"
            " rows.",
        )  # fmt: skip


def _publications(catalog: Catalog) -> Iterator[Finding]:
    found: dict[str, list[Name]] = {}
    for row in catalog.ask("publications", names=texts(catalog.guarded)):
        found.setdefault(row["publication"], []).append(Name(row["schema"], row["name"]))
    for publication, tables in found.items():
        yield information(
            name="publication", count=len(tables), samples=tuple({"table": str(name)} for name in tables[:20]),
            message=f"The publication {quoted(publication)} sends rows of all tenants to its subscribers:"
            f" {listed(tables)}",
            remedy="See that only databases for all tenants subscribe, or give the tables a WHERE (PostgreSQL 15).",
        )  # fmt: skip


def _tenant_by_default(catalog: Catalog) -> Iterator[Finding]:
    setting = catalog.context.ownership.setting
    rows = catalog.ask("tenants_by_default", role=catalog.role, setting=setting)
    for row in rows:
        database = row["database"]
        what = f"ALTER ROLE {quoted(row['role'])}" if row["role"] else "ALTER ROLE ALL"
        what += f" IN DATABASE {quoted(database)}" if database else ""
        yield warning(
            name="tenant-by-default",
            message=f"{what} SET {setting} gives sessions that set no tenant the rows of that one",
            remedy=f"{what} RESET {setting}.",
        )
