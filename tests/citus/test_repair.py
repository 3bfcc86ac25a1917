"""What others change on distributed tables is repaired by the next run."""

from __future__ import annotations

from citus.cycle import DISTRIBUTE, Make, assert_apart, assert_sound
from tenantry import migrate
from tenantry.errors import ExitStatus


def test_a_policy_that_was_dropped(business: Make) -> None:
    """On all shards again; the same transaction looks at the sentinel tenant."""
    there = business("depot")
    migrate(there.target, there.spec, DISTRIBUTE)
    before = there.database.rows("SELECT * FROM pg_policies ORDER BY tablename, policyname")
    there.database.execute("DROP POLICY tenantry_application_delete ON papers")
    done = migrate(there.target, there.spec, DISTRIBUTE)
    assert (done.exit_status, done.applied) == (ExitStatus.DONE, 1)
    assert there.database.rows("SELECT * FROM pg_policies ORDER BY tablename, policyname") == before
    assert_sound(there)
    assert_apart(there)
