"""The status word."""

from __future__ import annotations

import pytest

from tenantry.errors import ExitStatus
from tenantry.execution.progress import migration_state
from tenantry.model.run import MigrationState


@pytest.mark.parametrize(
    ("validated", "expected"),
    [
        (None, MigrationState.COMPLETED),
        (ExitStatus.DONE, MigrationState.COMPLETED),
        (ExitStatus.FINDINGS, MigrationState.SECURITY_ENABLED),
    ],
)
def test_all_steps_are_applied(validated: ExitStatus | None, expected: MigrationState) -> None:
    """A contracted database is complete, unless the last validate found something in it."""
    assert migration_state((), frozenset(), validated=validated) is expected
