"""Which tables of the schema `tenantry` are examined before they are believed."""

from __future__ import annotations

import re
from pathlib import Path

import tenantry
from tenantry.postgres.trust import JOURNAL

CREATED = re.compile(r"\bCREATE TABLE (?:IF NOT EXISTS )?tenantry\.(\w+) \(")


def test_every_table_of_tenantry_is_examined() -> None:
    """A table that the examination does not know could have a column of a type that runs code, or be written by others."""
    texts = [path.read_text() for path in Path(tenantry.__file__).parent.rglob("*") if path.suffix in {".py", ".sql"}]
    created = {name for text in texts for name in CREATED.findall(text)}
    assert len(created) > 10
    assert created - set(JOURNAL) == set()
