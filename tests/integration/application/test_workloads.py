"""The old application works on, whatever it does, until contract and after a rollback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from application.shops import SHOPS
from application.side_by_side import beside
from application.workloads import Catalog, run_many
from servers import Database, Server

pytestmark = pytest.mark.server

EXAMPLES = 12


@pytest.mark.parametrize("name", SHOPS)
def test_workloads(name: str, server: Server, new_database: Callable[..., Database]) -> None:
    """What succeeded before the migration succeeds in each phase before contract, and after a rollback, with the same
    result."""
    with beside(SHOPS[name], new_database) as sides:
        run_many(sides, Catalog(shop=SHOPS[name], major=server.major), EXAMPLES)
        assert sides.succeeded > sides.failed / 2, (sides.succeeded, sides.failed)
