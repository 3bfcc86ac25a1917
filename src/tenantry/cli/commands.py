"""The commands by name. The module of a command is imported when it is called or asked for its help, so that the list
of commands is fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from tenantry.cli.settings import NO_SPEC, Settings, declare, keep, register, shared
from tenantry.errors import ExitStatus


@dataclass(frozen=True, slots=True)
class Command:
    """`function` is module.function below tenantry.cli; `help` is the first paragraph of its docstring, for lists;
    `says` replaces the help of shared options that have another meaning here; `reports`: each run of it writes a
    report."""

    function: str
    help: str
    says: Mapping[str, str] = field(default_factory=dict)
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group of commands under one name."""

    help: str
    commands: Mapping[str, Command | Group] = field(default_factory=dict)


def run(name: str, settings: Settings, function: Callable[..., ExitStatus], arguments: dict[str, Any]) -> ExitStatus:
    """As tenantry.cli.runner.run, which only a command imports."""
    from tenantry.cli.runner import run as run_command

    return run_command(name, settings, function, arguments)


class Imported(Mapping[str, Any]):
    """The parsers of commands, each made on first use."""

    def __init__(self, entries: Mapping[str, Command | Group]) -> None:
        self.entries = entries
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _parser(name, self.entries[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class CommandGroup(TyperGroup):
    """A group that lists its commands without importing them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Imported(COMMANDS)  # type: ignore[assignment]

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            entries = self.commands.entries  # type: ignore[attr-defined]
            formatter.write_dl([(name, entry.help) for name, entry in entries.items()])


def _parser(name: str, entry: Command | Group) -> Any:
    if isinstance(entry, Group):
        return _group(name, entry)
    module, _, function = entry.function.partition(".")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    found = getattr(import_module(f"tenantry.cli.{module}"), function)
    register(app, name, found, run, says=entry.says, reports=entry.reports)
    return typer.main.get_command(app)


def _group(name: str, entry: Group) -> Any:
    def called(context: typer.Context, **values: Any) -> None:
        keep(context, values)

    declare(called, shared(), help=entry.help)
    app = typer.Typer(name=name, cls=CommandGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
    app.callback()(called)
    made: Any = typer.main.get_command(app)
    made.commands = Imported(entry.commands)
    return made


DEMO = {
    "dsn": "embedded:FOLDER: the folder for the demo's server, which is kept; by default a temporary one. No other"
    " server is used.",
    "config": "The spec to migrate by; by default the preset's.",
    "preset": "The tables and rows to load: estoque (the default) or enterprise.",
}
"""The demo uses command-line options only: it must never run on the database that the environment names."""
COMMANDS: Mapping[str, Command | Group] = {
    "demo": Command(
        "demo.demo",
        "Migrate a sample database on a temporary server, while an old application writes to it.",
        says=DEMO,
    ),
    "sample": Command(
        "sample.sample",
        "Load a preset's tables with sample rows into an empty database.",
        says={
            "config": "A spec to check against the loaded tables; this command does not need one.",
            "preset": "The same as the argument.",
        },
    ),
    "discover": Command(
        "discover.discover",
        "Propose a spec from the schema and the rows: which tables belong to tenants. Changes no database.",
        says={**NO_SPEC, "config": "With --update, the spec to add to; else a spec to check against the database."},
    ),
    "operator-sql": Command(
        "operator_sql.operator_sql",
        "Print a psql script that creates the role that runs tenantry, with its privileges and the reason for each.",
    ),
    "conflicts": Command(
        "conflicts.conflicts",
        "Show the rows that lead to several tenants: which paths disagree, in how many rows of which two tenants,"
        " and the statement that would correct them either way.",
    ),
    "plan": Command(
        "plan.plan",
        "Show what migrate would do: phases, slowest tables, steps, locks, expected rows and times.",
    ),
    "migrate": Command(
        "migrate.migrate", "Migrate the database up to a phase, from whatever state it is in.", reports=True
    ),
    "validate": Command(
        "validate.validate", "Check that every step is applied and every row is in its tenant.", reports=True
    ),
    "verify": Command(
        "verify.verify",
        "Check the business rules of the spec for each tenant, and that no row is visible to another tenant.",
        reports=True,
    ),
    "full": Command("full.full", "Migrate, validate and verify: one run, one report, one verdict.", reports=True),
    "rollback": Command(
        "rollback.rollback",
        "Undo what tenantry has applied, from whatever state the database is in.",
        says=NO_SPEC,
        reports=True,
    ),
    "status": Command(
        "status.status",
        "Show how far each table has come, what the current run does, and which sessions block. Changes nothing.",
    ),
    "export": Command(
        "export.export",
        "Write models of the migrated tables for an ORM, with their tenant columns and keys.",
    ),
    "housekeeping": Command(
        "housekeeping.housekeeping",
        "Archive old logs and reports, remove old backups and old rows of the journal, and list what is kept.",
        reports=True,
    ),
    "tenants": Group(
        "List, add and rename tenants; export, import, remove and move their rows.",
        {
            "list": Command(
                "tenants.list_",
                "List the tenants: slug, name and key, and where those are that have moved to another server.",
            ),
            "add": Command("tenants.add", "Add a tenant."),
            "rename": Command(
                "tenants.rename", "Change the slug of a tenant; its key, which rows contain, does not change."
            ),
            "export": Command(
                "tenants.export",
                "Write a tenant's rows as CSV files with a manifest, all from one snapshot, while writers go on.",
                reports=True,
            ),
            "import": Command(
                "tenants.import_",
                "Put an exported tenant's rows into a database that was migrated by the same spec: all of them, or"
                " none.",
                reports=True,
            ),
            "remove": Command(
                "tenants.remove",
                "Delete a tenant's rows in batches, children before their parents, and the tenant, after an export of"
                " them.",
                reports=True,
            ),
            "move": Command(
                "tenant_move.move",
                "Move a tenant's rows to another server while its application and all others go on.",
                reports=True,
            ),
        },
    ),
    "keys": Group(
        "Create, list, revoke and rotate API keys, which tell the tenant of a request.",
        {
            "create": Command(
                "keys.create",
                "Create an API key for a tenant, and show it: it is not stored, and never shown again.",
            ),
            "list": Command(
                "keys.list_",
                "List the API keys: tenant, name, scopes, expiry, and last use.",
            ),
            "revoke": Command("keys.revoke", "Revoke an API key now.", says=NO_SPEC),
            "rotate": Command(
                "keys.rotate",
                "Create a key that replaces another, with its tenant, name and scopes, and show it.",
                says=NO_SPEC,
            ),
        },
    ),
    "balances": Group(
        "Maintain balances of ledgers.",
        {
            "install": Command(
                "balances.install",
                "Install balances for the spec's ledgers: tables, functions, triggers, and the views that readers"
                " query.",
                reports=True,
            ),
            "backfill": Command(
                "balances.backfill",
                "Set the balances to the exact sums of their ledgers, while the application goes on writing.",
                reports=True,
            ),
            "validate": Command(
                "balances.validate",
                "Check that all objects exist and that every balance equals its ledger, in one snapshot; exit 1 "
                "if not.",
                reports=True,
            ),
            "reconcile": Command(
                "reconcile.reconcile",
                "Compare ledgers and balances exactly, in one snapshot, while the application goes on writing; "
                "for cron.",
                reports=True,
            ),
            "compact": Command(
                "balances.compact",
                "Merge the slots of hot keys without movements in the last minute into one row for each key; for cron.",
            ),
            "empty": Command(
                "balances.empty",
                "TRUNCATE a ledger together with its balances, which the triggers otherwise refuse.",
                reports=True,
            ),
            "remove": Command(
                "balances.remove",
                "Remove the balances: triggers, functions, views and tables; the ledgers are not changed.",
                reports=True,
            ),
            "review": Group(
                "Decide on large differences between ledger and balance.",
                {
                    "list": Command(
                        "review.list_",
                        "List the differences that are too large to be corrected automatically; exits 1 while "
                        "some are open.",
                    ),
                    "accept": Command(
                        "review.accept",
                        "Accept the ledger's sum: set the balance to it, exactly, while the application goes on "
                        "writing.",
                        reports=True,
                    ),
                    "reject": Command(
                        "review.reject",
                        "Reject the ledger's sum: keep the balance, and remember the difference as intended.",
                        reports=True,
                    ),
                },
            ),
        },
    ),
    "fixes": Group(
        "List and undo the corrections of --fix-issues.",
        {
            "list": Command(
                "fixes.list_", "List what --fix-issues has corrected, and how much of it was undone.", says=NO_SPEC
            ),
            "undo": Command(
                "fixes.undo",
                "Restore every value that a run with --fix-issues has changed.",
                says=NO_SPEC,
                reports=True,
            ),
        },
    ),
    "backups": Group(
        "Create, verify, restore and monitor backups.",
        {
            "create": Command(
                "backups.create",
                "Back up the owned tables and the tenant table, from one snapshot, without blocking writers.",
                reports=True,
            ),
            "list": Command(
                "backups.list_",
                "List the backups, the newest first: kind, when, run, tables, rows, size, and when each was verified.",
                says=NO_SPEC,
            ),
            "verify": Command(
                "backups.verify",
                "Compare backups with what was counted when they were made: rows, and a checksum of all values.",
                says=NO_SPEC,
                reports=True,
            ),
            "restore": Command(
                "backups.restore",
                "Restore tables from a backup, in one transaction: only rows that differ are changed.",
                says=NO_SPEC,
                reports=True,
            ),
            "prune": Command(
                "backups.prune",
                "Remove backups that are neither among the newest nor young enough; incomplete ones always.",
                says=NO_SPEC,
            ),
            "monitor": Command(
                "monitor.monitor",
                "Report backups that are too old, too small, unverified for too long, or about to fill the disk; "
                "for cron.",
                says=NO_SPEC,
            ),
        },
    ),
}
