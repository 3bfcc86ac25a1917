"""validate looks, at all tables or some."""

from __future__ import annotations

from tenantry.commands.inspection import SAMPLES
from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    _, looking, _ = line("validate.run_validate", "validate").positional
    assert (looking.tables, looking.samples, looking.detailed, looking.application) == ((), SAMPLES, False, None)
    words = "validate --table a --table b --samples 0 --detailed --application-dsn host=app"
    _, looking, _ = line("validate.run_validate", words).positional
    assert (looking.tables, looking.samples, looking.detailed) == (("a", "b"), 0, True)
    assert looking.application.conninfo == "host=app"


def test_a_build_server_corrects_nothing(line: CommandLine) -> None:
    assert "--ci and --fix-issues exclude each other" in line.refused("validate --ci --fix-issues")
