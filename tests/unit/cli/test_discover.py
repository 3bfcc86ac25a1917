"""What goes together in discover, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.cli.calling import CommandLine


@pytest.mark.parametrize("option", ["--tenant-table a", "--diagram", "--force", "--preset estoque"])
def test_an_update_changes_what_is_there(line: CommandLine, option: str) -> None:
    assert f"{option.split()[0]} cannot be combined with --update" in line.refused(f"discover --update {option}")


def test_options(line: CommandLine) -> None:
    named = line("discover.run_discover", "discover --tenant-table a --undecided shared").named
    assert named == {"tenant_table": "a", "undecided": "shared"}
    _, text = line("discover.discover_update", "discover --update").positional
    assert text == Path("tenantry.toml").read_text()


def test_no_file_is_written_over(line: CommandLine) -> None:
    """Neither the spec nor what goes beside it; without asking the database first."""
    for name in ("spec.toml", "spec.mmd", "page.html"):
        Path(name).write_text("mine")
        assert line.run("discover --output spec.toml --diagram --export-report page.html") == 4
        assert f"{name} exists already" in line.capsys.readouterr().err
        Path(name).unlink()
    Path("page.html").write_text("mine")
    assert line.run("discover --update --export-report page.html") == 4
    assert "page.html exists already" in line.capsys.readouterr().err
    Path("page.html").unlink()
    Path("spec.toml").write_text("mine")
    line("discover.run_discover", "discover --output spec.toml --force")


def test_questions_need_somebody_to_answer(line: CommandLine) -> None:
    for words in ("", "--json", "--quiet"):
        assert line.run(f"discover --interactive {words}") == 2
    assert "needs a terminal" in "".join(line.capsys.readouterr())
