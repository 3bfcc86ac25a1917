"""tenantry keys create, list, revoke, rotate."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Column, Table

from tenantry.cli import options
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.keys import NewKey, create_key, list_keys, revoke_key, rotate_key
from tenantry.errors import ExitStatus
from tenantry.model.api_key import SCOPES, ApiKey
from tenantry.model.wording import counted

Lookup = Annotated[
    str, typer.Argument(metavar="KEY", help="Its eight characters, as `keys list` shows them.", show_default=False)
]  # fmt: skip
Expires = Annotated[
    timedelta | None,
    typer.Option("--expires", metavar="TIME", parser=options.span, show_default=False, help="Its lifetime: 90d."),
]  # fmt: skip
Overlap = Annotated[
    timedelta,
    typer.Option("--overlap", metavar="TIME", parser=options.span, help="How long the old key stays valid."),
]


def create(
    terminal: Terminal,
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's slug.", show_default=False)],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Its purpose.", show_default=False)],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help="read or write; by default both.", show_default=False),
    ] = None,
    expires: Expires = None,
    dry_run: options.DryRun = False,
) -> ExitStatus:
    """Create an API key for a tenant, and show it: it is not stored, and never shown again.

    The spec must enable keys: api_keys = true in [application].
    """
    spec = terminal.spec()
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        made = create_key(
            database, spec, tenant, name, scopes=scope or SCOPES, lifetime=expires, dry_run=dry_run, observer=observer
        )
    return _shown(terminal, made)


def list_(
    terminal: Terminal,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="SLUG", help="Of one tenant only.", show_default=False)
    ] = None,
) -> ExitStatus:
    """List the API keys: tenant, name, scopes, expiry, and last use."""
    with target(terminal) as database:
        found = list_keys(database, terminal.spec(), slug=tenant)
    terminal.answer(keys=found)
    table = Table(
        Column("key", no_wrap=True), "tenant", "name", "scopes", "ends", "last used", "", box=None, pad_edge=False
    )
    for key in found:
        table.add_row(
            f"tk_{key.lookup}", key.slug or f"{key.tenant} (gone)", key.name, " ".join(key.scopes), _time(key.ends_at),
            _time(key.last_used_at), _state(key),
        )  # fmt: skip
    terminal.show(table)
    active = sum(key.active for key in found)
    terminal.say(f"{active} active of {counted(len(found), 'key')}.", style="dim")
    return ExitStatus.DONE


def revoke(terminal: Terminal, key: Lookup, dry_run: options.DryRun = False) -> ExitStatus:
    """Revoke an API key now.

    Applications cache keys, and accept it until they look it up again: by default for 10 seconds.
    """
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        ended = revoke_key(database, key, dry_run=dry_run, observer=observer)
    terminal.answer(key=ended, dry_run=dry_run)
    if dry_run:
        terminal.show(
            f"tk_{ended.lookup} {'would be revoked' if ended.active else 'has expired or was revoked already'}."
        )
        terminal.say("Nothing was changed.")
    else:
        terminal.show(f"tk_{ended.lookup} ({ended.name}) ended at {_time(ended.ends_at)}.")
    return ExitStatus.DONE


def rotate(
    terminal: Terminal, key: Lookup, overlap: Overlap = "24h", expires: Expires = None,  # type: ignore[assignment]
    dry_run: options.DryRun = False,
) -> ExitStatus:  # fmt: skip
    """Create a key that replaces another, with its tenant, name and scopes, and show it.

    The old one stays valid for --overlap. Without --expires the new one gets the lifetime of the old one.
    """
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        made = rotate_key(database, key, overlap=overlap, lifetime=expires, dry_run=dry_run, observer=observer)
    return _shown(terminal, made)


def _shown(terminal: Terminal, made: NewKey) -> ExitStatus:
    terminal.answer(key=made.key, secret=made.secret or None, dry_run=not made.secret)
    if not made.secret:
        terminal.show(f"A key for {made.key.slug or made.key.tenant}, to {' and '.join(made.key.scopes)}.")
        terminal.say("Nothing was changed.")
        return ExitStatus.DONE
    terminal.show(made.secret)
    terminal.say("It is not shown again: only its hash is stored.", style="dim")
    return ExitStatus.DONE


def _time(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment is not None else "never"


def _state(key: ApiKey) -> str:
    if key.replaced_by is not None:
        return f"replaced by tk_{key.replaced_by}"
    return "" if key.active else "ended"
