"""The operator's script is for a spec, or for discover where there is none."""

from __future__ import annotations

from pathlib import Path

from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    called = line("operator_sql.make_script", "operator-sql --role maria")
    assert called.positional[0].path == Path("tenantry.toml")
    assert called.named == {"role": "maria"}
    Path("tenantry.toml").unlink()
    called = line("operator_sql.make_script", "operator-sql")
    assert (called.positional, called.named) == ((None,), {"role": None})
