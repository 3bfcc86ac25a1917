"""Distributing a table while its writers go on."""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from tenantry.model.plan import ExecutionMode, LockMode, Phase
from tenantry.steps import from_json, to_json
from tenantry.steps.citus_concurrent_move import MAKE_ANCHOR, WAITS, ConcurrentMove
from tenantry.steps.citus_table import DistributeTable
from unit.steps.examples import PRODUCTS, SALES, STORES, assert_statements, texts

STEP = DistributeTable(phase=Phase.DISTRIBUTE, table=SALES, column="tenant_id", together_with=STORES)
MOVE = ConcurrentMove(table=SALES, column="tenant_id", together_with=STORES)


def test_the_same_step_in_another_way() -> None:
    """The journal does not see a difference; a table that is copied to each node has no other way."""
    other = STEP.nonblocking
    assert other == replace(STEP, concurrently=True)
    assert (other.key, other.wanted) == (STEP.key, STEP.wanted)
    assert other.concurrent_move == MOVE
    assert STEP.concurrent_move is None
    assert from_json(to_json(other)) == other
    copied = DistributeTable(phase=Phase.DISTRIBUTE, table=PRODUCTS)
    assert copied.nonblocking == copied


def test_each_statement_finds_out_whether_it_is_needed() -> None:
    """An earlier run may have died anywhere between them, or the rows have differed."""
    differed, single, unforced, move, forced, clean = STEP.nonblocking.apply()
    assert [one.manner for one in STEP.nonblocking.apply()] == [
        ExecutionMode.ENGINE, ExecutionMode.ENGINE, ExecutionMode.ENGINE, ExecutionMode.SNAPSHOT,
        ExecutionMode.ENGINE, ExecutionMode.CONCURRENT,
    ]  # fmt: skip
    assert all(one.when is not None for one in (differed, single, unforced, move, forced))
    assert "RAISE EXCEPTION" in differed.text
    assert single.text.count("PERFORM pg_catalog.citus_add_local_table_to_metadata(") == 1
    assert "hashtextextended" not in single.text, "it blocks everybody, and so reads no rows"
    assert_statements((unforced,), 'ALTER TABLE "public"."sales" NO FORCE ROW LEVEL SECURITY')
    assert_statements((forced,), 'ALTER TABLE "public"."sales" FORCE ROW LEVEL SECURITY')
    assert [lock.mode for lock in move.locks] == [LockMode.SHARE_UPDATE_EXCLUSIVE], "writers go on"
    assert clean.text == "CALL pg_catalog.citus_cleanup_orphaned_resources()"


def test_the_statement_waits_for_the_snapshot_before_it_commits() -> None:
    text = MOVE.statement.as_string(None)
    parts = [
        """create_distributed_table_concurrently('"public"."sales"'::pg_catalog.regclass, 'tenant_id',"""
        """ colocate_with => '"public"."stores"')""",
        "pg_advisory_xact_lock(",
        "CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_locks",
    ]
    assert sorted(parts, key=text.index) == parts
    first = ConcurrentMove(table=SALES, column="tenant_id").statement.as_string(None)
    assert "colocate_with => 'none'" in first
    waiting = WAITS.format(pid=sql.Literal(7), waiting=sql.Literal(8)).as_string(None)
    assert "l.pid = 7 AND l.classid = 8" in waiting


def test_both_sums_are_of_the_same_text() -> None:
    before = MOVE.rows_before(sql.SQL("public.sales_102008")).as_string(None)
    assert before.replace("public.sales_102008", '"public"."sales"') == MOVE.rows_after.as_string(None)


def test_what_is_kept_if_rows_differ() -> None:
    """As long as it is there, the table does not count as distributed."""
    kept = MOVE.kept
    assert kept.schema == "tenantry"
    assert kept != ConcurrentMove(table=STORES, column="tenant_id").kept
    assert MOVE.keep(sql.SQL("x")).as_string(None) == f'CREATE TABLE "tenantry"."{kept.name}" AS SELECT * FROM x'
    assert kept.name in STEP.definition().as_string(None)
    assert kept.name in texts(STEP.apply())[0]


def test_a_shard_of_the_table_for_snapshots_is_on_each_node() -> None:
    make, distribute = (one.as_string(None) for one in MAKE_ANCHOR)
    assert make == 'CREATE TABLE "tenantry"."snapshot_anchor" (node int)'
    assert "shard_count => (SELECT pg_catalog.count(*)::int FROM pg_catalog.pg_dist_node)" in distribute


def test_rows_are_in_the_shard_of_their_tenant() -> None:
    """A shard that the node does not know counts with all of its rows; a column's name is no placeholder of format."""
    text = ConcurrentMove(table=SALES, column="100%s").misplaced.as_string(None)
    assert 'worker_hash(t."100%%s")' in text
    assert ") IS NOT TRUE" in text
    assert text.count("%1$s") == 3
