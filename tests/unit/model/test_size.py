"""Sizes as people write and read them."""

from __future__ import annotations

import pytest

from tenantry.model.size import parse_size, readable


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500MB", 500 << 20),
        ("1GB", 1 << 30),
        ("1.5 GiB", 3 << 29),
        (" 2k ", 2048),
        ("1 tb", 1 << 40),
        ("7B", 7),
    ],
)
def test_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "1 PB", "1,5GB", "GB", "1e9", "inf"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="write 500MB or 1GB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 kB"), (3 << 29, "2 GB"), (1 << 40, "1.0 TB"), (-2048, "-2 kB")],
)
def test_written(size: int, text: str) -> None:
    assert readable(size) == text
