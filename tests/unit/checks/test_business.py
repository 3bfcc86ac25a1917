"""Business rules: the presets keep to theirs; each fault is found, counted and shown, and nothing else is."""

from __future__ import annotations

import pytest

from checks.presets import spec_of


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a b"\ntable = "t"\nviolates = "true"', "name"),
        ('name = "a"\ntable = "t"', "set violates"),
        ('name = "a"\ntable = "t"\nquery = "SELECT 1"\nfix = "x = 1"', "checks each row again"),
        ('name = "a"\ntable = "t"\nviolates = "true"\nfix = "x = 1; DROP TABLE t"', "semicolon"),
        ('name = "a"\ntable = "t"\nviolates = "true"\nfix = "x = (1"', "brackets"),
        (
            'name = "a"\ntable = "t"\nviolates = "true"\n[[rule]]\nname = "a"\ntable = "t"\nviolates = "true"',
            "two rules",
        ),
    ],
)
def test_rule_that_cannot_be_read(text: str, said: str) -> None:
    """A rule that says too little or too much is an error of the spec, with the rule's name."""
    with pytest.raises(Exception, match=said):
        spec_of("estoque", f"[[rule]]\n{text}")
