"""The tenant of a session: the only place that makes its SQL."""

from __future__ import annotations

from psycopg import sql

from tenantry.steps.introspection import raw


def current_tenant_value(setting: str, type: str) -> sql.Composed:
    """The setting as a value of the tenant key's type; NULL if it is not set.

    After SET LOCAL has ended the setting is an empty string, hence NULLIF. `type` has no length: an explicit cast to
    varchar(n) would truncate a longer value, and so choose another tenant.
    """
    return sql.SQL("NULLIF(pg_catalog.current_setting({}, true), '')::{}").format(sql.Literal(setting), raw(type))


def current_tenant(setting: str, type: str) -> sql.Composed:
    """The same as a scalar subquery, which a statement evaluates once and not for each row.

    Citus refuses subqueries in policies: there `current_tenant_value` is used instead.
    """
    return sql.SQL("(SELECT {})").format(current_tenant_value(setting, type))
