"""kill -9 while we go on, or back, after the application has migrated its own schema: it writes on, and so do we."""

from __future__ import annotations

import subprocess

import pytest

from acceptance.kill_targets import process as process
from application.conftest import Businesses
from application.killed_migrations import killed
from application.migrations import GROUPS, Migration
from daily import daily

pytestmark = pytest.mark.server


@pytest.mark.parametrize("migration", daily(GROUPS[1:4:2]), ids=str)
def test_killed_on_the_way(migration: Migration, businesses: Businesses, process: subprocess.Popen[str]) -> None:
    """At some of the steps; at each one in the soak."""
    killed(businesses, process, migration, 40)
