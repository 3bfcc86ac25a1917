"""The application's side of tenantry: the tenant of the running task, set in every transaction.

The core needs only Python; each integration (`tenantry_app.psycopg`, …) imports the driver or framework that it is for.
"""

from tenantry_app.context import configure, current, tenant, without_tenant
from tenantry_app.errors import (
    InactiveTenant,
    InvalidKey,
    OperatorRequired,
    RoleRefused,
    StatementRefused,
    TenantChanged,
    TenantError,
    TenantRequired,
    UnknownTenant,
)
from tenantry_app.operator import as_operator
from tenantry_app.problems import Problem
from tenantry_app.resolution import Resolution, Resolved
from tenantry_app.resolvers import ApiKey, Claim, Header, PathPrefix, Subdomain
from tenantry_app.roles import check, check_async, check_operator
from tenantry_app.tenants import CachedDirectory, Directory, FixedDirectory, Key, Tenant

__version__ = "0.2.0"
__all__ = [
    "ApiKey",
    "CachedDirectory",
    "Claim",
    "Directory",
    "FixedDirectory",
    "Header",
    "InactiveTenant",
    "InvalidKey",
    "Key",
    "OperatorRequired",
    "PathPrefix",
    "Problem",
    "Resolution",
    "Resolved",
    "RoleRefused",
    "StatementRefused",
    "Subdomain",
    "Tenant",
    "TenantChanged",
    "TenantError",
    "TenantRequired",
    "UnknownTenant",
    "as_operator",
    "check",
    "check_async",
    "check_operator",
    "configure",
    "current",
    "tenant",
    "without_tenant",
]
