"""A rollback beside what has happened since: other runs, and what others have given to the application role."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daily import daily
from rollback.conftest import Business
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import ExitStatus
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server


def test_rollback_goes_on_after_many_runs(business: Business) -> None:
    """A killed rollback is known as such, however many runs came after it."""
    business.migrate()
    business.execute(
        "INSERT INTO tenantry.runs (id, command, takes_back, started_at)"
        " VALUES ('dead', 'rollback', true, clock_timestamp());"
        "INSERT INTO tenantry.events (run, key, action, milliseconds) VALUES ('dead', 'x', 'reverted', 1);"
        "ALTER TABLE usuarios NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;"
        "INSERT INTO tenantry.runs (id, command, started_at)"
        " SELECT 'other ' || n, 'validate', clock_timestamp() FROM generate_series(1, 60) n"
    )
    assert business.rollback().exit_status is ExitStatus.DONE
    business.assert_original()


@pytest.mark.parametrize(
    "given",
    daily(["ALTER ROLE {role} SET work_mem = '8MB'", "ALTER ROLE {role} IN DATABASE {database} SET work_mem = '8MB'",
     "GRANT {role} TO {other}", "GRANT {other} TO {role}", "ALTER ROLE {role} CONNECTION LIMIT 3",
     "ALTER ROLE {role} CREATEDB", "COMMENT ON ROLE {role} IS 'serves the shop'", "ALTER ROLE {role} PASSWORD 'x'",
     "CREATE TABLE theirs (); GRANT SELECT ON theirs TO {role}"], 3),
)  # fmt: skip
def test_role_with_more_than_we_gave(given: str, business: Business, role: Callable[..., str]) -> None:
    """An application role to which others have given something stays after a rollback, with it."""
    other = role(name="other")
    business.migrate()
    name = business.spec.application.role
    business.execute(given.format(role=name, other=other, database=business.database.name))
    result = business.rollback()
    assert "kept-in-use" in {finding.name for finding in result.findings}
    assert business.database.rows(f"SELECT to_regrole('{name}') IS NOT NULL") == [(True,)]


def test_names_of_ours_in_a_quoted_schema(database: Database, role: Callable[..., str]) -> None:
    """An index of ours that the journal has lost is told as ours, whatever the schema is called."""
    database.execute(
        'CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE); CREATE SCHEMA "the ""shop"'
        " CREATE TABLE stock (id int PRIMARY KEY, org int NOT NULL REFERENCES public.tenants)"
    )
    spec = Spec.parse(
        'schemas = ["public", "the \\"shop"]\n[tenant]\ntable = "tenants"\n[application]\nrole = "ROLE"\n'
        """[[table]]\nname = '"the ""shop".stock'\npaths = [["org"]]\ncolumn = "tenant_id"\n""".replace(
            "ROLE", role(create=False, name="app")
        )
    )
    target = Target(database.dsn)
    migrate(target, spec, MigrateOptions(until=Phase.ENFORCE, backup=BackupKind.NONE))
    database.execute("DELETE FROM tenantry.steps WHERE key LIKE 'index:%' OR key LIKE 'foreign_key%'")
    result = rollback(target, RollbackOptions(preserve_data=True, backup=BackupKind.NONE))
    left = [str(finding.samples) for finding in result.findings if finding.name == "schema-differs"]
    assert left
    assert '"the ""shop".tenantry_' in left[0]
