"""A plan as a script for psql: each statement once, in the kind of transaction that it needs."""

from __future__ import annotations

from tenantry.planning import make_plan
from tenantry.reports.script import Part, script
from tenantry.steps import NotNullCheck, SetNotNull
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES, shop_spec
from unit.schemas import TENANTS, name, schema
from unit.steps.examples import ENFORCE


def parts() -> list[Part]:
    return [
        (step, step.apply()) for step in make_plan(shop_spec(), schema(TENANTS, STORES, SALES, LINES, PRODUCTS)).steps
    ]


def test_all_of_a_plan() -> None:
    """Phases in order; every transaction that begins ends, and what cannot be in one is in none."""
    text = script("shop", "PostgreSQL 18.0", parts())
    phases = [line.removeprefix("-- ==== ") for line in text.splitlines() if line.startswith("-- ==== ")]
    assert phases == ["expand", "backfill", "enforce", "isolate", "contract"]
    inside = False
    for line in text.splitlines():
        if line == "BEGIN;":
            assert not inside
            inside = True
        elif line == "COMMIT;":
            assert inside
            inside = False
        assert not (inside and "CONCURRENTLY" in line)
    assert not inside
    assert f"the {len(parts())} steps that are not applied yet" in text


def test_fills_are_templates() -> None:
    text = script("shop", "PostgreSQL 18.0", [part for part in parts() if part[0].filling is not None])
    assert text.count("PREPARE fill (tid, tid, int, int) AS") == text.count("DEALLOCATE fill;") > 0


def test_names_end_no_comment() -> None:
    """Nor does one of the database."""
    hostile = name("x\n\\! rm -rf /\n--")
    step = NotNullCheck(phase=ENFORCE, table=hostile, column="a")
    text = script("shop\n\\q", "PostgreSQL 18.0", [(step, step.apply())])
    statement = text.index("ALTER TABLE")
    assert not [
        line for line in text[:statement].splitlines() if line.startswith("\\") and line != "\\set ON_ERROR_STOP on"
    ]


def test_what_goes_first_and_last() -> None:
    """What the spec no longer asks for, around the rest; each with what must be known of it."""
    steps = [SetNotNull(phase=ENFORCE, table=name(one), column="a") for one in ("first", "between", "last")]
    made: list[Part] = [(step, step.apply()) for step in steps]
    text = script("shop", "PostgreSQL 18.0", made[1:2], first=made[:1], last=made[2:])
    assert text.index("first") < text.index("between") < text.index("last")
    assert text.count("no longer in the spec") == 2
    assert "-- locks public.first: ACCESS EXCLUSIVE" in text
