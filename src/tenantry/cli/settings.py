"""The options that every command has, and how a function becomes a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from tenantry.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from tenantry.model.spec import Spec

PANEL = "Everywhere"
REPORTS_PANEL = "Reports"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the options say that stand before or behind any command."""

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

    def spec(self) -> Spec:
        """The spec that --config or --preset names. Raises UsageError."""
        from tenantry.model.spec import Spec
        from tenantry.presets import spec_path

        if self.preset is not None and self.config is not None:
            raise UsageError("--config and --preset both name a spec", remedy="Give one of them.")
        if self.preset is not None:
            return Spec.read(spec_path(self.preset))
        return Spec.read(self.config or Path("tenantry.toml"))


Run = Callable[[str, Settings, Callable[..., ExitStatus], dict[str, Any]], ExitStatus]
"""Calls a command by its name, with what all commands have, and its own arguments."""

Dsn = Annotated[
    str | None,
    typer.Option(
        "--dsn", metavar="DSN", rich_help_panel=PANEL, show_default=False,
        help="The database: postgresql://user@host/name, key=value pairs, or embedded:FOLDER for a server of our own"
        " there. Without it DATABASE_URL, then the PG* variables.",
    ),
]  # fmt: skip
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", rich_help_panel=PANEL, show_default=False,
        help="The spec; ./tenantry.toml unless given.",
    ),
]  # fmt: skip
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset", metavar="NAME", rich_help_panel=PANEL, show_default=False,
        help="The spec of a preset in its place: estoque or enterprise.",
    ),
]  # fmt: skip
Json = Annotated[
    bool | None,
    typer.Option(
        "--json",
        rich_help_panel=PANEL,
        help="One JSON document on standard output, errors too; nothing else there.",
    ),
]
LogDir = Annotated[
    Path | None,
    typer.Option(
        "--log-dir", metavar="FOLDER", rich_help_panel=PANEL, show_default=False,
        help="Where logs are written: one file a run, one JSON object a line; ./logs unless given.",
    ),
]  # fmt: skip
ReportDir = Annotated[
    Path | None,
    typer.Option(
        "--report-dir", metavar="FOLDER", rich_help_panel=REPORTS_PANEL, show_default=False,
        help="Where the report of the run is written, as JSON, by commands that leave one; ./reports unless given.",
    ),
]  # fmt: skip
ExportReport = Annotated[
    bool | None,
    typer.Option(
        "--export-report", rich_help_panel=REPORTS_PANEL,
        help="Beside the JSON report its findings as CSV, and all of it as an HTML page that needs no network.",
    ),
]  # fmt: skip
Verbose = Annotated[
    bool | None,
    typer.Option(
        "--verbose",
        "-v",
        rich_help_panel=PANEL,
        help="Say more: steps that are in force already, all details.",
    ),
]
Quiet = Annotated[
    bool | None,
    typer.Option("--quiet", rich_help_panel=PANEL, help="Say nothing but the outcome and errors."),
]
NoColor = Annotated[
    bool | None, typer.Option("--no-color", rich_help_panel=PANEL, help="No colours; NO_COLOR does the same.")
]


def everywhere(
    dsn: Dsn = None, config: Config = None, preset: Preset = None, json: Json = None, log_dir: LogDir = None,
    report_dir: ReportDir = None, export_report: ExportReport = None, verbose: Verbose = None, quiet: Quiet = None,
    no_color: NoColor = None,
) -> None:  # fmt: skip
    """The options that every command has, those of REPORTS where it writes a report."""


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Those of the options of `everywhere` that were given."""
    return {name: value for name in NAMES if (value := values.get(name)) is not None}


NAMES = tuple(inspect.signature(everywhere).parameters)


SPEC = ("config", "preset")
"""Options that name a spec, for `without`."""
REPORTS = ("report_dir", "export_report")


def register(
    app: typer.Typer, name: str, function: Callable[..., ExitStatus], run: Run, *, without: Sequence[str] = (),
    reports: bool = False,
) -> None:  # fmt: skip
    """Make a function a command of `app`: the options behind its first argument, then those that all have, but for
    `without`, which mean nothing to it. With `reports` each run of it leaves a report.

    `run` calls it. An option may stand before the command as well; behind it, it counts more.
    """
    own, without = _parameters(function)[1:], (*without, *(() if reports else REPORTS))
    common = [parameter for parameter in _parameters(everywhere) if parameter.name not in without]

    def called(context: typer.Context, **values: Any) -> ExitStatus:
        before: dict[str, Any] = context.obj or {}
        for meaningless in before.keys() & set(without):
            raise typer.BadParameter(f"{name} has no option --{meaningless.replace('_', '-')}")
        behind = {parameter.name: values[parameter.name] for parameter in common}
        settings = Settings(**{**before, **given(behind)})
        arguments = {parameter.name: values[parameter.name] for parameter in own}
        return run(context.command_path.partition(" ")[2], settings, function, arguments)

    first = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    called.__signature__ = inspect.Signature([first, *own, *common])  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in (first, *own, *common)}
    called.__doc__ = function.__doc__
    # Whole, where a list of commands would otherwise cut it.
    app.command(name, short_help=(function.__doc__ or "").partition("\n\n")[0])(called)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    return [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()
    ]
