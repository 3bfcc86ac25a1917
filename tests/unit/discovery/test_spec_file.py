"""The file that discover writes: it reads back as what was proposed, whatever names are in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.discovery.proposal import Constraint, Proposal, Undecided
from tenantry.discovery.spec_file import decision_text, part_line, set_apart, spec_text, totals, written
from tenantry.model.spec import Spec, TablePart
from unit.discovery.answering import decision, proposed
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES
from unit.schemas import name

HOSTILE = "x\n[tenant]\x01\n# \"quoted\" '''"


def hostile() -> Proposal:
    made = proposed(replace(STORES, name=name(HOSTILE)), PRODUCTS)
    return replace(made, reasons=(*made.reasons, f"of {HOSTILE}"))


@pytest.mark.parametrize("undecided", Undecided)
def test_it_reads_back(undecided: Undecided) -> None:
    proposal = proposed(STORES, SALES, LINES, PRODUCTS, undecided=undecided)
    assert Spec.parse(spec_text(proposal)) == proposal.spec
    assert spec_text(proposal) == spec_text(proposed(STORES, SALES, LINES, PRODUCTS, undecided=undecided))


def test_no_name_breaks_out_of_a_comment() -> None:
    text = spec_text(hostile())
    assert Spec.parse(text) == hostile().spec
    allowed = ("#", "[tenant]", "[[table]]", '"', "]")
    assert all(line.startswith(allowed) or not line or " = " in line for line in text.splitlines())
    assert set_apart(HOSTILE).count("\n") == 1


def test_what_is_left_to_a_person_is_at_the_top() -> None:
    text = spec_text(proposed(STORES, PRODUCTS))
    assert "#   products" in text.partition("version")[0]
    assert "A person must decide" not in spec_text(proposed(STORES))


def test_long_sentences_are_wrapped() -> None:
    assert max(map(len, set_apart("word " * 100).splitlines())) <= 100


def test_totals() -> None:
    assert totals(proposed(STORES, PRODUCTS)) == "2 tables beside the tenant table: 1 owned, 1 undecided"
    assert totals(proposed(STORES)) == "1 table beside the tenant table: 1 owned"


PARTS = [
    TablePart(name="t", paths=((("a",), ("b", "c")), (("d",),)), unique=("k",), orphans="default", column="x"),  # type: ignore[arg-type]
    TablePart(name="t", children=("a.b",), undecided="?"),
    TablePart(name="t", assign={"column": "it's"}),  # type: ignore[arg-type]
    TablePart(name="t", shared="write"),
    TablePart(name="t", membership="l", writable=True),
]


@pytest.mark.parametrize("part", PARTS)
def test_all_that_a_part_says_is_written(part: TablePart) -> None:
    assert "name = " not in part_line(part)
    text = decision_text(replace(decision(proposed(STORES), "stores"), part=part, reasons=(), constraints=()))
    assert Spec.parse(f'{text}\n[tenant]\ntable = "tenants"').table == (part,)
    assert set(written(part)) == part.model_fields_set


def test_constraints_are_listed_for_whoever_takes_the_sign_away() -> None:
    """Those against which nothing speaks; none of a table that waits for a person."""
    one = decision(proposed(STORES), "stores")
    listed = (
        Constraint(name="it's", columns=("a",), proposed=True, reason="why"),
        Constraint(name="no", columns=(), proposed=False, reason="because"),
    )
    text = decision_text(replace(one, constraints=listed))
    assert '# unique = ["it\'s"]' in text
    assert "# unique no: because." in text
    waiting = replace(one, constraints=listed, part=one.part.model_copy(update={"undecided": "?"}))
    assert "# unique = " not in decision_text(waiting)
