"""Values of options: times, sizes and counts as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from tenantry.cli.options import moment, positive, size, span


@pytest.mark.parametrize(
    ("text", "found"),
    [("90s", timedelta(seconds=90)), ("45m", timedelta(minutes=45)), ("45 min", timedelta(minutes=45)),
     ("26h", timedelta(hours=26)), ("1.5d", timedelta(hours=36)), ("2w", timedelta(weeks=2)), ("0s", timedelta())],
)  # fmt: skip
def test_spans(text: str, found: timedelta) -> None:
    assert span(text) == found


@pytest.mark.parametrize("text", ["", "1", "d", "-1d", "1y", "1 d 2 h", "9e9d", "99999999999999d"])
def test_no_spans(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        span(text)


def test_moments() -> None:
    """UTC unless they say otherwise; not one that is yet to come."""
    assert moment("2026-01-31T04:00:00") == datetime(2026, 1, 31, 4, tzinfo=UTC)
    assert moment("2026-01-31T04:00:00+02:00") == datetime(2026, 1, 31, 2, tzinfo=UTC)
    for text in ("yesterday", "31.1.2026", (datetime.now(UTC) + timedelta(hours=1)).isoformat()):
        with pytest.raises(typer.BadParameter):
            moment(text)


def test_numbers() -> None:
    assert (positive(None), positive(0.1), size("1kB")) == (None, 0.1, 1024)
    for number in (0, -1.5):
        with pytest.raises(typer.BadParameter, match="is not more than 0"):
            positive(number)
    with pytest.raises(typer.BadParameter, match="500MB"):
        size("much")
