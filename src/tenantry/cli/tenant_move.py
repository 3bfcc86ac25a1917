"""tenantry tenants move."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from tenantry.cli import options
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.runner import target
from tenantry.cli.tenants import Slug, show_rows
from tenantry.cli.terminal import Terminal
from tenantry.commands.tenant_move import (
    MoveAborted,
    MoveOptions,
    MovePreview,
    TenantMoved,
    abandon_move,
    abort_move,
    move_tenant,
    preview_move,
)
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model.wording import counted, duration
from tenantry.postgres.connect import resolve_target


def move(
    terminal: Terminal, slug: Slug,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="DSN", show_default=False,
            help="The database to which the tenant moves, migrated by the same spec. Leave the password to ~/.pgpass.",
        ),
    ] = None,
    max_pause: Annotated[
        timedelta,
        typer.Option(
            "--max-pause", metavar="TIME", parser=options.span,
            help="How long the tenant's writes may be refused at a time, such as 500ms or 2s.",
        ),
    ] = "2s",  # type: ignore[assignment]
    abort: Annotated[
        bool, typer.Option("--abort", help="End a move that is not complete: the tenant stays where it is.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="With --abort: the target is lost; undo the move at the source alone."),
    ] = False,
    init: Annotated[
        bool,
        typer.Option(
            "--init", help="First prepare an empty target: with the schema, the shared rows and the journal of the"
            " source, by pg_dump and psql.",
        ),
    ] = False,
    replicate_from: Annotated[
        str | None,
        typer.Option(
            "--replicate-from", metavar="DSN", show_default=False,
            help="How the target's server connects to the source's; by default as tenantry does, without a password"
            " that is not in --dsn.",
        ),
    ] = None,
    location: Annotated[
        str | None,
        typer.Option(
            "--location", metavar="NAME", show_default=False,
            help="What applications are told about where the tenant is; by default host, port and database of --to.",
        ),
    ] = None,
    dry_run: options.DryRun = False,
    lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None,
) -> ExitStatus:  # fmt: skip
    """Move a tenant's rows to another server while its application and all others go on.

    Both databases must be PostgreSQL 15 or newer, migrated through distribute by the same spec. Obstacles are listed
    first, with exit status 4. The rows are copied and kept up to date by logical replication, and compared while the
    tenant writes; its writes are refused twice or more often, each time for a moment (SQLSTATE 40001). After the last
    time it is at the target. Its rows at the source are deleted last. After an interruption, run the same command
    again, or with --abort.
    """
    if max_pause <= timedelta():
        raise UsageError("--max-pause must be more than 0")
    if abort and dry_run:
        raise UsageError("--abort and --dry-run exclude each other", remedy="Omit one of them.")
    if init and (abort or dry_run):
        raise UsageError("--init excludes --abort and --dry-run", remedy="Omit it.")
    if force and not abort:
        raise UsageError("--force needs --abort", remedy="Add --abort, or omit it.")
    if to is None and not force:
        raise UsageError("--to is missing", remedy="Give the database to which the tenant moves: --to DSN.")
    spec = terminal.spec()
    chosen = MoveOptions(
        init=init, max_pause=max_pause.total_seconds(), replicate_from=replicate_from, location=location,
        lock_timeout=lock_timeout, lock_budget=lock_budget,
    )  # fmt: skip
    if force:
        with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
            _show_aborted(terminal, abandon_move(database, spec, slug, chosen, observer=observer))
        return ExitStatus.DONE
    with resolve_target(to) as other:
        if dry_run:
            with target(terminal) as database:
                return _preview(terminal, preview_move(database, spec, slug, other, chosen))
        with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
            if abort:
                _show_aborted(terminal, abort_move(database, spec, slug, other, chosen, observer=observer))
            else:
                _show_moved(terminal, move_tenant(database, spec, slug, other, chosen, observer=observer))
    return ExitStatus.DONE


def _preview(terminal: Terminal, found: MovePreview) -> ExitStatus:
    rows = {str(name): rows for name, rows in found.rows.items()}
    terminal.answer(
        dry_run=True, tenant=found.tenant, location=found.location, tables=rows, problems=found.problems,
        identities=found.identities, whole=found.whole, unfinished=found.unfinished,
    )  # fmt: skip
    show_rows(terminal, rows)
    if found.identities:
        terminal.say(f"Another replica identity until the end of the move: {', '.join(map(str, found.identities))}.")
    if found.whole:
        terminal.say(
            "If rows of these tables are written while rows are compared, all of them are compared once more while"
            f" writes are refused, since no unique key contains the tenant: {', '.join(map(str, found.whole))}."
        )
    if found.unfinished is not None:
        terminal.say(f"The move {found.unfinished.id} has begun, and would be continued.")
    if found.problems:
        raise Refused(
            f"The tenant {found.tenant.slug!r} cannot be moved: {found.problems[0]}",
            remedy="Correct what is named. Nothing was changed.",
            details=found.problems[1:],
        )
    terminal.show(
        f"{counted(sum(rows.values()), 'row')} of {found.tenant.slug} can be moved to {found.location}."
        " Nothing was changed."
    )
    return ExitStatus.DONE


def _show_moved(terminal: Terminal, done: TenantMoved) -> None:
    terminal.answer(
        tenant=done.tenant, location=done.location, rows=done.rows, pauses=done.pauses, pause=done.pause,
        longest_pause=done.longest_pause,
    )  # fmt: skip
    terminal.log.write("done", tenant=done.tenant.slug, location=done.location, rows=done.rows, pause=done.pause)
    terminal.show(f"{done.tenant.slug} is at {done.location}; {counted(done.rows, 'row')} deleted here.")
    if done.pauses:
        more = f" The longest of {done.pauses} pauses was {duration(done.longest_pause)}." if done.pauses > 1 else ""
        terminal.say(f"Its writes were refused for {duration(done.pause)}.{more}")


def _show_aborted(terminal: Terminal, done: MoveAborted) -> None:
    terminal.answer(tenant=done.tenant, rows=done.rows, left_at=done.left_at)
    terminal.log.write("done", tenant=done.tenant.slug, rows=done.rows, left_at=done.left_at)
    if done.left_at:
        terminal.show(f"{done.tenant.slug} stays here. {done.left_at} was left as it is.")
        again = f"tenantry tenants move {done.tenant.slug} --abort"
        terminal.say(
            f"If it comes back, `{again} --to …` deletes what was copied; `{again} --force` forgets it, if it is lost."
        )
    elif done.rows is None:
        terminal.show(f"{done.tenant.slug} stays here. The target is forgotten.")
    else:
        terminal.show(f"{done.tenant.slug} stays here; {counted(done.rows, 'copied row')} deleted at the target.")
