"""How long a writer waits for a fill: for a batch, and for one crossing of the network at most."""

from __future__ import annotations

import pytest

from backfill_business import EVERY_ROW_IS_RIGHT, assign, build, run
from latency import unblocked_session, writing
from servers import Database
from slow_network import slow_network
from tenantry.execution.backfill.run import BackfillOptions

pytestmark = pytest.mark.server

NEAR, FAR = 0.02, 0.2
"""Seconds, there and back each."""
SLACK = 0.3
"""Seconds that a busy machine may add, besides what it adds to a statement that nobody can stop."""
LOCKS = "SELECT FROM sales WHERE id = 77 FOR NO KEY UPDATE"
"""A writer's lock. Were the row changed, it would have its tenant by our trigger, and no batch would hold it."""
SLOW_ROWS = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;
CREATE TRIGGER slowly BEFORE UPDATE OF tenant_id ON sales FOR EACH ROW EXECUTE FUNCTION slowly()
"""


def test_slow_rows(database: Database) -> None:
    """Nobody knows how long a page takes before one has been filled: no writer waits for a first batch of many."""
    build(database, 1_000)
    assign(database)
    database.execute(SLOW_ROWS)
    with writing(database, LOCKS) as took, unblocked_session(database) as noise:
        result = run(database, stripes=1, first_batch=BackfillOptions().first_batch)
    assert result.rows > 0
    assert max(took) < 0.1 + SLACK + noise.seconds
    assert database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]


def test_a_far_network_is_not_waited_for_twice(database: Database) -> None:
    """From the last row that a batch changes to its end, rows are held for one round trip: the checkpoint and COMMIT go
    together."""
    build(database, 500)
    assign(database)
    with (
        slow_network(database.dsn, FAR) as dsn, writing(database, LOCKS) as took, unblocked_session(database) as noise,
    ):  # fmt: skip
        result = run(dsn, stripes=1, first_batch=64)
    assert result.batches == 1
    assert FAR < max(took) < 3 * FAR + noise.seconds
    assert database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]


def test_what_the_network_takes_makes_no_batch_small(database: Database) -> None:
    """A batch aims at the time that the server takes for it."""
    build(database, 10_000)
    assign(database)
    with slow_network(database.dsn, NEAR) as dsn:
        result = run(dsn, stripes=1)
    assert result.batches < 60
    assert database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]
