"""The application of all commands, and its entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tenantry import __version__
from tenantry.cli.commands import CommandGroup
from tenantry.cli.settings import (
    NAMES,
    Config,
    Dsn,
    ExportReport,
    Json,
    LogDir,
    NoColor,
    Preset,
    Quiet,
    ReportDir,
    Settings,
    Verbose,
    given,
)
from tenantry.cli.streams import ended, make_ready
from tenantry.errors import ExitStatus, UsageError

# What the parser raises for wrong usage; the module that it lives in depends on typer's version.
ParserError: type[Exception] = typer.BadParameter.__mro__[2]

EXITS = (
    "Exit status: 0 done · 1 done, findings remain · 2 wrong usage, or a spec that does not fit · 3 no connection or"
    " too few privileges · 4 refused, a person must decide · 5 failed part-way, run again · 130 interrupted, run again."
)
app = typer.Typer(
    name="tenantry", cls=CommandGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    rich_markup_mode=None, epilog=EXITS, context_settings={"help_option_names": ["--help", "-h"]},
)  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tenantry {__version__}")
        raise typer.Exit


@app.callback()
def everything(
    context: typer.Context, dsn: Dsn = None, config: Config = None, preset: Preset = None, json: Json = None,
    log_dir: LogDir = None, report_dir: ReportDir = None, export_report: ExportReport = None,
    verbose: Verbose = None, quiet: Quiet = None, no_color: NoColor = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:  # fmt: skip
    """Turns a live single-tenant PostgreSQL database into a provably isolated multi-tenant one, and back."""
    context.obj = given(
        {"dsn": dsn, "config": config, "preset": preset, "json": json, "log_dir": log_dir, "report_dir": report_dir,
         "export_report": export_report, "verbose": verbose, "quiet": quiet, "no_color": no_color}
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with the command's exit status."""
    given_arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = typer.main.get_command(app)
    make_ready()
    try:
        "".join((*given_arguments, os.environ.get("DATABASE_URL", ""))).encode()
        status = parser.main(args=given_arguments, prog_name="tenantry", standalone_mode=False)
    except ParserError as error:
        status = _wrong_usage(error, given_arguments)
    except UnicodeEncodeError:
        typer.echo("tenantry: An argument, or DATABASE_URL, is not text in UTF-8.", err=True)
        status = ExitStatus.USAGE
    except typer.Abort:
        status = ExitStatus.INTERRUPTED
    except BrokenPipeError:
        status = ExitStatus.DONE
    raise SystemExit(int(ended(status or ExitStatus.DONE)))


def _wrong_usage(error: Exception, arguments: Sequence[str]) -> ExitStatus:
    from tenantry.cli.terminal import Terminal
    from tenantry.model.run import new_run
    from tenantry.reports.log import Log

    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "tenantry"
    settings = Settings(json="--json" in arguments, no_color="--no-color" in arguments)
    log = Log(settings.log_dir, command="usage", run=new_run())
    if getattr(error, "option_name", "").removeprefix("--").replace("-", "_") in NAMES:
        # What other commands have; the options that look alike here do something else.
        error.possibilities = None  # type: ignore[attr-defined]
    message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message)
        return ExitStatus.USAGE
    terminal = Terminal(command=command.partition(" ")[2], settings=settings, log=log)
    terminal.finish(ExitStatus.USAGE, UsageError(message.rstrip("."), remedy=f"See `{command} --help`."))
    return ExitStatus.USAGE
