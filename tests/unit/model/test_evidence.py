"""What the census has asked, read back into figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg import sql

from tenantry.model.evidence import Census, CensusQuestion, Pair, PathKind, Sample, TableEvidence
from tenantry.model.spec import Orphans
from unit.schemas import name

NOTHING = sql.SQL("").format()
QUESTION = CensusQuestion(
    table=name("sales"), policy=Orphans.FAIL, paths=(("store_id > stores", PathKind.PATH), ("lines", PathKind.CHILD)),
    counts=NOTHING, orphans=lambda: NOTHING, conflicts=lambda: NOTHING, pairs=lambda: NOTHING,
)  # fmt: skip


def test_counts() -> None:
    """Six figures of the table, then three of each way."""
    found = QUESTION.read((10, 3, 2, 1, 4, 1, 6, 5, 1, 2, 1, 0))
    assert (found.rows, found.orphans, found.conflicts, found.several, found.earlier, found.crossing) == (
        10, 3, 2, True, 4, 1,
    )  # fmt: skip
    assert [(way.label, way.kind, way.rows, way.alone, way.differs) for way in found.paths] == [
        ("store_id > stores", PathKind.PATH, 6, 5, 1), ("lines", PathKind.CHILD, 2, 1, 0),
    ]  # fmt: skip
    assert found.with_tenant == 7


def test_samples() -> None:
    """A way that says nothing of a row is left out; a row of which none does says so."""
    first, second = QUESTION.samples([({"id": 1}, ["north"], ["north", "south"]), ({"id": 2, "n": "x"}, [], [])])
    assert str(first) == "id 1: store_id > stores says north; lines says north and south"
    assert str(second) == "id 2, n x: no path leads to a tenant"
    assert second == Sample(key={"id": 2, "n": "x"}, tenants={})


def test_pairs() -> None:
    assert QUESTION.paired([(0, 1, "north", "south", 7)]) == (
        Pair(one="store_id > stores", other="lines", tenants=("north", "south"), rows=7),
    )


@pytest.mark.parametrize("policy", Orphans)
def test_what_is_refused(policy: Orphans) -> None:
    """Orphans where the spec has no tenant for them, and conflicts always."""
    table = TableEvidence(table=name("sales"), rows=9, policy=policy)
    assert not table.refused
    orphans = replace(table, orphans=2)
    assert orphans.unaccepted == (2 if policy is Orphans.FAIL else 0)
    assert orphans.refused == (policy is Orphans.FAIL)
    assert replace(table, conflicts=1).refused


def test_all_tables_in_order() -> None:
    """Those that were asked and those that were known, as they derive from each other."""
    known, asked = (TableEvidence(table=name(one), rows=rows, orphans=rows) for one, rows in (("a", 0), ("b", 1)))
    census = Census(tenant_maps=(), questions=(QUESTION,), known=(known,), order=(name("b"), name("a")))
    found = census.evidence([asked])
    assert list(found.tables) == [name("b"), name("a")]
    assert found.refused == (asked,)
