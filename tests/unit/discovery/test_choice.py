"""A person's choice, written into their file: what it is about changes, and nothing else."""

from __future__ import annotations

import time

import pytest

from tenantry.discovery.choice import SpecEditor
from tenantry.errors import UsageError
from tenantry.model.spec import Spec
from unit.schemas import name

SPEC = """# Ours.
version = 1

[tenant]
table = "tenants"

[[table]]
name = "orders"  # the heart of it
paths = [["tenant_id"], ["team_id"]]
undecided = "tenant_id and team_id disagree"

[[table]]
# One or the other.
name = "visits"
paths = [["guest_id"], ["host_id"]]   # guests first

[[table]]
name = "pairs"
paths = [[["a", "b"]], ["c"]]
children = ["x.y"]
"""


def chosen(text: str, path: str) -> str:
    editor = SpecEditor(text, Spec.parse(text))
    editor.choose(path)
    return editor.text()


def test_the_other_ways_may_cross() -> None:
    """The one that is chosen stays; comments and lines do, too; nobody is asked again."""
    spec = Spec.parse(chosen(SPEC, "public.orders.tenant_id"))
    orders = spec.table[0]
    assert (orders.paths, orders.undecided) == (((("tenant_id",),),), None)
    assert [(one.child, one.crosses) for one in spec.reference] == [("orders.team_id", True)]
    text = chosen(SPEC, "visits.host_id")
    for line in ("# Ours.", 'name = "orders"  # the heart of it', "# One or the other."):
        assert line in text.splitlines()
    assert chosen(text, "visits.host_id") == text


def test_keys_of_several_columns() -> None:
    """One may be chosen; a reference that crosses cannot be written of one."""
    spec = Spec.parse(chosen(SPEC, "pairs.a,b"))
    assert (spec.table[2].paths, spec.table[2].children) == (((("a", "b"),),), ())
    with pytest.raises(UsageError, match="has several columns, and a \\[\\[reference\\]\\] can have only one"):
        chosen(SPEC, "pairs.c")


def test_a_reference_that_crosses() -> None:
    editor = SpecEditor(SPEC, Spec.parse(SPEC))
    editor.let_cross("orders.team_id")
    editor.let_cross('"A b".c')
    text = editor.text()
    assert [one.child for one in Spec.parse(text).reference] == ["orders.team_id", '"A b".c']
    assert text.startswith(SPEC)


@pytest.mark.parametrize(
    ("path", "said"),
    [("visits.gast_id", 'did you mean "guest_id"'), ("nothing.id", "has no"), ("visits", "not table.column")],
)
def test_a_choice_that_there_is_not(path: str, said: str) -> None:
    """A misspelt path is refused, with the nearest there is."""
    with pytest.raises(UsageError, match=said):
        chosen(SPEC, path)


def test_lines_end_as_they_did() -> None:
    """A file of another system keeps its ends of lines."""
    text = SPEC.replace("\n", "\r\n")
    changed = chosen(text, "visits.host_id")
    assert Spec.parse(changed).reference[0].child == "visits.guest_id"
    assert 'name = "orders"  # the heart of it\r\n' in changed


WRITTEN = """# Head.
[tenant]
table = "tenants" # customers

[[table]]
name = "notes" # keep
# asked twice
undecided = "no path" # who knows?

# About orders.
[[table]]
name = "orders"
paths = [["user_id"]] # long since
undecided = "some rows find no tenant"
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_is_written_stands_in_its_block(newline: str) -> None:
    """New keys take the place of the line that goes, and no comment of the next block is cut off from it."""
    text = WRITTEN.replace("\n", newline)
    editor = SpecEditor(text, Spec.parse(text))
    editor.write(name("notes"), {"paths": None, "shared": True})
    editor.write(name("orders"), {"orphans": "default"}, default="it\\1's")
    changed = editor.text()
    expected = WRITTEN.replace('undecided = "no path" #', "shared = true #")
    expected = expected.replace('undecided = "some rows find no tenant"', 'orphans = "default"')
    expected = expected.replace('table = "tenants" #', 'default = "it\\\\1\'s"\ntable = "tenants" #')
    assert changed == expected.replace("\n", newline)


def test_what_is_written_in_a_list() -> None:
    text = 'table = [{ name = "notes", undecided = "x" }, { name = "units", shared = true }]\n[tenant]\ntable = "t"\n'
    editor = SpecEditor(text, Spec.parse(text))
    editor.write(name("notes"), {"assign": {"tenant": "a"}, "column": "c"})
    part = Spec.parse(editor.text()).table[0]
    assert (part.assign.tenant, part.column, part.undecided) == ("a", "c", None)  # type: ignore[union-attr]


def test_one_decision_for_many_tables() -> None:
    """It takes no longer for each table than for one alone."""
    text = '[tenant]\ntable = "tenants"\n' + "".join(
        f'\n# {number}\n[[table]]\nname = "t{number}"\nundecided = "?"\n' for number in range(500)
    )
    begun = time.process_time()
    editor = SpecEditor(text, Spec.parse(text))
    for number in range(500):
        editor.write(name(f"t{number}"), {"shared": True, "paths": None})
    assert editor.text() == text.replace('undecided = "?"', "shared = true")
    assert time.process_time() - begun < 10
