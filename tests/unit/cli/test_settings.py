"""What all commands have: the command line counts more than the environment, and what stands behind counts more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.cli.settings import DEFAULT_SPEC, Settings, is_set
from tenantry.errors import UsageError
from tenantry.presets import spec_path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_which_spec(folder: Path) -> None:
    """The file that is named, the preset's, or ./tenantry.toml."""
    preset = spec_path("enterprise")
    assert not Settings().has_spec
    with pytest.raises(UsageError, match=r"cannot read the spec tenantry\.toml"):
        Settings().spec()
    (folder / DEFAULT_SPEC).write_text(spec_path("estoque").read_text())
    assert Settings().spec().tenant.table == "tenants"
    assert Settings().has_spec
    assert Settings(config=preset).spec().path == preset
    assert Settings(preset="enterprise").spec().path == preset


def test_two_specs(folder: Path) -> None:
    """Refused, unless the command line names one of them, and the environment the other."""
    both = {"config": Path("nowhere.toml"), "preset": "enterprise"}
    for named in (frozenset[str](), frozenset({"config", "preset"})):
        with pytest.raises(UsageError, match="--config and --preset both give a spec"):
            Settings(**both, named=named).spec()  # type: ignore[arg-type]
    assert Settings(**both, named=frozenset({"preset"})).spec().path == spec_path("enterprise")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        Settings(**both, named=frozenset({"config"})).spec()  # type: ignore[arg-type]
    assert Settings(named=frozenset({"preset", "json"})).names_spec
    assert not Settings(named=frozenset({"json"})).names_spec


@pytest.mark.parametrize(
    ("value", "on"), [("1", True), (" TRUE ", True), ("on", True), ("", False), ("0", False), ("banana", False)]
)
def test_switches_that_nobody_could_parse(monkeypatch: pytest.MonkeyPatch, value: str, *, on: bool) -> None:
    """Whether wrong usage is to be said as a document."""
    monkeypatch.setenv("TENANTRY_NO_COLOR", value)
    assert is_set("no_color", []) == on
    assert is_set("no_color", ["migrat", "--no-color"])
