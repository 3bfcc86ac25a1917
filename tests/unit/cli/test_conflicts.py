"""What conflicts writes, and what it refuses to write over."""

from __future__ import annotations

from pathlib import Path

from tenantry.model.spec import Spec
from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    assert line("conflicts.find_conflicts", "conflicts").named == {"all_rows": False}
    assert line("conflicts.find_conflicts", "conflicts --output rows.csv").named == {"all_rows": True}
    Path("rows.csv").write_text("mine")
    assert line.run("conflicts --output rows.csv") == 4
    assert "exists already" in line.capsys.readouterr().err
    line("conflicts.find_conflicts", "conflicts --output rows.csv --force")


def test_a_choice_is_written_into_the_file(line: CommandLine) -> None:
    """Without a database; a preset's own file is left alone."""
    path = Path("tenantry.toml")
    path.write_text('[tenant]\ntable = "t"\n[[table]]\nname = "a"\npaths = [["b"], ["c"]]\n')
    assert line.run("conflicts --decide a.c") == 0
    assert Spec.read(path).table[0].paths == ((("c",),),)
    assert "The spec of a preset cannot be changed" in line.refused("conflicts --decide a.c --preset estoque")
    assert 'did you mean "c"' in line.refused("conflicts --decide a.cc")
