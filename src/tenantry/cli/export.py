"""tenantry export."""

from __future__ import annotations

import keyword
from pathlib import Path
from typing import Annotated

import typer

from tenantry import private_files
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.export import export as run_export
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.exports import Orm
from tenantry.model.wording import counted


def export(
    terminal: Terminal,
    orm: Annotated[
        Orm, typer.Argument(metavar="ORM", help=f"The ORM to write files for: {', '.join(Orm)}.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FOLDER", show_default=False, help="The folder for the files; by default they"
                     " are printed."),
    ] = None,
    app: Annotated[
        str, typer.Option("--app", metavar="LABEL", help="Django: the label of the application.")
    ] = "tenants",
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="NAME", show_default=False,
                     help="The migration (Django) or revision (Alembic) that the new one follows."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> ExitStatus:  # fmt: skip
    """Write models of the migrated tables for an ORM, with their tenant columns and keys.

    For Django and Alembic also a migration that records them in their history. Changes nothing in the database.
    """
    if not app.isidentifier() or keyword.iskeyword(app):
        raise UsageError(f"--app: {app!r} is not an application label", remedy="Use letters, digits and _.")
    if after is not None and orm in (Orm.SQLALCHEMY, Orm.PRISMA):
        raise UsageError(f"--after: {orm} has no migrations here", remedy="Omit --after.")
    spec = terminal.spec()
    with target(terminal) as database:
        files = run_export(database, spec, orm, app=app, after=after)
    terminal.answer(files=files, output=output)
    if output is None:
        for path, text in files.items():
            terminal.write(f"{'//' if orm is Orm.PRISMA else '#'} {path}\n{text}\n")
        return ExitStatus.DONE
    there = [path for path in files if (output / path).exists()]
    if there and not force:
        raise Refused(
            f"{output / there[0]} exists already", remedy="Choose another folder, or add --force to overwrite it."
        )
    for path, text in files.items():
        _write(output / path, text)
    terminal.show(f"Wrote {counted(len(files), 'file')} into {output}.")
    return ExitStatus.DONE


def _write(path: Path, text: str) -> None:
    try:
        private_files.make_folder(path.parent)
        private_files.write_text(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
