"""Eight writers through everything, for longer: more rows, more seeds, and on to contract once they have gone."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from acceptance import estoque_writers, network_writers
from acceptance.migrating_under_load import Policed, estoque, estoque_spec, network, through
from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

SEEDS = [2, int(os.environ.get("TENANTRY_SEED", "3"))]
"""TENANTRY_SEED chooses another for the second."""


@pytest.mark.parametrize("until", [Phase.ENFORCE, Phase.ISOLATE])
@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_estoque(seed: int, until: Phase, database: Database, role: Callable[..., str]) -> None:
    """A hundred thousand movements, and schools that move from tenant to tenant without end."""
    owner, plain, app = role(name="owner"), role(name="plain"), role(create=False, name="app")
    estoque(database, owner, plain, rows=100_000, seed=SEEDS[seed])
    spec = estoque_spec(app, [owner, plain])
    watcher = Policed()
    application = estoque_writers.application(database, [owner, plain], SEEDS[seed], watcher.copying, pause=0.02)
    target = Target(database.dsn)
    through(application, spec, until, watcher, estoque_writers.WRONG_TENANTS, target)
    migrate(target, spec, MigrateOptions(until=Phase.CONTRACT))
    assert database.rows(estoque_writers.WRONG_TENANTS, {"strict": True}) == [], f"seed {SEEDS[seed]}"


@pytest.mark.parametrize("until", [Phase.ENFORCE, Phase.ISOLATE])
@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_network(seed: int, until: Phase, database: Database, role: Callable[..., str]) -> None:
    """The same for the hard schema, by an owner who is no superuser."""
    owner, plain, app = role(name="owner"), role(name="plain"), role("NOLOGIN", name="app")
    network(database, owner, plain, rows=10_000)
    spec = Spec.parse(network_writers.SPEC.format(role=app, legacy=f'["{owner}", "{plain}"]'))
    watcher = Policed()
    application = network_writers.application(database, [owner, plain], SEEDS[seed], watcher.copying, pause=0.02)
    target = Target(f"{database.dsn} user={owner}")
    through(application, spec, until, watcher, network_writers.WRONG_TENANTS, target)
    migrate(target, spec, MigrateOptions(until=Phase.CONTRACT))
    assert database.rows(network_writers.WRONG_TENANTS, {"strict": True}) == [], f"seed {SEEDS[seed]}"
