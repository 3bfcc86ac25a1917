"""The options that every command has, and how a function becomes a command."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from tenantry.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from tenantry.model.spec import Spec

PANEL = "Everywhere"
SPEC = ("config", "preset")
"""Options that choose a spec."""
REPORTS = ("export_report", "report_dir")
"""Options for reports."""
DEFAULT_SPEC = Path("tenantry.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of the shared options: from the command line, else from the environment."""

    dsn: str | None = None
    config: Path | None = None
    preset: str | None = None
    json: bool = False
    log_dir: Path = Path("logs")
    report_dir: Path = Path("reports")
    export_report: bool = False
    verbose: bool = False
    quiet: bool = False
    no_color: bool = False
    named: frozenset[str] = frozenset()
    """The options given on the command line."""

    @property
    def names_spec(self) -> bool:
        """Whether the command line gives a spec."""
        return not self.named.isdisjoint(SPEC)

    @property
    def has_spec(self) -> bool:
        """Whether there is a spec to read: a given one, or ./tenantry.toml."""
        return self.config is not None or self.preset is not None or DEFAULT_SPEC.exists()

    def spec(self) -> Spec:
        """The spec that --config or --preset gives, on the command line or else in the environment, or ./tenantry.toml.
        Raises UsageError if both are given, and for a file that does not exist or is not valid."""
        from tenantry.model.spec import Spec
        from tenantry.presets import spec_path

        given = [name for name in SPEC if getattr(self, name) is not None]
        given = [name for name in given if name in self.named] or given
        if len(given) > 1:
            raise UsageError("--config and --preset both give a spec", remedy="Omit one of them.")
        if given == ["preset"] and self.preset is not None:
            return Spec.read(spec_path(self.preset))
        return Spec.read(self.config or DEFAULT_SPEC)


Run = Callable[[str, Settings, Callable[..., ExitStatus], dict[str, Any]], ExitStatus]
"""Calls a command by its name, with the shared options and its own arguments."""

Dsn = Annotated[
    str | None,
    typer.Option(
        "--dsn", metavar="DSN", rich_help_panel=PANEL, show_default=False,
        help="The database: postgresql://user@host/name, key=value pairs, or embedded:FOLDER for a private server in a"
        " folder. By default DATABASE_URL, then the PG* variables.",
    ),
]  # fmt: skip
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", rich_help_panel=PANEL, show_default=False, envvar="TENANTRY_CONFIG",
        help="The spec; by default ./tenantry.toml.",
    ),
]  # fmt: skip
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset", metavar="NAME", rich_help_panel=PANEL, show_default=False, envvar="TENANTRY_PRESET",
        help="Use the spec of a preset instead: estoque or enterprise.",
    ),
]  # fmt: skip
Json = Annotated[
    bool | None,
    typer.Option(
        "--json", rich_help_panel=PANEL, envvar="TENANTRY_JSON",
        help="Print one JSON document on standard output, errors included, and nothing else.",
    ),
]  # fmt: skip
LogDir = Annotated[
    Path | None,
    typer.Option(
        "--log-dir", metavar="FOLDER", rich_help_panel=PANEL, show_default=False, envvar="TENANTRY_LOG_DIR",
        help="The folder for logs, one file for each run, one JSON object for each line; by default ./logs.",
    ),
]  # fmt: skip
ReportDir = Annotated[
    Path | None,
    typer.Option(
        "--report-dir", metavar="FOLDER", rich_help_panel=PANEL, show_default=False, envvar="TENANTRY_REPORT_DIR",
        help="The folder for reports of runs, as JSON; by default ./reports.",
    ),
]  # fmt: skip
ExportReport = Annotated[
    bool | None,
    typer.Option(
        "--export-report", rich_help_panel=PANEL, envvar="TENANTRY_EXPORT_REPORT",
        help="Besides the JSON report, write its findings as CSV, and all of it as an HTML page that needs no network.",
    ),
]  # fmt: skip
Verbose = Annotated[
    bool | None,
    typer.Option(
        "--verbose", "-v", rich_help_panel=PANEL, envvar="TENANTRY_VERBOSE",
        help="Show more: steps that are applied already, all findings, all details.",
    ),
]  # fmt: skip
Quiet = Annotated[
    bool | None,
    typer.Option(
        "--quiet", "-q", rich_help_panel=PANEL, envvar="TENANTRY_QUIET", help="Show only the outcome and errors."
    ),
]
NoColor = Annotated[
    bool | None,
    typer.Option(
        "--no-color", rich_help_panel=PANEL, envvar="TENANTRY_NO_COLOR", help="No colours; NO_COLOR does the same."
    ),
]


def everywhere(
    dsn: Dsn = None, config: Config = None, preset: Preset = None, json: Json = None, log_dir: LogDir = None,
    report_dir: ReportDir = None, export_report: ExportReport = None, verbose: Verbose = None, quiet: Quiet = None,
    no_color: NoColor = None,
) -> None:  # fmt: skip
    """The options that every command has."""


NAMES = tuple(inspect.signature(everywhere).parameters)
NO_SPEC: Mapping[str, str] = {
    "config": "A spec to check against the database; this command does not need one.",
    "preset": "A preset whose spec to check against the database; this command does not need one.",
}
"""The help of the spec's options in commands that need no spec."""
NO_REPORT: Mapping[str, str] = {
    "report_dir": "The folder for reports of other commands; this one writes none.",
    "export_report": "For commands that write a report; this one writes none, and warns.",
}
"""The help of the report's options in commands that write no report."""


def keep(context: typer.Context, values: Mapping[str, Any]) -> None:
    """Keep the shared options that were given here. Later positions on the command line override earlier ones, and each
    of them the environment."""
    given = {name: values[name] for name in NAMES if values.get(name) is not None}
    sources = {name: context.get_parameter_source(name) for name in given}
    line = {name: value for name, value in given.items() if getattr(sources[name], "name", "") != "ENVIRONMENT"}
    earlier = context.obj or Settings()
    named = earlier.named | line.keys()
    environment = {name: value for name, value in given.items() if name not in named}
    context.obj = replace(earlier, **environment, **line, named=named)


def is_set(name: str, arguments: Sequence[str]) -> bool:
    """Whether a switch is set in these arguments, which could not be parsed, or in the environment."""
    value = os.environ.get(f"TENANTRY_{name.upper()}", "").strip().lower()
    return f"--{name.replace('_', '-')}" in arguments or value in ("1", "true", "t", "yes", "y", "on")


def register(
    app: typer.Typer, name: str, function: Callable[..., ExitStatus], run: Run, *, says: Mapping[str, str],
    reports: bool = False,
) -> None:  # fmt: skip
    """Make a function a command of `app`: the options after its first argument, then the shared ones, with the help
    texts of `says`. With `reports` each run of it writes a report.

    `run` calls it. Options may also be given before the command; those after it override them. An option of the
    function replaces a shared one of the same name.
    """
    own = parameters(function)[1:]
    taken = {spelling for parameter in own for spelling in _spellings(parameter)}
    common = [one for one in shared(says if reports else {**NO_REPORT, **says}) if taken.isdisjoint(_spellings(one))]

    def called(context: typer.Context, **values: Any) -> ExitStatus:
        keep(context, values)
        arguments = {parameter.name: values[parameter.name] for parameter in own}
        return run(context.command_path.partition(" ")[2], context.obj, function, arguments)

    declare(called, [*own, *common], help=function.__doc__)
    # The whole help, which a list of commands would otherwise cut.
    app.command(name, short_help=(function.__doc__ or "").partition("\n\n")[0])(called)


def declare(called: Callable[..., Any], options: Sequence[inspect.Parameter], *, help: str | None) -> None:
    """Show Typer these options and this help for a function that takes a context first."""
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    called.__signature__ = inspect.Signature([context, *options])  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in (context, *options)}
    called.__doc__ = help


def shared(says: Mapping[str, str] | None = None) -> list[inspect.Parameter]:
    """The shared options; those in `says` with that help, and without their environment variables."""
    return [_saying(parameter, (says or {}).get(parameter.name)) for parameter in parameters(everywhere)]


def _spellings(parameter: inspect.Parameter) -> tuple[str, ...]:
    """How an option is written on the command line; nothing for an argument."""
    option = get_args(parameter.annotation)[1]
    # In Annotated, Typer takes the first of them for the default until it makes the option.
    words = (option.default, *(option.param_decls or ()))
    return tuple(word for word in words if isinstance(word, str) and word.startswith("-"))


def _saying(parameter: inspect.Parameter, help: str | None) -> inspect.Parameter:
    if help is None:
        return parameter
    kind, option = get_args(parameter.annotation)
    option = copy(option)
    option.help, option.envvar = help, None
    return parameter.replace(annotation=Annotated[kind, option])


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, as Typer reads them."""
    hints = get_type_hints(function, include_extras=True)
    return [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()
    ]
