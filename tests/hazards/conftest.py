"""A business whose database is migrated phase by phase, by the product itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.execution.events import Observer
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

TENANTS = """
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'north'), (2, 'south');
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """A database of the tenants 1 (north) and 2 (south), and the spec of its other tables."""

    database: Database
    spec: Spec
    application: str
    user: str | None = None
    """The role that migrates; None for the superuser."""

    @property
    def target(self) -> Target:
        return Target(make_conninfo(self.database.dsn, **({"user": self.user} if self.user else {})))

    def migrate(self, until: Phase, watcher: Observer | None = None, **options: Any) -> Result:
        chosen = MigrateOptions(until=until, **{"backup": BackupKind.NONE, **options})
        return migrate(self.target, self.spec, chosen, watcher)

    def rollback(self) -> Result:
        return rollback(self.target, RollbackOptions())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.database.rows(query)

    def execute(self, statements: str) -> None:
        self.database.execute(statements)

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        return self.database.connect(**parameters)

    def refuses(self, statements: str, error: type[psycopg.Error]) -> None:
        """The statements fail, at the latest when they commit."""
        with closing(self.connect(autocommit=True)) as session, pytest.raises(error):
            session.execute(f"BEGIN; {statements}; COMMIT")

    def replace_trigger(self, table: str, body: str) -> None:
        """Another body for the assignment trigger's function, to show what would go wrong with it."""
        self.execute(
            f'CREATE OR REPLACE FUNCTION tenantry."assign_public__{table}"() RETURNS trigger LANGUAGE plpgsql'
            f" AS $naive$ {body} $naive$"
        )


@pytest.fixture
def business(database: Database, role: Callable[..., str]) -> Callable[..., Business]:
    """`business(schema, tables)` makes the tables; `tables` are the [[table]] parts of the spec."""
    application = role(create=False, name="app")

    def make(schema: str, tables: str, *, tenants: str = TENANTS, head: str = "", user: str | None = None) -> Business:
        if user is None:
            database.execute(tenants + schema)
        else:
            with database.connect(user=user) as connection:
                connection.execute(tenants + schema)
        text = f'[tenant]\ntable = "tenants"\n{head}\n[application]\nrole = "{application}"\n{tables}'
        return Business(database=database, spec=Spec.parse(text), application=application, user=user)

    return make
