"""The list of attempts in docs/threat-model.md is that of the tests. `python tests/security/test_threat_model.py` writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))

from security.attempts import NOT_HIDDEN, READING, RISING, WRITING  # noqa: E402

PAGE = ROOT / "docs" / "threat-model.md"
BEGIN, END = "<!-- attempts: begin -->", "<!-- attempts: end -->"
PARTS = (
    ("The application role reads", READING),
    ("The application role writes", WRITING),
    ("The application role, and that of before, rise", RISING),
    ("What gets through", NOT_HIDDEN),
)


def listing() -> Iterator[str]:
    """The lines of the list: every attempt once, numbered."""
    number = 0
    for title, attempts in PARTS:
        yield from ("", f"### {title}", "")
        for attempt in attempts:
            number += 1
            yield f"{number}. {attempt.what}"


def written(page: str) -> str:
    """The page with the list as it is now."""
    before, rest = page.split(BEGIN)
    return before + "\n".join((BEGIN, *listing(), "", END)) + rest.split(END)[1]


def test_the_list_is_that_of_the_tests() -> None:
    page = PAGE.read_text()
    assert page == written(page), "run: python tests/security/test_threat_model.py"


def test_there_are_enough_and_no_two_alike() -> None:
    names = [attempt.what for _, attempts in PARTS for attempt in attempts]
    assert len(names) == len(set(names)) >= 150


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
