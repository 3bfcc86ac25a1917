"""The list of attempts in docs/threat-model.md is that of the tests. `python tests/unit/docs/test_threat_model.py` writes it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tests/integration", "src")]

from security.attempts import NOT_HIDDEN, OWNER, READING, RISING, WRITING  # noqa: E402
from security.journal_attacks import BROKEN, PLANTS  # noqa: E402

PAGE = ROOT / "docs" / "threat-model.md"
BEGIN, END = "<!-- attempts: begin -->", "<!-- attempts: end -->"


def _said_by_tests(name: str) -> Iterator[str]:
    """The tests of a file, their names as sentences."""
    tree = ast.parse((ROOT / "tests" / "integration" / "security" / name).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name.removeprefix("test_").replace("_", " ")


def parts() -> Iterator[tuple[str, list[str]]]:
    """Who tries, and what."""
    yield "The application role reads", [attempt.what for attempt in READING]
    yield "The application role writes", [attempt.what for attempt in WRITING]
    yield "The application role, or a legacy role, tries to gain privileges", [attempt.what for attempt in RISING]
    yield "The owner of the tables, or of the database", list(OWNER)
    yield (
        "The owner of the database, in the schema tenantry",
        [f"adds there: {name}" for name in PLANTS] + [f"changes a row of the journal: {name}" for name in BROKEN],
    )
    yield "Other users of the machine: what protects against them", list(_said_by_tests("test_files.py"))
    yield "What gets through", [attempt.what for attempt in NOT_HIDDEN]


def listing() -> Iterator[str]:
    """The lines of the list: every attempt once, numbered."""
    number = 0
    for title, attempts in parts():
        yield from ("", f"### {title}", "")
        for what in attempts:
            number += 1
            yield f"{number}. {what}"


def written(page: str) -> str:
    """The page with the list as it is now."""
    before, rest = page.split(BEGIN)
    return before + "\n".join((BEGIN, *listing(), "", END)) + rest.split(END)[1]


def test_the_list_is_that_of_the_tests() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run: python tests/unit/docs/test_threat_model.py"


def test_there_are_enough_and_no_two_alike() -> None:
    names = [what for _, attempts in parts() for what in attempts]
    assert len(names) == len(set(names)) >= 150


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
