"""What is wrong with a spec is said by the place in the file, not by the model's."""

from __future__ import annotations

import pytest

from tenantry.errors import UsageError
from tenantry.model.spec import Spec


def error_lines(text: str) -> list[str]:
    with pytest.raises(UsageError) as found:
        Spec.parse(f'[tenant]\ntable = "tenants"\n{text}')
    return [found.value.message.removeprefix("the spec: "), *found.value.details]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colum = 1", "[tenant] colum: the key 'colum' is unknown; did you mean \"column\"?"),
        ("column = 1", "[tenant] column: Input should be a valid string (it is 1)"),
        (
            '[[table]]\nname = "a"\nshared = true\n[[table]]\nshared = true',
            "[[table]] number 2 name: this key is missing",
        ),
        ('[[table]]\nname = "a"\nunique = "k"', "[[table]] 'a' unique: Input should be a list, in [ ] (it is 'k')"),
        ('[[table]]\nname = "a"\nassign = { colum = "x" }', "[[table]] 'a' assign colum: the key 'colum' is unknown"),
        ('[backup]\nfolder = ["a"]', "[backup] folder: Input should be a valid string"),
        ('[[reference]]\nform = "a.b"', "[[reference]] number 1 from: this key is missing"),
        ("[lock]\ntimeout = 1", "[lock]: the key 'lock' is unknown; did you mean \"locks\"?"),
    ],
)
def test_places(text: str, sentence: str) -> None:
    """Entries by their names, where they have one, else by number; keys as they are written; the value last."""
    assert any(one.startswith(sentence) for one in error_lines(text)), error_lines(text)


def test_each_problem_is_a_sentence() -> None:
    assert len(error_lines("colum = 1\nslog = 2\n[[table]]\nname = 'a'")) == 3


def test_a_text_where_a_list_belongs() -> None:
    with pytest.raises(UsageError, match=r"\[schemas\]: Input should be a list, in \[ \]"):
        Spec.parse('schemas = "public"\n[tenant]\ntable = "tenants"')
