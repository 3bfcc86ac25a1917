"""Tables that tools keep for themselves: told by name and columns, never by one of them alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.discovery.bookkeeping import tool_table_of
from unit.schemas import name, table


@pytest.mark.parametrize(
    ("called", "columns", "tool", "shared"),
    [
        ("django_migrations", "app name applied", "Django", True),
        ("django_session", "session_key session_data expire_date", "Django", "write"),
        ("SchemaVersion", "installed_rank script", "", None),
        ("migrations", "migration batch", "Laravel or TypeORM", True),
        ("migrations", "timestamp name", "Laravel or TypeORM", True),
        ("migrations", "migration name", "", None),
        ("migrations", "", "", None),
        ("notes", "app name applied", "", None),
    ],
)
def test_by_name_and_columns(called: str, columns: str, tool: str, shared: object) -> None:
    found = tool_table_of(table(called, *(f"{one} text" for one in columns.split())))
    assert (found.tool if found else "") == tool
    assert (found.shared if found else None) == shared


def test_capitals_do_not_matter() -> None:
    """Entity Framework has them, and quotes them."""
    made = table("x", "MigrationId text", "ProductVersion text")
    found = tool_table_of(replace(made, name=name("__EFMigrationsHistory")))
    assert found is not None
    assert found.tool == "Entity Framework"
