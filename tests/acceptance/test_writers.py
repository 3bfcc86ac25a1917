"""Eight writers of an old application through everything, up to isolate and back: it notices nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from acceptance import estoque_writers, network_writers
from acceptance.migrating_under_load import Policed, estoque, estoque_spec, network, through
from daily import nightly
from servers import Database
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

# Back from enforce on 18: in the soak.
PHASES = [pytest.param(Phase.ENFORCE, marks=pytest.mark.pg("< 18")), Phase.ISOLATE]


@pytest.mark.parametrize("until", PHASES)
def test_estoque(until: Phase, database: Database, role: Callable[..., str]) -> None:
    """Old and new rows, moves from tenant to tenant: until enforce, or isolate with legacy roles."""
    owner, plain = role(name="owner"), role(name="plain")
    estoque(database, owner, plain, rows=5_000, seed=1)
    spec = estoque_spec(role(create=False, name="app"), [owner, plain] if until is Phase.ISOLATE else [])
    watcher = Policed()
    application = estoque_writers.application(database, [owner, plain], 1, watcher.copying, pause=0.05)
    through(application, spec, until, watcher, estoque_writers.WRONG_TENANTS, Target(database.dsn))


@pytest.mark.parametrize("until", [PHASES[0], nightly(PHASES[1])])
def test_network(until: Phase, database: Database, role: Callable[..., str]) -> None:
    """Composite keys, partitions, deferred keys, a mixed table; migrated by the owner, who is no superuser."""
    owner, plain, app = role(name="owner"), role(name="plain"), role("NOLOGIN", name="app")
    network(database, owner, plain, rows=8_000)
    legacy = json.dumps([owner, plain] if until is Phase.ISOLATE else [])
    spec = Spec.parse(network_writers.SPEC.format(role=app, legacy=legacy))
    watcher = Policed()
    application = network_writers.application(database, [owner, plain], 1, watcher.copying, pause=0.02)
    through(application, spec, until, watcher, network_writers.WRONG_TENANTS, Target(f"{database.dsn} user={owner}"))
