"""The errors of tenantry_app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenantry_app.tenants import Tenant


class TenantError(Exception):
    """The base of all errors of tenantry_app."""


class TenantRequired(TenantError):
    """No tenant is set in the running task, and something needs one. Nothing has been sent to the server."""

    def __init__(self, hint: str = "") -> None:
        text = 'no tenant is set: use "with tenant(…):", or "with without_tenant():" for tables that tenants share'
        super().__init__(f"{text}. {hint}" if hint else text)


class UnknownTenant(TenantError):
    """The directory has no tenant with this key or slug."""

    def __init__(self, name: str) -> None:
        self.name = name
        """The key or slug that was looked up."""
        super().__init__(f"the tenant {name!r} does not exist")


class InactiveTenant(TenantError):
    """The tenant may not be served according to the directory: it is suspended, closed or deleted."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        super().__init__(f"tenant {tenant} is not active: its status is {tenant.status!r}")


class InvalidKey(TenantError, ValueError):
    """The value cannot be the key of a tenant."""


class TenantChanged(TenantError):
    """An object that belongs to one tenant is used for another one. Nothing has been sent to the server."""

    def __init__(self, what: str, begun: str, now: str, remedy: str) -> None:
        self.begun, self.now = begun, now
        """The keys of the two tenants; empty: without a tenant."""
        super().__init__(f"{what} was opened for {_named(begun)}, and is used for {_named(now)}: {remedy}")


class StatementRefused(TenantError):
    """The statement could not be sent in a way that guarantees the right tenant. Nothing has been sent."""


class RoleRefused(TenantError):
    """The role of a connection can bypass the policies, or the connection has a tenant before any was set."""

    def __init__(self, role: str, reasons: Sequence[str]) -> None:
        self.role = role
        """The name of the session's role."""
        self.reasons = tuple(reasons)
        """One sentence for each way to bypass the policies."""
        super().__init__(f"role {role} must not serve tenants: {'; '.join(self.reasons)}")


class OperatorRequired(TenantError):
    """The role of a connection does not see the rows of all tenants, which the operation needs."""

    def __init__(self, role: str, tables: Sequence[str], column: str | None = None) -> None:
        self.role = role
        """The name of the session's role."""
        self.tables = tuple(tables)
        """The tables of which row-level security hides rows from it; empty if it finds no table with the column."""
        super().__init__(
            f"role {role} does not see all tenants' rows of {', '.join(self.tables)}: connect as the operator"
            if self.tables
            else f"role {role} finds no table that has the column {column}: connect as the operator, or name the tenant"
            " column"
        )


def _named(key: str) -> str:
    return f"tenant {key}" if key else "no tenant"
