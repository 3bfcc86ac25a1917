"""Values as JSON has them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from tenantry.errors import UsageError
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.reports.document import error_document, plain, to_json


@dataclass(frozen=True)
class Value:
    name: Name
    inside: tuple[object, ...]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Phase.EXPAND, "expand"),
        (Name("public", "A b"), 'public."A b"'),
        (Path("a/b"), "a/b"),
        (Decimal("1.50"), 1.5),
        (Decimal("NaN"), "nan"),
        (float("inf"), "inf"),
        (True, True),
        (b"\x00\xff", "\\x00ff"),
        (sql.Identifier('a"'), '"a"""'),
        (timedelta(minutes=2), 120.0),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({Name("s", "t"): (1, None)}, {"s.t": [1, None]}),
        (Value(Name("s", "t"), (Phase.ENFORCE,)), {"name": "s.t", "inside": ["enforce"]}),
        ("\udcff", "\\udcff"),
        (object, "<class 'object'>"),
    ],
)
def test_values(value: Any, expected: Any) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


def test_errors() -> None:
    error = UsageError("what", remedy="do", details=["a", "b"])
    assert plain(error) == error_document(error) == {"message": "what", "remedy": "do", "details": ["a", "b"]}


def test_what_terminals_obey_is_escaped() -> None:
    """And reads back as it was."""
    text = "\u202e\x9b[2J\x7f"
    written = to_json({"a": text}, indent=2)
    assert not set(written) & set(text[:2] + "\x7f")
    assert json.loads(written) == {"a": text}
