"""validate --ci: what a build server is told."""

from __future__ import annotations

from conftest import Command
from servers import Database


def test_exit_status(shop: Command, estoque: Database) -> None:
    """A table that the spec does not name fails the build, in a line of its own."""
    estoque.execute("CREATE TABLE fresh (id int PRIMARY KEY)")
    outcome = shop("validate", "--ci", environment={"GITHUB_ACTIONS": "true"})
    assert outcome.status == 1
    *findings, last = outcome.stdout.splitlines()
    assert any("fresh" in line for line in findings)
    assert all(line.startswith(("::error title=", "::warning title=")) for line in findings)
    assert last.endswith(".")
