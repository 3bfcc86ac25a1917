"""The application of all commands, and its entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tenantry import __version__
from tenantry.cli.commands import CommandGroup
from tenantry.cli.settings import Settings, declare, is_set, keep, parameters, shared
from tenantry.cli.streams import ended, make_ready
from tenantry.errors import ExitStatus, UsageError

# The parser's exception for wrong usage; the module that it is in depends on typer's version.
ParserError: type[Exception] = typer.BadParameter.__mro__[2]

EXITS = "Exit status: " + " · ".join(f"{status:d} {status.meaning}" for status in ExitStatus) + "."
app = typer.Typer(
    name="tenantry", cls=CommandGroup, no_args_is_help=True, pretty_exceptions_enable=False,
    rich_markup_mode=None, epilog=EXITS, context_settings={"help_option_names": ["--help", "-h"]},
)  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tenantry {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The options that only `tenantry` itself has."""


def everything(context: typer.Context, **values: Any) -> None:
    keep(context, values)


declare(
    everything, [*shared(), *parameters(_options)],
    help="Turns a live single-tenant PostgreSQL database into a provably isolated multi-tenant one, and back.",
)  # fmt: skip
app.callback()(everything)


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
        typer.echo("tenantry: An argument, or DATABASE_URL, is not valid UTF-8.", err=True)
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
    settings = Settings(json=is_set("json", arguments), no_color=is_set("no_color", arguments))
    log = Log(settings.log_dir, command="usage", run=new_run())
    message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message)
        return ExitStatus.USAGE
    terminal = Terminal(command=command.partition(" ")[2], settings=settings, log=log)
    terminal.finish(ExitStatus.USAGE, UsageError(message.rstrip("."), remedy=f"See `{command} --help`."))
    return ExitStatus.USAGE
