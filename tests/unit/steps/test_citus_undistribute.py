"""The SQL of the way back from a distributed table."""

from __future__ import annotations

from tenantry.steps.citus_undistribute import dependents, sums, undistribution
from unit.steps.examples import SALES


def test_nothing_is_dropped_with_the_table() -> None:
    """What would be is found first, and then nothing is changed."""
    text = undistribution(SALES).as_string(None)
    assert text.index("dependent_objects_still_exist") < text.index("pg_catalog.undistribute_table(")
    assert dependents(SALES).as_string(None) in text


def test_what_citus_loses_is_read_before_and_restored_after() -> None:
    text = undistribution(SALES).as_string(None)
    at = text.index("pg_catalog.undistribute_table(")
    for read, restored in (
        ("commands := (", "EXECUTE one.command"), ("not_null := (", "RENAME CONSTRAINT"),
        ("known := (", "UPDATE tenantry.steps"), ("columns := (", "INSERT INTO tenantry.columns"),
        ("INTO rows_before", "INTO rows_after"),
    ):  # fmt: skip
        assert text.index(read) < at < text.index(restored)


def test_the_sums() -> None:
    assert '"public"."sales" AS t' in sums(SALES).as_string(None)
