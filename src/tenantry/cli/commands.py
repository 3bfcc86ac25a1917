"""The commands by name. The module of one is imported when it is called, or asked for its own help: a list of all
of them is quick."""

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
    """`function`, as module.function below tenantry.cli; `help`, its docstring's first paragraph, for lists; what it
    `says` of options of every command where it means something else by them; whether each run of it leaves a report."""

    function: str
    help: str
    says: Mapping[str, str] = field(default_factory=dict)
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Commands below one name."""

    help: str
    commands: Mapping[str, Command | Group] = field(default_factory=dict)


def run(name: str, settings: Settings, function: Callable[..., ExitStatus], arguments: dict[str, Any]) -> ExitStatus:
    """As tenantry.cli.runner.run, which is imported by a command only."""
    from tenantry.cli.runner import run as run_command

    return run_command(name, settings, function, arguments)


class Imported(Mapping[str, Any]):
    """The parsers of commands, each made when it is asked for."""

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
    """A group whose list of commands imports none of them."""

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
    "dsn": "embedded:FOLDER: the folder of the demo's server, which is kept; a temporary one unless given. No other"
    " server is used.",
    "config": "The spec to migrate by; the preset's unless given.",
    "preset": "Which tables and rows are loaded: estoque unless given, or enterprise.",
}
"""The demo heeds the command line alone: what the environment names is no place for a demonstration."""
COMMANDS: Mapping[str, Command | Group] = {
    "demo": Command(
        "demo.demo",
        "Show the main job on a server of its own: an old application writes while its database is migrated.",
        says=DEMO,
    ),
    "sample": Command(
        "sample.sample",
        "Load a preset's tables with sample rows into an empty database.",
        says={
            "config": "A spec that has to fit the tables that are loaded; this command needs none.",
            "preset": "The argument says it as well.",
        },
    ),
    "discover": Command(
        "discover.discover",
        "Look at the schema and ask the data who owns which rows; write a commented spec. Changes no database.",
        says={**NO_SPEC, "config": "With --update the spec to add to; else one that has to fit the database."},
    ),
    "operator-sql": Command(
        "operator_sql.operator_sql",
        "Print a script for psql that makes the role which runs tenantry, with the rights that it needs and why.",
    ),
    "conflicts": Command(
        "conflicts.conflicts",
        "Show the rows that lead to several tenants: which ways disagree, over how many rows of which "
        "two tenants, and the statement that would correct them either way.",
    ),
    "plan": Command(
        "plan.plan",
        "Show what migrate would do: for each phase, and the tables that take longest, the steps, their "
        "locks, the rows that they are expected to touch, and how long that may take.",
    ),
    "migrate": Command(
        "migrate.migrate", "Migrate the database up to a phase, from any state that it is in.", reports=True
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
        "Undo what tenantry has applied, from any state of the database; it needs no spec, only the journal.",
        says=NO_SPEC,
        reports=True,
    ),
    "status": Command(
        "status.status",
        "Show how far each table has come, what the run in progress is doing, and what is stuck. Changes nothing.",
    ),
    "export": Command(
        "export.export",
        "Write what migrate has made as the files of an ORM: models of all tables with their tenant column and keys.",
    ),
    "housekeeping": Command(
        "housekeeping.housekeeping",
        "Pack logs and reports past their age, take away old backups and old rows of the journal, and say what stays.",
        reports=True,
    ),
    "tenants": Group(
        "List, add and rename tenants; export, import and remove their rows.",
        {
            "list": Command("tenants.list_", "List the tenants: slug, name and key."),
            "add": Command("tenants.add", "Add a tenant."),
            "rename": Command("tenants.rename", "Give a tenant another slug; its key, by which rows name it, stays."),
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
        },
    ),
    "keys": Group(
        "Make, list, revoke and rotate API keys, by which requests say their tenant.",
        {
            "create": Command(
                "keys.create",
                "Make an API key for a tenant, and show it: it is stored nowhere, and never shown again.",
            ),
            "list": Command(
                "keys.list_",
                "List the API keys: whose, what for, what they may do, until when, and when they were last used.",
            ),
            "revoke": Command("keys.revoke", "End an API key now.", says=NO_SPEC),
            "rotate": Command(
                "keys.rotate",
                "Make a key in place of another, with its tenant, name and scopes, and show it.",
                says=NO_SPEC,
            ),
        },
    ),
    "balances": Group(
        "Keep balances in step with a ledger.",
        {
            "install": Command(
                "balances.install",
                "Keep balances for the spec's ledgers from now on: table, functions, triggers, "
                "and the view that readers query.",
                reports=True,
            ),
            "backfill": Command(
                "balances.backfill",
                "Bring the balances in step with their ledgers, exactly, while the application goes on writing.",
                reports=True,
            ),
            "validate": Command(
                "balances.validate",
                "Check that all is there and that every balance equals its ledger, compared in "
                "one snapshot; exit 1 if not.",
                reports=True,
            ),
            "reconcile": Command(
                "reconcile.reconcile",
                "Compare ledgers and balances in one snapshot, exactly, while the application "
                "goes on writing; for cron.",
                reports=True,
            ),
            "compact": Command(
                "balances.compact",
                "Fold the slots of hot keys that had no movement for a minute into one row a key;"
                " for cron, beside writers.",
            ),
            "empty": Command(
                "balances.empty",
                "TRUNCATE a ledger together with its balances, which the triggers otherwise refuse.",
                reports=True,
            ),
            "remove": Command(
                "balances.remove",
                "Take the balances away: triggers, functions, view and table; the ledger stays as it is.",
                reports=True,
            ),
            "review": Group(
                "Decide on what differs too much.",
                {
                    "list": Command(
                        "review.list_",
                        "List the differences that are too large to be corrected without asking; "
                        "exits with 1 while some are open.",
                    ),
                    "accept": Command(
                        "review.accept",
                        "Set the balance to what the ledger says, exactly, while the application goes on writing.",
                        reports=True,
                    ),
                    "reject": Command(
                        "review.reject",
                        "Keep the balance as it is, and remember its difference from the ledger as meant.",
                        reports=True,
                    ),
                },
            ),
        },
    ),
    "fixes": Group(
        "List what --fix-issues corrected; take it back.",
        {
            "list": Command(
                "fixes.list_", "List what --fix-issues has corrected, and how much of it was undone.", says=NO_SPEC
            ),
            "undo": Command(
                "fixes.undo",
                "Put every value back that a run with --fix-issues has changed.",
                says=NO_SPEC,
                reports=True,
            ),
        },
    ),
    "backups": Group(
        "Make, verify, restore and watch backups.",
        {
            "create": Command(
                "backups.create",
                "Make a backup of the owned tables and the tenant table, from one snapshot, while writers go on.",
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
                "Make tables what they were in a backup, in one transaction: rows that differ, "
                "and no others, are changed.",
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
                "For cron: exit 1, a line for each finding on standard error, and a JSON "
                "document, where backups are too old, too small, unverified for too long, or "
                "about to fill the disk.",
                says=NO_SPEC,
            ),
        },
    ),
}
