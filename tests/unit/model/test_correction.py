"""A correction reads as an UPDATE's SET does; whatever is in its quotes is no comma."""

from __future__ import annotations

import pytest

from tenantry.errors import UsageError
from tenantry.model.correction import corrections


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("quantity = 0", (("quantity", "0"),)),
        (' A = 1,"B c"=2 ', (("a", "1"), ("B c", "2"))),
        ("a = f(1, 2), b = ARRAY[1, 2]", (("a", "f(1, 2)"), ("b", "ARRAY[1, 2]"))),
        ("a = 'x, y'', b', b = $t$ , $$ $t$", (("a", "'x, y'', b'"), ("b", "$t$ , $$ $t$"))),
        (r"a = E'it\', b = 1', c = 2", (("a", r"E'it\', b = 1'"), ("c", "2"))),
        ('a = "x, y" + 1', (("a", '"x, y" + 1'),)),
        ("a = 1 -- , b = 2\n + 1", (("a", "1  \n + 1"),)),
        ("a = 1 /* ) , ; */ + 1", (("a", "1   + 1"),)),
        ("a = b = c", (("a", "b = c"),)),
        ("a = '(' || ')'", (("a", "'(' || ')'"),)),
    ],
)
def test_corrections(text: str, found: tuple[tuple[str, str], ...]) -> None:
    assert corrections(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a fix has the form `column = expression, …`"),
        ("quantity", "'quantity' does not"),
        ("a == 1", "does not"),
        ("a = ", "does not"),
        ("a = 1,", "'' does not"),
        ("t.a = 1", "does not"),
        ("(a, b) = (1, 2)", "does not"),
        ("a = 1, A = 2", "sets a twice"),
        ("a = 1; DELETE FROM x", "no semicolon"),
        ("a = (1", "brackets"),
        ("a = 1), b = (2", "brackets"),
    ],
)
def test_what_is_none(text: str, words: str) -> None:
    with pytest.raises((ValueError, UsageError)) as found:
        corrections(text)
    assert words in str(found.value)
