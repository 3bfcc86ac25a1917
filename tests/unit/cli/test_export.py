"""What export takes for each ORM."""

from __future__ import annotations

import pytest

from unit.cli.calling import CommandLine


@pytest.mark.parametrize("label", ["a-b", "class", "1a", "a.b"])
def test_no_label(line: CommandLine, label: str) -> None:
    assert "is not an application label" in line.refused(f"export django --app {label}")


def test_options(line: CommandLine) -> None:
    called = line("export.run_export", "export django --app shop --after 0007_prices")
    assert (called.positional[1], called.named) == ("django", {"app": "shop", "after": "0007_prices"})
    for orm in ("sqlalchemy", "prisma"):
        assert "has no migrations here" in line.refused(f"export {orm} --after x")
    assert "is not one of" in line.refused("export rails")
