"""Texts from a database, made harmless."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from tenantry.reports.document import to_json
from tenantry.reports.text import bounded, cell, visible


@pytest.mark.parametrize(
    "character", ["\x00", "\x07", "\x1b", "\x7f", "\x9b", "\u200f", "\u202e", "\u2066", "\u2028", "\ufeff"]
)
def test_what_terminals_obey_becomes_a_sign(character: str) -> None:
    """One sign for one character, so that columns stay where they are."""
    shown = visible(f"a{character}b")
    assert character not in shown
    assert len(shown) == 3


def test_what_people_write_stays() -> None:
    """Letters of any language, spaces, and what is asked for."""
    text = "Pães à moda — 日本語 עברית 👍\n"
    assert visible(text, but="\n") == text


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", " =1", "'=1", '"=1', "|calc", "＝1", "\n=1"])
def test_no_formula(text: str) -> None:
    """A cell that a spreadsheet could calculate begins with a quote."""
    assert cell(text).startswith("'")


def test_cells_that_are_none() -> None:
    """Numbers of ours, words and nothing stay what they are."""
    assert [cell(value) for value in (-1, 2.5, None, "words = more", "")] == ["-1", "2.5", "", "words = more", ""]


def test_json_that_a_terminal_can_be_shown() -> None:
    """Values that JSON has no word for become text; no control character is left; reading it gives the text back."""
    value = {"nan": float("nan"), "decimal": Decimal("NaN"), "infinity": float("-inf"), "day": date.max, "bytes": b"\x00\xff",
             "text": "\x1b\x9b\u202e\u2028", "surrogate": "\udcff"}  # fmt: skip
    text = to_json(value)
    assert not set(text) & set("\x1b\x9b\u202e\u2028")
    read = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert read["text"] == value["text"]
    assert (read["nan"], read["bytes"]) == ("nan", "\\x00ff")


def test_a_long_text_says_how_long_it_was() -> None:
    """Also deep inside of a value."""
    assert bounded({"a": ["x" * 1000]}, 10) == {"a": ["x" * 10 + "… (1,000 characters)"]}
