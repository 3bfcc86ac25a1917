"""There and back: the schema dump is byte for byte what it was, and so is every value of the user's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from acceptance.round_trip import there_and_back
from daily import daily, nightly
from servers import Database
from tenantry import discover
from tenantry.discovery.proposal import Undecided
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import PRESETS, load, spec_path

pytestmark = pytest.mark.server


def discovered(database: Database, role: str, tenant_table: str | None = None, default: str | None = None) -> Spec:
    """The spec that discover proposes, tables that no path reaches being the default tenant's.

    `default` is the tenant that a person names where the tenant table is too special for a new row.
    """
    found = discover(Target(database.dsn), tenant_table=tenant_table, undecided=Undecided.DEFAULT)
    text = found.text if default is None else found.text.replace('"default"', f'"{default}"')
    spec = Spec.parse(text)
    assert not [table.name for table in spec.table if table.undecided], found.text
    application = spec.application.model_copy(update={"role": role})
    return spec.model_copy(update={"application": application})


def _load(database: Database, preset: str) -> None:
    with database.connect() as connection:
        load(connection, preset=preset, rows=2000, seed=1)


WHOLE = pytest.param(Phase.CONTRACT, marks=pytest.mark.differs)


@pytest.mark.parametrize("until", daily([WHOLE, Phase.ENFORCE, Phase.EXPAND, Phase.BACKFILL, Phase.ISOLATE]))
@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str, until: Phase, template: Callable[..., Database], role: Callable[..., str]) -> None:
    """Each preset comes back from every phase."""

    database = template(f"preset {preset}", lambda database: _load(database, preset))
    spec = Spec.read(spec_path(preset))
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    there_and_back(database, spec.model_copy(update={"application": application}), until, valid=until is Phase.CONTRACT)


REAL = {
    "northwind": ("northwind", None, None),
    "chinook": ("chinook", None, None),
    "chinook by employee": ("chinook", "employee", "2"),
    "adventureworks": ("adventureworks", None, None),
    "adventureworks by territory": ("adventureworks", "sales.salesterritory", "Northwest"),
}


DAILY = ("northwind", "chinook by employee", "adventureworks by territory")


@pytest.mark.parametrize("name", [name if name in DAILY else nightly(name) for name in REAL])
def test_real_databases(name: str, realdb: Callable[[str], Database], role: Callable[..., str]) -> None:
    """discover, migrate, rollback: real databases come back."""
    source, tenant_table, default = REAL[name]
    database = realdb(source)
    if tenant_table == "sales.salesterritory":
        database.execute(
            "INSERT INTO person.countryregion (countryregioncode, name) VALUES ('US', 'United States');"
            "INSERT INTO sales.salesterritory (name, countryregioncode, \"group\") VALUES ('Northwest', 'US', 'America')"
        )
    spec = discovered(database, role(create=False, name="app"), tenant_table, default)
    there_and_back(database, spec, force=True)


def test_discovered_estoque(template: Callable[..., Database], role: Callable[..., str]) -> None:
    """The proposal for the preset's database works as it stands."""
    database = template("preset estoque", lambda database: _load(database, "estoque"))
    there_and_back(database, discovered(database, role(create=False, name="app")))
