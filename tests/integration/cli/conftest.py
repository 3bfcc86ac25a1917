"""A small estoque database that is migrated by the real command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conftest import Command
from servers import Database
from tenantry.presets import load, spec_path

ROWS = 400


def load_estoque(database: Database) -> None:
    """The preset estoque, small."""
    with database.connect() as connection:
        load(connection, preset="estoque", rows=ROWS, seed=1)


@pytest.fixture
def estoque(template: Callable[..., Database]) -> Database:
    """A copy of the preset estoque, before any migration."""
    return template("cli estoque", load_estoque)


@pytest.fixture
def shop(estoque: Database, role: Callable[..., str], command: Callable[[str], Command]) -> Command:
    """The command in a folder whose tenantry.toml is estoque's, with an application role of its own."""
    made = command(estoque.dsn)
    text = spec_path("estoque").read_text().replace("tenantry_app", role(create=False, name="app"))
    (made.folder / "tenantry.toml").write_text(text)
    return made
