"""verify looks, at all tables or some."""

from __future__ import annotations

from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    _, looking, _ = line("verify.run_verify", "verify --table a --detailed").positional
    assert (looking.tables, looking.detailed) == (("a",), True)
    assert "--ci" in line.refused("verify --ci")
