"""What is stuck, in two lines each: who it is, and what would end it."""

from __future__ import annotations

from dataclasses import replace

from tenantry.cli.stuck import stuck_lines
from tenantry.model.run import Stuck

ONE = Stuck(
    pid=7, user="maria", application="psql", state="idle in transaction", query="SELECT\n 1", age=400.0, lasts=3.0,
    blocks=(8, 0), ending="SELECT pg_terminate_backend(7)",
)  # fmt: skip


def lines(one: Stuck) -> list[str]:
    return [line.plain.strip() for line in stuck_lines([one])]


def test_who_and_what() -> None:
    first, second = lines(ONE)
    assert first == (
        "stuck  pid 7 (maria, psql): idle in transaction, transaction open for 6 min 40 s,"
        " blocks pid 8, a prepared transaction  SELECT 1"
    )
    assert second == "to terminate it: SELECT pg_terminate_backend(7);"


def test_what_is_in_the_way_of_a_run() -> None:
    assert lines(replace(ONE, blocks_run=True))[1].endswith("or: tenantry status --terminate 7")
    prepared = replace(ONE, pid=0, state="prepared transaction", blocks_run=True, age=None, blocks=(), waits_for=(9,))
    first, second = lines(prepared)
    assert first.startswith("stuck  prepared transaction: waits for pid 9")
    assert "--terminate" not in second


def test_a_run_of_ours_is_not_ended_so() -> None:
    assert "Ctrl-C" in lines(replace(ONE, run=True))[1]
