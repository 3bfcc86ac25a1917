"""The two sample businesses under roles of their own, as they come and migrated."""

from __future__ import annotations

from collections.abc import Callable

from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path

ROWS = 600


def text_of(preset: str) -> str:
    return spec_path(preset).read_text(encoding="utf-8").replace("tenantry_app", f"rules_{preset}_app")


def spec_of(preset: str, rules: str | None = None) -> Spec:
    """A preset's spec; `rules` in place of its rules."""
    text = text_of(preset)
    if rules is not None:
        text = text[: text.index("[[rule]]")] + rules
    return Spec.parse(text)


def loaded(preset: str) -> Callable[[Database], None]:
    def build(database: Database) -> None:
        with database.connect() as connection:
            load(connection, preset=preset, rows=ROWS, seed=1)

    return build


def migrated(preset: str) -> Callable[[Database], None]:
    def build(database: Database) -> None:
        loaded(preset)(database)
        migrate(Target(database.dsn), spec_of(preset), MigrateOptions(force=True, workers=1, backup=BackupKind.NONE))

    return build
