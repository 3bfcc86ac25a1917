"""tenantry tenants list, add, rename, export, import, remove."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from tenantry.cli import options
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.tenant_rows import (
    RemovalBackup,
    RemovalPreview,
    RemoveOptions,
    TenantRemoved,
    export_tenant,
    import_tenant,
    preview_export,
    preview_removal,
    remove_tenant,
)
from tenantry.commands.tenants import add_tenant, list_tenants, rename_tenant
from tenantry.errors import ExitStatus, Refused
from tenantry.execution.tenant_table import Tenant, TenantRowChange
from tenantry.model.size import readable
from tenantry.model.tenant_export import TenantExport
from tenantry.model.wording import counted

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The tenant's short name.", show_default=False)]


def list_(terminal: Terminal) -> ExitStatus:
    """List the tenants: slug, name and key, and where those are that have moved to another server."""
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


def export(
    terminal: Terminal, slug: Slug,
    output: Annotated[
        Path,
        typer.Option("--output", metavar="FOLDER", show_default=False, help="A new folder for the files."),
    ],
    dry_run: options.DryRun = False,
) -> ExitStatus:  # fmt: skip
    """Write a tenant's rows as CSV files with a manifest, all from one snapshot, while writers go on.

    The rows are chosen by the tenant column, and only the owner of the folder can read it. Rows of other tenants and
    shared rows to which they refer are listed, but not included. Changes no row.
    """
    spec = terminal.spec()
    if dry_run:
        with target(terminal) as database:
            export = preview_export(database, spec, slug)
    else:
        with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
            export = export_tenant(database, spec, slug, output, observer=observer)
    terminal.answer(export=_brief(export), folder=None if dry_run else output, dry_run=dry_run)
    terminal.log.write("done", export=_brief(export), dry_run=dry_run)
    show_rows(terminal, {str(table.table): table.rows for table in export.tables})
    if dry_run:
        terminal.show("Nothing was written.")
        return ExitStatus.DONE
    for line in export.left_out:
        terminal.say(f"Not in it: {line}.", style="yellow")
    terminal.show(f"{counted(export.rows, 'row')} of {slug}, {readable(export.bytes)}, in {output}.")
    return ExitStatus.DONE


def import_(
    terminal: Terminal,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="What `tenants export` has written.", show_default=False)
    ],
    slug: Annotated[
        str | None,
        typer.Option("--as", metavar="SLUG", show_default=False, help="The tenant's slug here; its own unless given."),
    ] = None,
    dry_run: options.DryRun = False,
    lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None,
) -> ExitStatus:
    """Put an exported tenant's rows into a database that was migrated by the same spec: all of them, or none.

    Obstacles are listed first, with exit status 4: tables that do not fit, rows that exist already, keys that other
    rows have, shared rows that are missing or not the same. Your triggers and rules on INSERT do not fire; if a table
    has any, its writers wait until the import is done.
    """
    spec = terminal.spec()
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        done = import_tenant(
            database, spec, folder, slug=slug, dry_run=dry_run, lock_timeout=lock_timeout, lock_budget=lock_budget,
            observer=observer,
        )  # fmt: skip
    terminal.answer(
        tenant=done.slug, key=done.export.key, rows=done.rows, dry_run=dry_run, silenced=done.silenced,
        spec_differs=done.spec_differs, tables={str(table.table): table.rows for table in done.export.tables},
    )  # fmt: skip
    terminal.log.write("done", tenant=done.slug, rows=done.rows, dry_run=dry_run, silenced=done.silenced)
    show_rows(terminal, {str(table.table): table.rows for table in done.export.tables})
    for line in done.silenced:
        terminal.say(f"{'Would not fire' if dry_run else 'Did not fire'}: {line}.", style="yellow")
    if done.spec_differs:
        terminal.say("The export was made by another spec; the tables that it has are the same.", style="yellow")
    if dry_run:
        terminal.show(f"{counted(done.rows, 'row')} of {done.slug} can be imported. Nothing was changed.")
    else:
        terminal.show(f"{counted(done.rows, 'row')} of {done.slug} imported, as they were exported.")
    return ExitStatus.DONE


def remove(
    terminal: Terminal, slug: Slug,
    confirm: Annotated[bool, typer.Option("--confirm", help="Delete the tenant's rows.")] = False,
    backup: Annotated[
        RemovalBackup,
        typer.Option("--backup", help="The backup of the tenant: an export, or none, which requires --force."),
    ] = RemovalBackup.EXPORT,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FOLDER", show_default=False,
            help="A new folder for the export; one in the spec's folder of dumps unless given.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Go without an export.")] = False,
    dry_run: options.DryRun = False,
    lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None,
) -> ExitStatus:  # fmt: skip
    """Delete a tenant's rows in batches, children before their parents, and the tenant, after an export of them.

    Without --confirm it shows what it would delete, and exits 4. If rows of others refer to the tenant's, they are
    named and the removal is refused. After an interruption, run the same command again. Your triggers and rules on
    DELETE do not fire.
    """
    spec = terminal.spec()
    chosen = RemoveOptions(
        backup=backup, folder=output, force=force, lock_timeout=lock_timeout, lock_budget=lock_budget
    )
    if dry_run or not confirm:
        with target(terminal) as database:
            return _preview_removal(terminal, preview_removal(database, spec, slug, chosen), dry_run=dry_run)
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        done = remove_tenant(database, spec, slug, chosen, observer=observer)
    _show_removed(terminal, done)
    return ExitStatus.DONE


def _preview_removal(terminal: Terminal, preview: RemovalPreview, *, dry_run: bool) -> ExitStatus:
    rows = {str(name): rows for name, rows in preview.rows.items()}
    terminal.answer(
        dry_run=True, tenant=preview.tenant, tables=rows, blockers=preview.blockers, silenced=preview.silenced,
        folder=preview.folder, unfinished=preview.unfinished,
    )  # fmt: skip
    show_rows(terminal, rows)
    for line in preview.silenced:
        terminal.say(f"Would not fire: {line}.", style="yellow")
    if preview.unfinished is not None:
        kept = preview.unfinished.folder
        terminal.say(
            f"The run {preview.unfinished.run} has begun and deleted {counted(preview.unfinished.removed, 'row')}"
            + (f", after an export into {kept}." if kept else ".")
        )
    elif preview.folder is not None:
        terminal.say(f"They would be exported first, into {preview.folder}.")
    if preview.blockers:
        raise Refused(
            f"Rows that are not the tenant's refer to rows of {preview.tenant.slug!r}: {preview.blockers[0]}",
            remedy="Change or delete these rows first: they are not the tenant's. Nothing was changed.",
            details=preview.blockers[1:],
        )
    if dry_run:
        terminal.show("Nothing was changed.")
        return ExitStatus.DONE
    raise Refused(
        f"Nothing was changed: to delete {counted(sum(rows.values()), 'row')} of {preview.tenant.slug} takes --confirm",
        remedy="Stop the tenant's application, and run it with --confirm.",
    )


def _show_removed(terminal: Terminal, done: TenantRemoved) -> None:
    terminal.answer(
        tenant=done.tenant, rows=done.rows, exported=done.exported, unexported=done.unexported, folder=done.folder,
        ended_keys=done.ended_keys, backups=done.backups,
    )  # fmt: skip
    terminal.log.write("done", tenant=done.tenant.slug, rows=done.rows, folder=done.folder)
    terminal.show(f"{done.tenant.slug} is removed: {counted(done.rows, 'row')}.")
    if done.folder is not None:
        terminal.say(f"Its rows are in {done.folder}: `tenantry tenants import` restores them.")
    if done.unexported:
        terminal.say(
            f"{counted(done.unexported, 'row')} were written after that export, and are not in it.", style="bold yellow"
        )
    if done.ended_keys:
        terminal.say(f"{counted(done.ended_keys, 'API key')} ended.")
    if done.backups:
        terminal.say(f"Still with its rows: the backups {', '.join(done.backups)} (`tenantry backups prune`).")


def show_rows(terminal: Terminal, rows: Mapping[str, int]) -> None:
    """Show how many rows each table has, those without left out."""
    table = Table("table", Column("rows", justify="right"), box=None, pad_edge=False)
    for name, count in rows.items():
        if count:
            table.add_row(name, f"{count:,}")
    terminal.say(table)


def _brief(export: TenantExport) -> dict[str, object]:
    """An export for --json, without the tables' columns."""
    return {
        "tenant": export.tenant, "key": export.key, "exported_at": export.exported_at, "rows": export.rows,
        "bytes": export.bytes, "left_out": export.left_out,
        "tables": {str(table.table): table.rows for table in export.tables},
    }  # fmt: skip


def _mark(tenant: Tenant) -> str:
    marks = ["default"] if tenant.default else []
    if tenant.location:
        marks.append(f"at {tenant.location}" + (", its rows here are to be deleted" if tenant.moving else ""))
    elif tenant.moving:
        marks.append("here, being moved")
    if tenant.quarantine:
        marks.append("quarantine: for rows without a tenant, not visible to applications")
    if tenant.sentinel:
        marks.append("not a customer: rows of all tenants belong to it")
    return ", ".join(marks)


def _changed(terminal: Terminal, change: TenantRowChange, what: str) -> ExitStatus:
    terminal.answer(statement=change.statement, tenant=change.tenant, dry_run=change.tenant is None)
    if change.tenant is None:
        terminal.show(change.statement)
        terminal.say("Nothing was changed.")
    else:
        terminal.show(f"{change.tenant.slug} ({what}), key {change.tenant.key}.")
    return ExitStatus.DONE
