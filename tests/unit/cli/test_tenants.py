"""What is said of tenants on the command line."""

from __future__ import annotations

from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    called = line("tenants.add_tenant", "tenants add north --name North --dry-run")
    assert (called.positional[1], called.named["name"], called.named["dry_run"]) == ("north", "North", True)
    assert line("tenants.rename_tenant", "tenants rename a b").positional[1:] == ("a", "b")
    line("tenants.list_tenants", "tenants list")
    assert "SLUG" in line.refused("tenants add")
