"""The demo makes a server of its own, and touches no other."""

from __future__ import annotations

import pytest

from unit.cli.calling import CommandLine


@pytest.mark.parametrize("dsn", ["host=x", "postgresql://x/y", "embedded:", "embedded:a?b=c"])
def test_no_other_server(line: CommandLine, dsn: str) -> None:
    assert "a server of its own" in line.refused(f"demo --dsn {dsn}")
