"""tenantry tenants list, add, rename."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from tenantry.cli import options
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.tenants import add_tenant, list_tenants, rename_tenant
from tenantry.errors import ExitStatus
from tenantry.execution.tenant_table import Tenant, TenantChange
from tenantry.model.wording import counted

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The tenant's short name.", show_default=False)]


def list_(terminal: Terminal) -> ExitStatus:
    """List the tenants: slug, name and key."""
    with target(terminal) as database:
        found = list_tenants(database, terminal.spec())
    terminal.answer(tenants=found)
    table = Table("slug", "name", Column("key", no_wrap=True), "", box=None, pad_edge=False)
    for tenant in found:
        table.add_row(tenant.slug, tenant.name, tenant.key, _mark(tenant))
    terminal.show(table)
    terminal.say(f"{counted(len(found), 'tenant')}.", style="dim")
    return ExitStatus.DONE


def add(
    terminal: Terminal, slug: Slug,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Its name; by default the slug.")] = "",
    dry_run: options.DryRun = False,
) -> ExitStatus:  # fmt: skip
    """Add a tenant."""
    with target(terminal) as database:
        change = add_tenant(database, terminal.spec(), slug, name=name, dry_run=dry_run)
    return _changed(terminal, change, "added")


def rename(
    terminal: Terminal, slug: Slug,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new short name.", show_default=False)],
    dry_run: options.DryRun = False,
) -> ExitStatus:  # fmt: skip
    """Change the slug of a tenant; its key, which rows contain, does not change."""
    with target(terminal) as database:
        change = rename_tenant(database, terminal.spec(), slug, new, dry_run=dry_run)
    return _changed(terminal, change, f"was {slug}")


def _mark(tenant: Tenant) -> str:
    marks = ["default"] if tenant.default else []
    if tenant.quarantine:
        marks.append("quarantine: for rows without a tenant, not visible to applications")
    return ", ".join(marks)


def _changed(terminal: Terminal, change: TenantChange, what: str) -> ExitStatus:
    terminal.answer(statement=change.statement, tenant=change.tenant, dry_run=change.tenant is None)
    if change.tenant is None:
        terminal.show(change.statement)
        terminal.say("Nothing was changed.")
    else:
        terminal.show(f"{change.tenant.slug} ({what}), key {change.tenant.key}.")
    return ExitStatus.DONE
