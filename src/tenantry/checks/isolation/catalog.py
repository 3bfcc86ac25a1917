"""What is guarded, who is the application, and the questions asked of the catalog about both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from tenantry.checks.base import CheckContext
from tenantry.execution.preflight.powers import Reach
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.postgres.powers import Membership, Standing, read_roles
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "isolation.sql")
error = partial(Finding, family=Family.ISOLATION, severity=Severity.ERROR)
warning = partial(Finding, family=Family.ISOLATION, severity=Severity.WARNING)
information = partial(Finding, family=Family.ISOLATION, severity=Severity.INFO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the application has on a relation, and which of its roles has it."""

    privileges: tuple[str, ...]
    holders: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """`user` is the application's own, where a connection of it was given."""

    ground: CheckContext
    user: str | None = None

    @cached_property
    def scope(self) -> Scope:
        return Scope.of(self.ground.schema, self.ground.plan, Phase.CONTRACT)

    @property
    def role(self) -> str:
        return self.ground.spec.application.role

    @cached_property
    def guarded(self) -> tuple[Name, ...]:
        """The relations that have policies of ours, and are wanted."""
        return tuple(sorted(name for name in self.scope.guarded if self.wants(name) and self.ground.has(name)))

    def wants(self, name: Name) -> bool:
        tenant = self.ground.ownership.tenant.name
        return self.ground.wants(name) or (name == tenant and self.ground.tables is None)

    # --- the application

    @cached_property
    def _roles(self) -> tuple[tuple[Standing, ...], tuple[Membership, ...]]:
        return read_roles(self.ground.connection)

    @property
    def standings(self) -> tuple[Standing, ...]:
        return self._roles[0]

    @property
    def memberships(self) -> tuple[Membership, ...]:
        return self._roles[1]

    def reach(self, role: str) -> Reach:
        return Reach.of(role, *self._roles)

    @cached_property
    def seeing(self) -> frozenset[str]:
        """Whom no policy holds."""
        return self.scope.operators | self.scope.legacy | {
            one.name for one in self.standings if one.superuser or one.bypasses
        }  # fmt: skip

    @cached_property
    def principals(self) -> tuple[str, ...]:
        """The application role, and those who log in and can be it: as one of them the application connects. Operators
        can be it, too, to try what it can do. None where there is no such role."""
        known = {one.name: one for one in self.standings}
        if self.role not in known:
            return ()
        below, before = {self.role}, set[str]()
        while below != before:
            before = set(below)
            below |= {one.member for one in self.memberships if one.of in below and (one.inherits or one.settable)}
        members = sorted(
            name for name in below - self.scope.operators - {self.ground.live.user} if known[name].login
        )  # fmt: skip
        return tuple(dict.fromkeys((self.role, *([self.user] if self.user in known else []), *members)))

    @cached_property
    def actors(self) -> tuple[str, ...]:
        """Whoever the application can be and policies hold: what they have, it has."""
        found = {role for principal in self.principals for role in self.reach(principal).roles}
        return (*self.principals[:1], *sorted(found - self.seeing - set(self.principals[:1])))

    # --- questions

    def ask(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.ground.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_QUERIES[query], parameters).fetchall()

    def privileges(self, names: Iterable[Name], privileges: Sequence[str]) -> Mapping[Name, Held]:
        """Those of `privileges` that the application has on each relation, in whatever way."""
        rows = self.ask("privileges", roles=list(self.actors), names=texts(names), privileges=list(privileges))
        return {
            Name(row["schema"], row["name"]): Held(privileges=tuple(row["privileges"]), holders=tuple(row["holders"]))
            for row in rows
        }

    def holders(self, held: Held) -> str:
        """The role that has it: the application's own where that is one of them."""
        return self.role if self.role in held.holders else held.holders[0]

    def revoke(self, held: Held, name: Name) -> str:
        """The statement that takes privileges away."""
        return (
            f"REVOKE {', '.join(held.privileges)} ON {name} FROM {quoted(self.holders(held))}; where it has them"
            " through others, FROM PUBLIC or the roles that it is a member of."
        )


def texts(names: Iterable[Name]) -> list[str]:
    return [name.identifier.as_string(None) for name in names]


def listed(names: Sequence[Any]) -> str:
    """The first three, and how many more."""
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def as_check(finding: Finding) -> Finding:
    """A preflight's finding, said of what is there now."""
    remedy = f"{finding.remedy[0].upper()}{finding.remedy[1:]}."
    return replace(finding, family=Family.ISOLATION, refuses=False, forcible=True, remedy=remedy)
