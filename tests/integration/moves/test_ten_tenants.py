"""Ten tenants with many rows move to another server and back, one after the other, while six sessions write."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from moves.applications import Application, check, working
from moves.conftest import Pair, build, empty, left, rows_of, spec_text
from servers import Server
from tenantry.model.spec import Spec

pytestmark = [pytest.mark.server, pytest.mark.pg(">=15"), pytest.mark.nightly]
FIRMS = tuple(f"firm{number}" for number in range(10))
ROWS = 4000


@pytest.fixture
def large(server: Server, other_server: Server) -> Iterator[Pair]:
    source, target = (one.create(f"large_{os.getpid()}") for one in (server, other_server))
    build(source, rows=ROWS, firms=FIRMS)
    empty(target)
    yield Pair(source=source, target=target, spec=Spec.parse(spec_text()))
    for database in (source, target):
        database.server.drop(database)


def test_ten_tenants(large: Pair) -> None:
    """0 lost, 0 doubled, sums equal, and the moving tenant sees serialization failures only."""
    still = FIRMS[6:]
    before = {firm: rows_of(large.source, firm) for firm in still}
    writers = [Application(pair=large, slug=firm) for firm in FIRMS[:6]]
    pauses = []
    with working(*writers):
        for back in (False, True):
            for firm in FIRMS:
                done = large.move(firm, back=back)
                pauses.append(done.longest_pause)
    for one in writers:
        check(one)
    assert {firm: rows_of(large.source, firm) for firm in still} == before
    assert left(large.source, large.target) == []
    assert max(pauses) < 2
    print(
        f"{sum(len(one.committed) for one in writers):,} transactions, {sum(len(one.refused) for one in writers)} refused;"
        f" pauses {sorted(round(pause, 3) for pause in pauses)}; longest wait {max(one.longest for one in writers):.3f} s"
    )
