"""The instants at which a run is killed."""

from __future__ import annotations

import random
from collections.abc import Callable

from acceptance.comparing import State, assert_same
from acceptance.kill_targets import Subject
from acceptance.killing import (
    ANY,
    BATCH,
    BUILD,
    CHECKPOINT,
    FORGOTTEN,
    UNBUILD,
    Kill,
)

Undisturbed = Callable[..., State]


def boundaries(
    subject: Callable[..., Subject], undisturbed: Undisturbed, name: str, stride: int, *, owned: bool = False
) -> Subject:
    """Migrate and roll back, killed at each `stride`-th step."""
    expected, one = undisturbed(name, owned=owned), subject(name, owned=owned)
    kill = Kill(event="started", number=1 + stride)
    ended = one.chain("migrate", lambda: kill)
    steps = len([line for line in ended.lines if line.get("event") in ("found", "applied")])
    assert len(one.killing.kills) >= steps // (2 * stride)
    assert_same(expected, one.migrated())
    one.chain("rollback", lambda: kill)
    one.assert_original()
    return one


def boundaries_of_distribute(subject: Callable[..., Subject], undisturbed: Undisturbed, name: str, stride: int) -> None:
    """The same for the phase distribute alone, and for the way back through all phases."""
    expected, one = undisturbed(name), subject(name)
    one.killing.until = "contract"
    one.killing.complete("migrate")
    one.killing.until = "distribute"
    kill = Kill(event="started", number=1 + stride)
    one.chain("migrate", lambda: kill)
    assert len(one.killing.kills) > 1
    assert_same(expected, one.migrated())
    one.chain("rollback", lambda: kill)
    one.assert_original()


def random_kill(generator: random.Random, number: int) -> Kill:
    """The n-th kill of a chain: first inside batches and at their checkpoints, then in index builds, then anywhere."""
    moment, delay = generator.choice(("before", "during", "during", "after")), generator.uniform(0, 0.004)
    if number < 6:
        pattern = generator.choice((BATCH, BATCH, CHECKPOINT))
        return Kill(
            statement=pattern,
            number=generator.randint(1, generator.choice((4, 12, 40))),
            moment=moment,
            delay=delay,
        )
    if number < 9:
        return Kill(statement=BUILD, number=generator.randint(1, 3), moment=moment, delay=10 * delay)
    return Kill(statement=ANY, number=generator.randint(1, 150), moment=moment, delay=delay)


MOST_ROUNDS = 5


def random_instants(subject: Callable[..., Subject], expected: State, seed: int, kills: int) -> None:
    """Die `kills` times, then finish; or die on the way back as well, and come to the original."""
    generator = random.Random(seed)
    one = subject("big estoque", stripes=2)
    rounds = 1
    try:
        while len(one.killing.kills) < kills:
            ended = one.killing.run("migrate", random_kill(generator, len(one.killing.kills) * 10 // kills))
            if not ended.killed:
                # It got through between two kills, as a quick machine may: once more from the beginning.
                assert rounds < MOST_ROUNDS, f"it came to its end after {len(one.killing.kills)} kills: {ended.said}"
                one.killing.complete("rollback")
                rounds += 1
        if seed % 2 == 0:
            one.killing.complete("migrate")
            assert_same(expected, one.migrated())
        for _ in range(3):
            pattern = generator.choice((UNBUILD, FORGOTTEN, ANY))
            aimed = Kill(
                statement=pattern,
                number=generator.randint(1, 20),
                delay=generator.uniform(0, 0.01),
                moment="during",
            )
            one.killing.run("rollback", aimed)
        one.killing.complete("rollback")
        one.assert_original()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, killed at {one.killing.kills}: {error}") from error
    print(f"seed {seed}, killed at: {one.killing.kills}")
