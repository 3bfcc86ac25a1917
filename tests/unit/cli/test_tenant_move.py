"""The options of `tenants move`."""

from __future__ import annotations

from tenantry.postgres.connect import Target
from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    words = "tenants move north --to host=other --max-pause 500ms --location b --lock-timeout 1"
    called = line("tenant_move.move_tenant", words)
    _, slug, to, options = called.positional
    assert (slug, to) == ("north", Target("host=other"))
    assert (options.max_pause, options.location, options.lock_timeout) == (0.5, "b", 1.0)
    assert line("tenant_move.move_tenant", "tenants move north --to host=other").positional[3].max_pause == 2.0
    assert line("tenant_move.move_tenant", "tenants move north --to host=other --init").positional[3].init
    assert line("tenant_move.abort_move", "tenants move north --to host=other --abort").positional[1] == "north"
    assert line("tenant_move.preview_move", "tenants move north --to host=other --dry-run").positional[1] == "north"

    assert line("tenant_move.abandon_move", "tenants move north --abort --force").positional[1] == "north"


def test_refused(line: CommandLine) -> None:
    assert "--to" in line.refused("tenants move north")
    assert "not a duration" in line.refused("tenants move north --to host=other --max-pause 2")
    assert "more than 0" in line.refused("tenants move north --to host=other --max-pause 0s")
    assert "--force needs --abort" in line.refused("tenants move north --to host=other --force")
    assert "--to is missing" in line.refused("tenants move north --abort")
    assert "--init excludes" in line.refused("tenants move north --to host=other --abort --init")
    assert "exclude each other" in line.refused("tenants move north --to host=other --abort --dry-run")
