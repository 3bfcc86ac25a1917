"""A migrated business to go back from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from acceptance.comparing import USER_TABLES
from acceptance.round_trip import checksums
from conftest import Command
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import Refused
from tenantry.model.plan import Phase
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path

ROWS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """The preset estoque, and what it was before anything was done to it."""

    database: Database
    spec: Spec
    dump: str
    rows: dict[str, tuple[int, str]]

    @property
    def target(self) -> Target:
        return Target(self.database.dsn)

    def execute(self, statements: str) -> None:
        self.database.execute(statements)

    def migrate(self, until: Phase = Phase.ISOLATE, **options: Any) -> Result:
        return migrate(self.target, self.spec, MigrateOptions(until=until, **options))

    def rollback(self, *tables: str, **options: Any) -> Result:
        return rollback(self.target, RollbackOptions(tables=tables, **options))

    def refused(self, *tables: str, **options: Any) -> Refused:
        """The refusal of a rollback, which has changed nothing."""
        before = self.state()
        with pytest.raises(Refused) as caught:
            self.rollback(*tables, **options)
        assert self.state() == before
        return caught.value

    def state(self) -> tuple[Any, ...]:
        """Everything: the schema with ours, the rows, the steps."""
        steps = self.database.rows("SELECT key, state FROM tenantry.steps ORDER BY 1")
        return self.database.dump(), checksums(self.database), steps

    def assert_original(self) -> None:
        assert self.database.dump() == self.dump
        assert checksums(self.database) == self.rows

    def columns(self, table: str) -> list[str]:
        return next(names for name, names in self.database.rows(USER_TABLES) if name == table)


def load_estoque(database: Database) -> None:
    with database.connect() as connection:
        load(connection, preset="estoque", rows=ROWS, seed=1)


@pytest.fixture
def business(template: Callable[..., Database], role: Callable[..., str]) -> Business:
    database = template(f"estoque {ROWS}", load_estoque)
    spec = Spec.read(spec_path("estoque"))
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    spec = spec.model_copy(update={"application": application})
    return Business(
        database=database, spec=spec, dump=database.as_made(Database.dump), rows=database.as_made(checksums)
    )


@pytest.fixture
def shop(business: Business, command: Callable[[str], Command]) -> Command:
    """The command in a folder whose tenantry.toml is the business's."""
    made = command(business.database.dsn)
    text = spec_path("estoque").read_text().replace("tenantry_app", business.spec.application.role)
    (made.folder / "tenantry.toml").write_text(text)
    return made
