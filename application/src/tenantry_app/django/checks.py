"""System checks, which `manage.py check --database default` runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tenantry_app.django import options
from tenantry_app.errors import OperatorRequired, RoleRefused
from tenantry_app.roles import check, check_operator, unsecured


def check_databases(databases: Sequence[str] | None = None, **ignored: Any) -> list[CheckMessage]:
    """The role must not be able to bypass the policies (tenantry_app.E001), and each table with the tenant column must
    have row-level security, forced, with a policy (tenantry_app.E002). On other aliases, on which migrations run, the
    role must see the rows of all tenants (tenantry_app.E003)."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if alias not in options()["DATABASES"]:
            found += _of_operator(connection)
            continue
        try:
            check(connection)
        except RoleRefused as refused:
            found.append(
                Error(
                    str(refused),
                    hint=f"Let DATABASES[{alias!r}] connect as the application's role.",
                    id="tenantry_app.E001",
                )
            )
        found += [
            Error(
                f"Table {table} has the tenant column, and row security is not enabled and forced with a policy.",
                hint="Run tenantry discover --update and tenantry migrate.",
                id="tenantry_app.E002",
            )
            for table in unsecured(connection, options()["COLUMN"])
        ]
    return found


def _of_operator(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    if connection.vendor != "postgresql":
        return []
    try:
        check_operator(connection, options()["COLUMN"])
    except OperatorRequired as refused:
        hint = f"Let DATABASES[{connection.alias!r}] connect as the operator, or name it in TENANTRY['DATABASES']."
        return [Error(str(refused), hint=hint, id="tenantry_app.E003")]
    return []
