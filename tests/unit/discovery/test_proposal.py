"""A proposal: what was decided, and what waits for the same answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.discovery.proposal import Decision, Proposal
from tenantry.model.spec import Orphans, TablePart
from unit.planning.shop import shop_spec
from unit.schemas import name


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (TablePart(name="a", paths=((("b",),),)), "owned"),
        (TablePart(name="a", paths=((("b",),),), orphans=Orphans.SHARED), "mixed"),
        (TablePart(name="a", shared="write"), "shared"),
        (TablePart(name="a", shared=True, undecided="?"), "undecided"),
    ],
)
def test_what_was_decided(part: TablePart, kind: str) -> None:
    assert Decision(table=name("a"), part=part).kind == kind


def test_questions_of_most_tables_first() -> None:
    """Those with the same cause and the same answer are one."""
    open_ = Decision(table=name("a"), part=TablePart(name="a", undecided="?"), cause="x", answer="1")
    others = [replace(open_, table=name(one), cause="y") for one in ("b", "c")]
    decided = replace(open_, table=name("d"), part=TablePart(name="d", shared=True))
    again = replace(open_, table=name("e"), answer="2")
    decisions = {one.table: one for one in (open_, *others, decided, again)}
    proposal = Proposal(spec=shop_spec(), tenant=name("tenants"), decisions=decisions)
    assert len(proposal.undecided) == 4
    assert list(proposal.questions) == [("y", "1"), ("x", "1"), ("x", "2")]
    assert proposal.questions["y", "1"] == tuple(others)
