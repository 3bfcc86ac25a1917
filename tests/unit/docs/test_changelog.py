"""CHANGELOG.md is in the form of Keep a Changelog, and begins with the version that the packages have."""

from __future__ import annotations

import re

import tenantry
import tenantry_app
from conftest import ROOT

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
VERSIONS = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", TEXT, re.MULTILINE)


def test_versions() -> None:
    """The newest first, each with its day; what is not released yet may stand before them."""
    released = [one for one in VERSIONS if one[0] != "Unreleased"]
    assert len(VERSIONS) == TEXT.count("\n## ")
    assert released[0][0] == tenantry.__version__ == tenantry_app.__version__
    assert released == sorted(released, key=lambda one: one[1], reverse=True)
    assert all(day for _, day in released)


def test_sections() -> None:
    """Each has only sections of the six kinds, and each kind once."""
    for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.+)$", part, re.MULTILINE)
        assert set(kinds) <= set(KINDS)
        assert len(kinds) == len(set(kinds))
