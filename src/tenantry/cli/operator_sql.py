"""tenantry operator-sql."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.operator_sql import operator_sql as make_script
from tenantry.errors import ExitStatus


def operator_sql(
    terminal: Terminal,
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="NAME", show_default=False,
                     help="The operator's name; by default the spec's [operator], else tenantry_operator."),
    ] = None,
) -> ExitStatus:  # fmt: skip
    """Print a psql script that creates the role that runs tenantry, with its privileges and the reason for each.

    The privileges are those that every command needs for this spec and database; without a spec, those of discover.
    Changes nothing.
    """
    spec = terminal.spec() if terminal.settings.has_spec else None
    with target(terminal) as database:
        found = make_script(database, spec, role=role)
    terminal.answer(
        role=found.role,
        database=found.database,
        script=found.text,
        rights=[
            {"sql": right.statement.as_string(None), "why": right.why, "optional": right.optional}
            for right in found.rights
        ],
    )
    terminal.write(found.text)
    return ExitStatus.DONE
