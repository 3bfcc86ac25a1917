"""Tables on the nodes of Citus."""

from __future__ import annotations

from tenantry.model.plan import ExecutionMode, LockMode, Phase
from tenantry.steps.citus_table import CheckShards, DistributeTable, EmptyLocalTable
from unit.steps.examples import PRODUCTS, SALES, STORES, assert_statements, texts

DISTRIBUTE = Phase.DISTRIBUTE
SETTINGS = ["TimeZone", "DateStyle", "IntervalStyle", "extra_float_digits", "bytea_output"]


def test_an_owned_table() -> None:
    """Its rows are compared before and after, with settings by which a value has one text on all nodes."""
    step = DistributeTable(phase=DISTRIBUTE, table=SALES, column="tenant_id", together_with=STORES)
    differed, *settings, move = texts(step.apply())
    assert "RAISE EXCEPTION" in differed
    assert [text.split('"')[1] for text in settings] == SETTINGS
    assert all(text.startswith("SET LOCAL ") for text in settings)
    create = (
        """pg_catalog.create_distributed_table('"public"."sales"'::pg_catalog.regclass, 'tenant_id',"""
        """ colocate_with => '"public"."stores"')"""
    )
    assert move.count(create) == 1
    assert move.count("pg_catalog.hashtextextended(t::pg_catalog.text, 0)") == 2
    assert "RAISE EXCEPTION 'the rows of % differ" in move
    assert {one.manner for one in step.apply()} == {ExecutionMode.ENGINE}
    assert {lock.mode for one in step.apply() for lock in one.locks} == {LockMode.EXCLUSIVE}
    assert "row_security_active" in move, "COPY is refused to an owner under FORCE"
    first = DistributeTable(phase=DISTRIBUTE, table=STORES, column="tenant_id")
    assert "colocate_with => 'none'" in texts(first.apply())[-1]


def test_a_shared_table() -> None:
    step = DistributeTable(phase=DISTRIBUTE, table=PRODUCTS)
    create = """pg_catalog.create_reference_table('"public"."products"'::pg_catalog.regclass)"""
    assert create in texts(step.apply())[-1]
    assert "partmethod = 'n'" in step.definition().as_string(None)


def test_what_is_wanted_is_not_how() -> None:
    """Another statement for the same thing does not make it changed."""
    assert DistributeTable(phase=DISTRIBUTE, table=PRODUCTS).wants() == "on each node"
    assert DistributeTable(phase=DISTRIBUTE, table=STORES, column="tenant_id").wants() == "by tenant_id with None"


def test_the_way_back() -> None:
    step = DistributeTable(phase=DISTRIBUTE, table=SALES, column="tenant_id", together_with=STORES)
    *settings, back = step.revert({})
    assert len(settings) == len(SETTINGS)
    assert "pg_catalog.undistribute_table(" in back.text
    assert back.when is not None
    assert "pg_dist_partition" in back.when.as_string(None)
    first = DistributeTable(phase=DISTRIBUTE, table=STORES, column="tenant_id")
    assert texts(first.revert({}))[-1] == 'DROP TABLE IF EXISTS "tenantry"."snapshot_anchor"'


def test_options_of_columns_that_were_lost_at_once() -> None:
    step = DistributeTable(phase=DISTRIBUTE, table=SALES, column="tenant_id", together_with=STORES)
    restored = step.revert({"options": {"note": "n_distinct = '5'"}})[-1]
    assert restored.text == """ALTER TABLE "public"."sales" ALTER COLUMN "note" SET (n_distinct = '5')"""
    assert restored.when is not None
    assert "attoptions IS NULL" in restored.when.as_string(None)


def test_the_coordinators_own_rows() -> None:
    step = EmptyLocalTable(phase=DISTRIBUTE, table=SALES)
    assert_statements(
        step.apply(),
        """SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."sales"'::pg_catalog.regclass)""",
    )
    assert "pg_relation_size" in step.definition().as_string(None)
    assert step.revert({}) == ()


def test_the_shards_are_compared_with_the_table() -> None:
    """One query for both, and a table that is not distributed is not as it should be."""
    step = CheckShards(phase=DISTRIBUTE, table=SALES)
    definition = step.definition().as_string(None)
    assert "EXISTS (SELECT FROM pg_catalog.pg_dist_partition d" in definition
    assert """run_command_on_placements('"public"."sales"'::pg_catalog.regclass""" in definition
    for fact in ("polpermissive", "relrowsecurity", "relforcerowsecurity", "polqual", "polwithcheck", "relacl"):
        assert definition.count(fact) >= 3, fact
    (check,) = texts(step.apply())
    assert "RAISE EXCEPTION" in check
    assert step.revert({}) == ()
