"""What `from tenantry import …` gives."""

from __future__ import annotations

import re

import tenantry
from conftest import ROOT


def test_every_name() -> None:
    """Each is there when it is asked for, and is what its module calls so."""
    assert {"migrate", "rollback", "validate", "MigrateOptions"} <= set(tenantry.__all__)
    for name in tenantry.__all__:
        assert getattr(tenantry, name).__name__ == name


def test_page() -> None:
    """docs/api.md has each of them."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert {one.rpartition(".")[2] for one in re.findall(r"^::: (\S+)$", page, re.MULTILINE)} >= set(tenantry.__all__)
