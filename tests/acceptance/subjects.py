"""A database that is to be killed, with what it was: shared by the tests of kills, restarts and interrupts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from acceptance.comparing import State, migrated_state
from acceptance.killing import Ended, Kill, Killing, driver
from acceptance.scenes import SCENES
from acceptance.test_round_trip import checksums
from servers import Database


@pytest.fixture(scope="session")
def process() -> Iterator[subprocess.Popen[str]]:
    """The driver, whose imports are paid once a worker."""
    with driver() as running:
        yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A copy of a scene's database with its own role and spec, and what it was."""

    database: Database
    killing: Killing
    role: str
    tenant_table: str
    dump: str
    rows: dict[str, tuple[int, str]]

    def migrated(self) -> State:
        return migrated_state(self.database, self.role, self.tenant_table)

    def assert_original(self) -> None:
        """The schema is byte for byte what it was, and so is every value."""
        assert self.database.dump() == self.dump, f"killed at: {self.killing.kills}"
        assert checksums(self.database) == self.rows, f"killed at: {self.killing.kills}"

    def chain(self, command: str, kill: Callable[[], Kill], *, most: int = 1000) -> Ended:
        """Run and be killed again and again, each run from where the last died, until one ends by itself or `most`
        were killed."""
        for _ in range(most):
            ended = self.killing.run(command, kill())
            if not ended.killed:
                assert ended.status == 0, f"{command}: {ended.said}\nkilled at: {self.killing.kills}"
                return ended
            print(f"{command} killed at: {ended.last_step}")
        return ended


def make_subject(
    database: Database, name: str, folder: Path, process: subprocess.Popen[str], role: str, legacy: str, **batches: float
) -> Subject:  # fmt: skip
    """A database that was built as scene `name`, with its spec in `folder`."""
    scene = SCENES[name]
    killing = Killing(
        driver=process,
        dsn=database.dsn,
        spec=scene.write_spec(folder, role, legacy),
        batches={"first_batch": 2, "unit": 16, "batch_seconds": 0.001} | batches,
    )
    return Subject(
        database=database,
        killing=killing,
        role=role,
        tenant_table=scene.tenant_table,
        dump=database.dump(),
        rows=checksums(database),
    )


@pytest.fixture
def subject(
    template: Callable[..., Database],
    role: Callable[..., str],
    tmp_path: Path,
    process: subprocess.Popen[str],
) -> Iterator[Callable[..., Subject]]:
    """`subject("harbour")` is a fresh copy of that scene's database, ready to be killed."""
    legacy = role(name="legacy")
    made: list[Subject] = []

    def make(name: str, **batches: float) -> Subject:
        database = template(f"killed {name}", SCENES[name].build)
        application = role(create=False, name="app")
        made.append(make_subject(database, name, tmp_path, process, application, legacy, **batches))
        return made[-1]

    yield make
    for one in made:
        one.killing.abandon()


def undisturbed(subject: Callable[..., Subject], name: str) -> State:
    """What a run that nobody kills comes to."""
    other = subject(name)
    other.killing.complete("migrate")
    return other.migrated()
