"""Roles that isolate would hide rows from, roles that it would not (hazard 10), and what the application role can
become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg

from tenantry.execution.preflight.findings import noted, refused, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding, Severity
from tenantry.model.name import JOURNAL_SCHEMA, Name, quoted
from tenantry.model.schema import Grant, Role
from tenantry.model.wording import counted, listed
from tenantry.planning.isolate import WRITES
from tenantry.postgres.powers import Membership, Possession, Powers, RoleAttributes, read_powers, read_roles
from tenantry.postgres.server_state import ServerState
from tenantry.steps.row_security import Sight

PUBLIC = "PUBLIC"
EVERYTHING = frozenset(("pg_read_all_data", "pg_write_all_data"))
CLASSIFY = "list it in [application] legacy_roles, grant the application role to it, or revoke its privileges"
CLASSIFY_PUBLIC = "REVOKE the privileges FROM PUBLIC, and grant them to roles that have a class"
SAFE_CREATE_ROLE = 16
"""The first version where CREATEROLE does not allow membership in any role."""


def role_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """Nothing if no table gets row-level security."""
    if not scope.securities:
        return
    holders = _holders(scope)
    yield from _unclassified(scope, holders)
    yield from _connected(scope, facts, frozenset(holders))
    yield from _missing_legacy(scope)
    yield from application_role_findings(scope)
    yield from _withdrawn(scope)


def _withdrawn(scope: Scope) -> Iterator[Finding]:
    """Privileges that an existing application role loses: writing to rows that are not a tenant's own."""
    sights = {security.table: security.sight for security in scope.securities}
    tenants = {table for table, sight in sights.items() if sight is Sight.READ}
    links = {table for table, sight in sights.items() if sight is Sight.LINK}
    members = {table for table, sight in sights.items() if sight in (Sight.MEMBER, Sight.WRITING_MEMBER)}
    lost = [(step.table, step.withdraws) for step in scope.steps if step.withdraws]
    written = {table: held for table, privileges in lost if (held := _writes(privileges))}
    for several, what, remedy in (
        (sorted(links.intersection(written)), "which link rows to tenants", "let the operator's role write them"),
        (
            sorted(members.intersection(written)),
            "whose rows belong to several tenants",
            "let the operator's role write them, or set writable = true in the spec to allow changes",
        ),
        (
            sorted(set(written) - set(sights)),
            "which all tenants share",
            'set shared = "write" for them in the spec',
        ),
        (sorted(tenants.intersection(written)), "the tenant table", "let another role add tenants"),
    ):
        if several:
            yield refused(
                name="application-loses-writes",
                table=several[0] if len(several) == 1 else None,
                count=len(several),
                message=f"{scope.application} may write {listed(several)}, {what}, and can only read from isolate on",
                remedy=f"{remedy}; or revoke these privileges once the application no longer needs them",
                samples=tuple({"relation": str(table), "privileges": list(written[table])} for table in several[:20]),
            )
    others = sorted({table for table, privileges in lost if len(privileges) > len(_writes(privileges))})
    if others:
        privileges = sorted({one for _, held in lost for one in held if one not in WRITES})
        yield noted(
            name="application-loses-privileges",
            count=len(others),
            message=f"{scope.application} loses {', '.join(privileges)} on {listed(others)}: policies do not apply"
            " to them",
            remedy="let the operator's role do what needs them",
        )


def _writes(privileges: Iterable[str]) -> tuple[str, ...]:
    return tuple(privilege for privilege in privileges if privilege in WRITES)


def _classified(scope: Scope, role: str) -> bool:
    """Application, legacy or operator role, a role that inherits one's privileges, or one that bypasses policies."""
    classes = scope.operators | scope.legacy | frozenset((scope.application or "",))
    return scope.bypasses(role) or scope.has(role, classes)


def _holders(scope: Scope) -> dict[str, dict[Name, set[str]]]:
    """Roles in no class with privileges on protected relations or their views: which, on what."""
    granted: list[tuple[Name, Iterable[Grant]]] = [
        (name, scope.schema.tables[name].grants) for name in sorted(scope.guarded) if name in scope.schema.tables
    ]
    granted += [(view.name, view.grants) for view in scope.views]
    found: dict[str, dict[Name, set[str]]] = {}
    for name, grants in granted:
        for grant in grants:
            if not _classified(scope, grant.grantee):
                found.setdefault(grant.grantee, {}).setdefault(name, set()).add(grant.privilege)
    for role in scope.schema.roles.values():
        if EVERYTHING.intersection(role.usage_of) and role.login and not _classified(scope, role.name):
            found.setdefault(role.name, {})
    return dict(sorted(found.items()))


def _unclassified(scope: Scope, holders: dict[str, dict[Name, set[str]]]) -> Iterator[Finding]:
    for role, held in holders.items():
        names = sorted(held)
        tables = listed(names)
        yield refused(
            name="role-unclassified",
            count=len(names) or None,
            message=f"{role} may use {tables or 'all tables'}, and will see no row of an owned table from isolate on",
            remedy=CLASSIFY_PUBLIC if role == PUBLIC else CLASSIFY,
            samples=tuple({"relation": str(name), "privileges": sorted(held[name])} for name in names[:20]),
        )


def _connected(scope: Scope, facts: ServerState, holders: frozenset[str]) -> Iterator[Finding]:
    shut_out: dict[str, Counter[str]] = {}
    operating: dict[str, Counter[str]] = {}
    for session in facts.sessions:
        if session.application.startswith("tenantry "):
            continue
        if not _classified(scope, session.user):
            if PUBLIC in holders or scope.has(session.user, holders):
                shut_out.setdefault(session.user, Counter())[session.application] += 1
        elif session.user not in scope.legacy and (
            scope.bypasses(session.user) or scope.has(session.user, scope.operators)
        ):
            operating.setdefault(session.user, Counter())[session.application] += 1
    for role, applications in sorted(shut_out.items()):
        yield refused(
            name="role-connected",
            count=applications.total(),
            message=f"{_sessions(applications)} of {role} will see no row of an owned table from isolate on",
            remedy=f"end the applications that connect as {role}, or {CLASSIFY}",
        )
    for role, applications in sorted(operating.items()):
        yield warned(
            name="operator-connected",
            count=applications.total(),
            message=f"{_sessions(applications)} of {role}, to which policies do not apply, see rows of all tenants",
            remedy=f"let applications connect as a member of {scope.application}",
        )


def _sessions(applications: Counter[str]) -> str:
    names = ", ".join(sorted(name for name in applications if name))
    total = applications.total()
    return counted(total, "session") + (f" ({names})" if names else "")


def _missing_legacy(scope: Scope) -> Iterator[Finding]:
    for role in sorted(scope.legacy - set(scope.schema.roles)):
        yield refused(
            name="legacy-role-missing",
            forcible=False,
            message=f"The role {role}, listed in [application] legacy_roles, does not exist",
            remedy="correct the name, or remove it from the list",
        )


def application_role_findings(scope: Scope) -> Iterator[Finding]:
    """Why policies would not apply to the application role, if so."""
    role = scope.schema.roles.get(scope.application or "")
    reasons = tuple(unsafe(scope, role)) if role is not None else ()
    if role is not None and reasons:
        yield refused(
            name="application-role-unsafe",
            forcible=False,
            message=f"Policies do not apply to the application role {role.name}: it {' and '.join(reasons)}",
            remedy="choose another [application] role, or take these rights away from it",
        )


def unsafe(scope: Scope, role: Role) -> Iterator[str]:
    """Why policies do not apply to a role, in words that follow its name."""
    if role.superuser:
        yield "is a superuser"
        return
    if role.bypasses:
        yield "has BYPASSRLS"
    if role.create_role and scope.schema.major < SAFE_CREATE_ROLE:
        yield "has CREATEROLE, with which it can become a member of any role"
    owned = [
        name
        for name in sorted(scope.guarded)
        if name in scope.schema.tables and scope.schema.tables[name].owner == role.name
    ]
    if owned:
        yield f"owns {owned[0]}" + (f" and {len(owned) - 1} more" if len(owned) > 1 else "")
    powerful = {name for name, known in scope.schema.roles.items() if known.superuser or known.bypasses}
    above = sorted((scope.operators | powerful).intersection((*role.usage_of, role.name)) - {role.name})
    if above:
        yield f"is a member of {', '.join(above)}"
    elif role.name in scope.operators and not owned:
        yield "is the operator"


_REPORTS = {Severity.ERROR: refused, Severity.WARNING: warned, Severity.INFO: noted}
_SEES = "sees statements of other sessions"
PREDEFINED: Mapping[str, tuple[Severity, str]] = {
    "pg_execute_server_program": (Severity.ERROR, "runs programs on the server"),
    "pg_read_server_files": (Severity.ERROR, "reads every file of the server, also those of the tables"),
    "pg_write_server_files": (Severity.ERROR, "writes every file of the server"),
    "pg_read_all_data": (Severity.ERROR, "reads every relation without policies"),
    "pg_write_all_data": (Severity.ERROR, "writes to every relation without policies, also to shared tables"),
    "pg_maintain": (Severity.ERROR, "locks and rewrites every table"),
    "pg_create_subscription": (Severity.ERROR, "lets another server write rows here"),
    "pg_monitor": (Severity.WARNING, _SEES),
    "pg_read_all_stats": (Severity.WARNING, _SEES),
    "pg_signal_backend": (Severity.WARNING, "terminates sessions of other roles"),
    "pg_checkpoint": (Severity.WARNING, "slows down the server for all"),
}
"""What a predefined role allows; those not listed here are reported, too."""
UNKNOWN = (Severity.WARNING, "has privileges that PostgreSQL reserves for administrators")
SUPERUSERS_SETTING = "session_replication_role"
"""A role that may set it can disable foreign keys and triggers."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The roles that a role can become, through any number of memberships and their options."""

    role: str
    standings: Mapping[str, RoleAttributes]
    memberships: Sequence[Membership]

    @classmethod
    def of(cls, role: str, standings: Iterable[RoleAttributes], memberships: Sequence[Membership]) -> Reach:
        return cls(role=role, standings={one.name: one for one in standings}, memberships=memberships)

    @cached_property
    def roles(self) -> frozenset[str]:
        """The roles that it can be: itself, by SET ROLE, and by granting itself a membership first."""
        found, before = {self.role} & self.standings.keys(), set[str]()
        while found != before:
            before = set(found)
            having = self._inheriting(found)
            found |= {one.of for one in self.memberships if one.settable and one.member in found}
            found |= {one.of for one in self.memberships if one.admin and one.member in having}
        return frozenset(found)

    @cached_property
    def having(self) -> frozenset[str]:
        """The roles whose privileges it then has."""
        return frozenset(self._inheriting(self.roles))

    def _inheriting(self, roles: Collection[str]) -> set[str]:
        found, waiting = set(roles), list(roles)
        while waiting:
            member = waiting.pop()
            above = {one.of for one in self.memberships if one.inherits and one.member == member} - found
            found |= above
            waiting.extend(above)
        return found

    @property
    def superuser(self) -> bool:
        return any(self.standings[role].superuser for role in self.roles)

    def membership_in(self, of: str) -> Membership | None:
        """The membership that leads there, from a role that is not predefined."""
        candidates = [one for one in self.memberships if one.of == of and one.member in self.having]
        return min(candidates, key=lambda one: (self._predefined(one.member), one.member != self.role), default=None)

    def _predefined(self, role: str) -> bool:
        return self.standings[role].predefined


def power_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """The present application role. Nothing if no table gets row-level security."""
    if not scope.securities or scope.application not in scope.schema.roles:
        return
    yield from powers_of(scope.application or "", *read_roles(connection), connection, scope)


def schemas(scope: Scope) -> tuple[str, ...]:
    """The schemas where a role that creates objects could replace those that others use."""
    return tuple(dict.fromkeys((*scope.schema.search_path, *sorted(scope.schemas), JOURNAL_SCHEMA)))


def powers_of(
    role: str, standings: Iterable[RoleAttributes], memberships: Sequence[Membership],
    connection: psycopg.Connection[Any], scope: Scope,
) -> Iterator[Finding]:  # fmt: skip
    """Nothing for a superuser; nor for what an operator has: that a role can be an operator is another finding."""
    seeing = scope.operators | {one.name for one in standings if one.superuser or one.bypasses}
    reach = Reach.of(role, standings, [one for one in memberships if one.of not in seeing])
    if reach.superuser:
        return
    powers = read_powers(connection, reach.having, schemas=schemas(scope), tables=scope.guarded)
    yield from _predefined(reach)
    yield from _attributes(reach, scope)
    for holder in dict.fromkeys(one.holder for one in powers.functions):
        given = [one for one in powers.functions if one.holder == holder]
        names = [one.name for one in given]
        yield refused(
            name="application-power",
            count=len(names),
            message=f"{reach.role} may call {listed(names)}, by default reserved for superusers",
            remedy=f"REVOKE EXECUTE ON FUNCTION {', '.join(names)} FROM {_whom(given[0])}",
            samples=tuple({"function": name} for name in names[:20]),
        )
    for one in powers.parameters:
        grave = one.name.startswith(SUPERUSERS_SETTING) or "ALTER SYSTEM" in one.name
        setting, _, privilege = one.name.partition(" ")
        yield (refused if grave else warned)(
            name="application-power",
            message=f"{reach.role} may change {setting}, by default reserved for superusers",
            remedy=f"REVOKE {privilege.strip('()')} ON PARAMETER {setting} FROM {_whom(one)}",
        )
    yield from _owned(reach, powers, scope)


def _whom(held: Possession) -> str:
    return "PUBLIC" if held.holder == "PUBLIC" else quoted(held.holder)


def _predefined(reach: Reach) -> Iterator[Finding]:
    for role in sorted(reach.having - {reach.role}):
        membership_in = reach.membership_in(role)
        # Roles that a predefined role includes are revoked with it.
        if (
            not reach.standings[role].predefined
            or membership_in is None
            or reach.standings[membership_in.member].predefined
        ):
            continue
        severity, does = PREDEFINED.get(role, UNKNOWN)
        can = "is a member of" if membership_in.inherits and role in reach.having else "can act as"
        yield _REPORTS[severity](
            name="application-power",
            message=f"{reach.role} {can} {role}, and {does}",
            remedy=f"REVOKE {role} FROM {quoted(membership_in.member)}",
        )


def _attributes(reach: Reach, scope: Scope) -> Iterator[Finding]:
    """They are not inherited, but a role that can become their role has them."""
    for role in sorted(reach.roles):
        standing = reach.standings[role]
        listed = (
            (standing.replicates, Severity.ERROR, "REPLICATION", "copies all that the server holds"),
            (
                standing.creates_roles and scope.schema.major >= SAFE_CREATE_ROLE, Severity.WARNING, "CREATEROLE",
                "makes roles",
            ),
            (standing.creates_databases, Severity.INFO, "CREATEDB", "makes databases"),
        )  # fmt: skip
        for has, severity, attribute, does in listed:
            if has:
                by = "" if role == reach.role else f" as {role}"
                yield _REPORTS[severity](
                    name="application-power",
                    message=f"{reach.role} has {attribute}{by}, and {does}",
                    remedy=f"ALTER ROLE {quoted(role)} NO{attribute}",
                )


def _owned(reach: Reach, powers: Powers, scope: Scope) -> Iterator[Finding]:
    """An operator owns what it maintains; another finding reports that the application is an operator."""
    for one in powers.owned:
        if one.holder not in scope.operators:
            by = "" if one.holder == reach.role else f" as {one.holder}"
            yield refused(
                name="application-owns",
                message=f"{reach.role} owns the {one.kind.lower()} {one.name}{by}, and can change or drop it",
                remedy=f"ALTER {one.kind} {one.name} OWNER TO the role that owns the tables",
            )
