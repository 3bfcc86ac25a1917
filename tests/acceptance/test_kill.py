"""kill -9 at every boundary between steps and at random instants: run again, or back to the original."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, get_args

import pytest

from acceptance.comparing import assert_same
from acceptance.kill_points import Undisturbed, boundaries, boundaries_of_distribute, random_instants
from acceptance.kill_targets import Subject
from acceptance.killing import (
    ANY,
    BATCH,
    BEGUN,
    BUILD,
    DONE,
    EVENT,
    FORGOTTEN,
    Kill,
)
from daily import daily, nightly
from operator_runs import Operating
from tenantry.steps import AnyStep

DISTRIBUTED = (
    "direct_policies", "foreign_key_dropped", "colocated_foreign_key", "colocated_foreign_key_valid", "widened_key",
    "user_trigger_dropped", "sentinel_row", "sentinel_fill", "sentinel_default", "sentinel_policies",
    "shared_unique_dropped",
)  # fmt: skip
"""Kinds of the phase distribute."""
KINDS = {
    "adoption": "estoque", "function_grant": "workshop", "parents_deferred": "workshop"
} | dict.fromkeys(("tenant_table", "assigned_rows", "partitioned_index", "index_attached", "view", "schema_usage"), "bazaar") | dict.fromkeys(DISTRIBUTED, "depot")  # fmt: skip
OTHERWISE = "harbour"
COMMITS_ITS_BEGINNING = ("fill", "index", "global_unique", "widened_key", "sentinel_fill", "colocated_foreign_key")
"""Kinds whose journal entry is committed before their work is."""
INSIDE = (DONE, "inside")
EVERY = ((BEGUN, "after"), INSIDE, (EVENT, "after"))
"""Where a step is one transaction, a kill after its beginning leaves what one inside leaves, and one after its event
what one before the next step leaves."""


def kinds_of_steps() -> list[str]:
    """Every kind that a migration on plain PostgreSQL has; balances are no part of one."""
    every = get_args(get_args(AnyStep)[0])
    kinds = sorted(next(str(f.default) for f in fields(step) if f.name == "kind") for step in every if not step.engine)
    return [kind for kind in kinds if not kind.startswith("balance_")]


@pytest.mark.parametrize(
    ("name", "stride"),
    daily(
        [("bazaar", 7), ("bazaar", 3), ("harbour", 5), ("estoque", 11), ("enterprise", 11), ("depot", 7), ("fleet", 25)]
    ),
)
def test_step_boundaries(name: str, stride: int, subject: Callable[..., Subject], undisturbed: Undisturbed) -> None:
    """Killed after each `stride`-th step, and after each one in the soak: the same final state; and the same on the way
    back: the original. Each kind of step is killed at below."""
    boundaries(subject, undisturbed, name, stride)


@pytest.mark.parametrize(
    ("name", "stride"),
    daily([("estoque distributed", 20), ("estoque distributed", 1), ("enterprise distributed", 1), ("depot", 1)]),
)
def test_boundaries_of_distribute(
    name: str, stride: int, subject: Callable[..., Subject], undisturbed: Undisturbed
) -> None:
    boundaries_of_distribute(subject, undisturbed, name, stride)


@pytest.mark.parametrize(("name", "stride"), daily([("bazaar", 12), ("bazaar", 5), ("harbour", 5), ("depot", 5)]))
def test_as_the_owner(name: str, stride: int, subject: Callable[..., Subject], undisturbed: Undisturbed) -> None:
    """The same where the operator is held to the policies that it makes."""
    one = boundaries(subject, undisturbed, name, stride, owned=True)
    assert one.database.rows("SELECT count(*) FROM tenantry.runs WHERE username NOT LIKE 'owner%'") == [(0,)]


def instants() -> list[Any]:
    """Each kind with the instants within its step at which it is killed."""
    cases: list[Any] = []
    for kind in kinds_of_steps():
        # Views that run as whoever asks came with PostgreSQL 15. The operator's script has made the application role.
        marks = [pytest.mark.pg(">= 15")] if kind == "view" else []
        if kind == "role" and Operating.wanted:
            continue
        if kind in DISTRIBUTED and kind != "widened_key":
            marks.append(pytest.mark.nightly)
        short = kind not in COMMITS_ITS_BEGINNING
        cases.append(pytest.param(kind, (INSIDE,) if short else EVERY, id=kind, marks=marks))
        if short:
            cases.append(nightly(pytest.param(kind, EVERY, id=f"{kind}, at more instants", marks=marks)))
    return cases


@pytest.mark.parametrize(("kind", "instants"), instants())
def test_every_kind_of_step(kind: str, instants: Sequence[tuple[str, str]], subject: Callable[..., Subject]) -> None:
    """Killed before, inside and after the first step of each kind, then back: the original."""
    one = subject(KINDS.get(kind, OTHERWISE))
    before = one.killing.run("migrate", Kill(event="started", kind=kind, number=1))
    assert before.killed, f"no step of kind {kind}: {before.said}"
    assert kind in before.last_step or before.kinds >= {kind}
    for statement, moment in instants:
        # Once it is in force there is only the next step to be killed in, if there is one.
        one.killing.run("migrate", Kill(statement=statement, number=1, moment=moment))
    # After the last step nothing is left to be killed in.
    assert len(one.killing.kills) >= len(instants)
    print("killed at:", one.killing.kills)
    one.killing.run("rollback", Kill(statement=FORGOTTEN, number=1, moment="before"))
    one.killing.complete("rollback")
    one.assert_original()


@pytest.mark.parametrize(("kind", "work", "number"), [("fill", BATCH, 5), ("index", BUILD, 1)], ids=["fill", "index"])
def test_back_from_a_step_under_way(kind: str, work: str, number: int, subject: Callable[..., Subject]) -> None:
    """Killed with work done whose end the journal does not know, then straight back: the original."""
    one = subject(KINDS.get(kind, OTHERWISE), unit=1, first_batch=1)
    # Batches of a page or a part of one, one after the other: the first ones are committed.
    one.killing.workers = 1
    one.killing.run("migrate", Kill(event="started", kind=kind, number=1))
    assert one.killing.run("migrate", Kill(statement=work, number=number, moment="after")).killed
    begun = one.database.rows("SELECT value->>'kind' FROM tenantry.steps WHERE state = 'running'")
    assert (kind,) in begun
    one.killing.complete("rollback")
    one.assert_original()


@pytest.mark.parametrize("kind", daily(["widened_key", "colocated_foreign_key_valid", "foreign_key_dropped"]))
def test_keys_of_partitioned_tables(kind: str, subject: Callable[..., Subject], undisturbed: Undisturbed) -> None:
    """Killed before, between and after the changes of each few keys, then the same; and on the way back the same."""
    one = subject("fleet")
    kills = [Kill(event="started", kind=kind, number=number) for number in (1, 3)]
    kills += [Kill(statement=statement, number=2, moment=moment)
              for statement, moment in ((DONE, "inside"), (DONE, "after"), (BEGUN, "inside"))]  # fmt: skip
    for kill in kills:
        assert one.killing.run("migrate", kill).killed
    one.killing.complete("migrate")
    assert_same(undisturbed("fleet"), one.migrated())
    for kill in [Kill(event="started", kind=kind, number=number) for number in (1, 3)] + [
        Kill(statement=BUILD, number=number, moment="after") for number in (2, 4)
    ]:
        one.killing.run("rollback", kill)
    one.killing.complete("rollback")
    assert len(one.killing.kills) > len(kills)
    one.assert_original()


@pytest.mark.parametrize(("name", "least"), daily([("bazaar", 8), ("harbour", 8)]))
def test_inside_messages(name: str, least: int, subject: Callable[..., Subject], undisturbed: Undisturbed) -> None:
    """Killed where the server is between two statements of one message: none of them was done."""
    expected, one = undisturbed(name), subject(name)
    for command in ("migrate", "rollback"):
        already = len(one.killing.kills)
        # The further it has come, the longer it is let be: a message longer than the first numbers is come through.
        one.chain(
            command,
            lambda: Kill(statement=ANY, number=19 + 3 * (len(one.killing.kills) - already), moment="inside"),  # noqa: B023
        )
        assert len(one.killing.kills) - already >= least
        if command == "migrate":
            assert_same(expected, one.migrated())
    one.assert_original()


@pytest.mark.parametrize("name", daily(["bazaar", "harbour"]))
def test_back_and_forth(name: str, subject: Callable[..., Subject], undisturbed: Undisturbed) -> None:
    """A rollback that is killed half-way can be left at that: migrate makes it whole again."""
    expected, one = undisturbed(name), subject(name)
    one.killing.complete("migrate")
    for number in (2, 10, 25, 45, 70):
        if one.killing.run("rollback", Kill(event="reverted", number=number)).killed:
            one.killing.complete("migrate")
            back = one.migrated()
            assert back.rows == expected.rows
            assert back.schema == expected.schema
            assert back.ours == expected.ours
            # What a rollback has nothing to do for is in force without being ours: the proofs of keys that stand, and
            # partitions' indexes, which go with the whole one.
            missing = {step[0] for step in expected.journal} - {step[0] for step in back.journal}
            assert all("_valid:" in key or key.startswith("index_attached:") for key in missing), (number, missing)
    one.killing.complete("rollback")
    one.assert_original()


@pytest.mark.parametrize("name", daily(["bazaar", "harbour"]))
def test_values_are_kept(name: str, subject: Callable[..., Subject], undisturbed: Undisturbed) -> None:
    """rollback --preserve-data, killed again and again, then migrate, killed again and again: whole again."""
    expected, one = undisturbed(name), subject(name)
    one.killing.complete("migrate")
    one.chain("rollback --preserve-data", lambda: Kill(event="started", number=9))
    one.chain("migrate", lambda: Kill(event="started", number=9))
    back = one.migrated()
    assert (back.rows, back.ours) == (expected.rows, expected.ours)
    one.chain("rollback", lambda: Kill(event="started", number=9))
    one.assert_original()


@pytest.mark.parametrize("seed", daily(range(3)))
def test_rows_that_were_filled(seed: int, subject: Callable[..., Subject]) -> None:
    """Killed in the fill of the user's own column, whose NULLs come back."""
    generator = random.Random(seed)
    one = subject("harbour", unit=2, first_batch=1)
    one.killing.run("migrate", Kill(event="started", kind="fill", number=1))
    for _ in range(2):
        kill = Kill(
            statement=BATCH, number=generator.randint(1, 3), moment=generator.choice(("during", "after")),
            delay=generator.uniform(0, 0.003),
        )  # fmt: skip
        one.killing.run("migrate", kill)
    if seed == 0:
        one.killing.complete("migrate")
    one.killing.run("rollback", Kill(statement="UPDATE ONLY.*SET.*NULL", number=1, moment="after"))
    one.killing.complete("rollback")
    one.assert_original()


@pytest.mark.parametrize(("seed", "kills"), daily([(0, 5), *((seed, 10) for seed in range(4))]))
def test_random_instants(seed: int, kills: int, subject: Callable[..., Subject], undisturbed: Undisturbed) -> None:
    """Instants on the way there, inside backfill and index builds: five daily, forty nightly, hundreds in the soak."""
    random_instants(subject, undisturbed("big estoque"), seed, kills)
