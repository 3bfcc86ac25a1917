"""What the application role is or can become beside its own privileges: policies hold rows of tables, and nothing of
what leads around the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg

from tenantry.execution.preflight.findings import noted, refused, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding, Severity
from tenantry.model.name import quoted
from tenantry.postgres.powers import Held, Membership, Powers, Standing, read_powers, read_roles
from tenantry.steps.introspection import JOURNAL_SCHEMA

_REPORTS = {Severity.ERROR: refused, Severity.WARNING: warned, Severity.INFO: noted}
_SEES = "sees what the sessions of others run"
PREDEFINED: Mapping[str, tuple[Severity, str]] = {
    "pg_execute_server_program": (Severity.ERROR, "runs programs on the server"),
    "pg_read_server_files": (Severity.ERROR, "reads every file of the server, those of the tables too"),
    "pg_write_server_files": (Severity.ERROR, "writes every file of the server"),
    "pg_read_all_data": (Severity.ERROR, "reads whatever has no policies"),
    "pg_write_all_data": (Severity.ERROR, "writes whatever has no policies, and what all tenants read"),
    "pg_maintain": (Severity.ERROR, "locks and rewrites every table"),
    "pg_create_subscription": (Severity.ERROR, "lets another server write rows here"),
    "pg_monitor": (Severity.WARNING, _SEES),
    "pg_read_all_stats": (Severity.WARNING, _SEES),
    "pg_signal_backend": (Severity.WARNING, "ends the sessions of others"),
    "pg_checkpoint": (Severity.WARNING, "slows down the server for all"),
}
"""What whoever has a predefined role does; of those not named here, somebody has to know."""
UNKNOWN = (Severity.WARNING, "has what PostgreSQL keeps for administrators")
SUPERUSERS_SETTING = "session_replication_role"
"""Who may set it, switches off foreign keys and triggers."""
SAFE_CREATE_ROLE = 16


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Whom a role can be, by whatever options of its memberships, however many lie between."""

    role: str
    standings: Mapping[str, Standing]
    memberships: Sequence[Membership]

    @classmethod
    def of(cls, role: str, standings: Iterable[Standing], memberships: Sequence[Membership]) -> Reach:
        return cls(role=role, standings={one.name: one for one in standings}, memberships=memberships)

    @cached_property
    def roles(self) -> frozenset[str]:
        """Those that it can be: itself, whom it can SET ROLE to, and whom it can grant to itself first."""
        found, before = {self.role} & self.standings.keys(), set[str]()
        while found != before:
            before = set(found)
            having = self._inheriting(found)
            found |= {one.of for one in self.memberships if one.settable and one.member in found}
            found |= {one.of for one in self.memberships if one.admin and one.member in having}
        return frozenset(found)

    @cached_property
    def having(self) -> frozenset[str]:
        """Those whose privileges it has then."""
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

    def way(self, of: str) -> Membership | None:
        """The membership that leads there, from a role that is not predefined."""
        ways = [one for one in self.memberships if one.of == of and one.member in self.having]
        return min(ways, key=lambda one: (self._predefined(one.member), one.member != self.role), default=None)

    def _predefined(self, role: str) -> bool:
        return self.standings[role].predefined


def power_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Of the application role as it is now. Nothing where no table gets row security."""
    if not scope.securities or scope.application not in scope.schema.roles:
        return
    yield from powers_of(scope.application or "", *read_roles(connection), connection, scope)


def schemas(scope: Scope) -> tuple[str, ...]:
    """Where a role that makes objects gets at what others name."""
    return tuple(dict.fromkeys((*scope.schema.search_path, *sorted(scope.schemas), JOURNAL_SCHEMA)))


def powers_of(
    role: str, standings: Iterable[Standing], memberships: Sequence[Membership], connection: psycopg.Connection[Any],
    scope: Scope,
) -> Iterator[Finding]:  # fmt: skip
    """Nothing of a superuser, whom nothing can make worse; nor what is an operator's: that it can be one is another
    finding."""
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
            message=f"{reach.role} may call {_listed(names)}, which PostgreSQL keeps from all but superusers",
            remedy=f"REVOKE EXECUTE ON FUNCTION {', '.join(names)} FROM {_whom(given[0])}",
            samples=tuple({"function": name} for name in names[:20]),
        )
    for one in powers.parameters:
        grave = one.name.startswith(SUPERUSERS_SETTING) or "ALTER SYSTEM" in one.name
        setting, _, privilege = one.name.partition(" ")
        yield (refused if grave else warned)(
            name="application-power",
            message=f"{reach.role} may change {setting}, which PostgreSQL keeps for superusers",
            remedy=f"REVOKE {privilege.strip('()')} ON PARAMETER {setting} FROM {_whom(one)}",
        )
    yield from _owned(reach, powers, scope)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _whom(held: Held) -> str:
    return "PUBLIC" if held.holder == "PUBLIC" else quoted(held.holder)


def _predefined(reach: Reach) -> Iterator[Finding]:
    for role in sorted(reach.having - {reach.role}):
        way = reach.way(role)
        # What one predefined role brings along goes with it.
        if not reach.standings[role].predefined or way is None or reach.standings[way.member].predefined:
            continue
        severity, does = PREDEFINED.get(role, UNKNOWN)
        can = "is a member of" if way.inherits and role in reach.having else "can act as"
        yield _REPORTS[severity](
            name="application-power",
            message=f"{reach.role} {can} {role}, and {does}",
            remedy=f"REVOKE {role} FROM {quoted(way.member)}",
        )


def _attributes(reach: Reach, scope: Scope) -> Iterator[Finding]:
    """They are not inherited, but whoever can be a role has them."""
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
    """An operator owns what it maintains; that the application is one is said elsewhere."""
    for one in powers.owned:
        if one.holder not in scope.operators:
            by = "" if one.holder == reach.role else f" as {one.holder}"
            yield refused(
                name="application-owns",
                message=f"{reach.role} owns the {one.kind.lower()} {one.name}{by}, and can change or drop it",
                remedy=f"ALTER {one.kind} {one.name} OWNER TO the role that owns the tables",
            )
