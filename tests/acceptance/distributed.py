"""The depot's database, and its phase distribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from acceptance import depot
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback, validate
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

NORTH, SOUTH = "the north", "the south"
DISTRIBUTE = MigrateOptions(until=Phase.DISTRIBUTE, prepare=True, force=True, backup=BackupKind.NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Depot:
    """A copy of the depot's database, with a spec whose roles are its own."""

    database: Database
    spec: Spec
    role: str
    text: str

    @property
    def target(self) -> Target:
        return Target(self.database.dsn)

    def distribute(self) -> None:
        migrate(self.target, self.spec, DISTRIBUTE)

    def as_tenant(self, tenant: str, query: str) -> list[tuple[object, ...]]:
        with self.database.connect() as connection, connection.transaction():
            connection.execute(f"SET LOCAL ROLE {self.role}")
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", [tenant])
            return connection.execute(query).fetchall()


@pytest.fixture
def there(template: Callable[..., Database], role: Callable[..., str]) -> Depot:
    database = template("depot", lambda database: database.execute(depot.SCHEMA))
    application = role(create=False, name="app")
    text = depot.SPEC.format(role=application, legacy=role(name="legacy"))
    spec = Spec.parse(text)
    return Depot(database=database, spec=spec, role=application, text=text)


def assert_sound(there: Depot, spec: Spec) -> None:
    found = [one for one in validate(there.target, spec).findings if one.severity.serious]
    assert found == [], [one.message for one in found]


def assert_back(there: Depot, dump: str) -> None:
    back = rollback(there.target, RollbackOptions())
    assert [one for one in back.findings if one.severity.serious] == []
    assert there.database.dump() == dump
