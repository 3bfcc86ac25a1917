"""Which sample is loaded."""

from __future__ import annotations

from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    called = line("sample.run_sample", "sample estoque --rows 50 --seed 7 --faults orphans,strangers")
    assert called.positional == ("estoque",)
    assert called.named == {"rows": 50, "seed": 7, "faults": ["orphans", "strangers"], "spec": None}
    called = line("sample.run_sample", "sample estoque --config tenantry.toml")
    assert called.named["spec"] is not None
    assert "are two presets" in line.refused("sample estoque --preset enterprise")
    assert "rows" in line.refused("sample estoque --rows 0")
