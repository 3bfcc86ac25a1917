"""System checks, which `manage.py check --database default` runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import connections

from tenantry_app.django import options
from tenantry_app.errors import RoleRefused
from tenantry_app.roles import check, unsecured


def check_databases(databases: Sequence[str] | None = None, **ignored: Any) -> list[CheckMessage]:
    """The role must not pass the policies (tenantry_app.E001), and each table with the tenant column must have row
    security, forced, with a policy (tenantry_app.E002)."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        if alias not in options()["DATABASES"]:
            continue
        connection = connections[alias]
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
