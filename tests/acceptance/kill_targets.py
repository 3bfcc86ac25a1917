"""A database that is to be killed, with what it was: shared by the tests of kills, restarts and interrupts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from acceptance.comparing import State, migrated_state
from acceptance.kill_scenarios import SCENES
from acceptance.killing import Ended, Kill, Killing, driver
from acceptance.round_trip import checksums
from operator_runs import Operating, hand_over, operated
from servers import Database, Server
from tenantry.model.spec import Spec


@pytest.fixture(scope="session")
def process() -> Iterator[subprocess.Popen[str]]:
    """The driver, whose imports are paid once a worker."""
    with driver() as running:
        yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A copy of a scene's database with its own roles and spec, and what it was."""

    database: Database
    killing: Killing
    roles: Mapping[str, str]
    tenant_table: str
    dump: str
    rows: dict[str, tuple[int, str]]

    def migrated(self) -> State:
        return migrated_state(self.database, self.roles, self.tenant_table)

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


OWNED = """
DO $$
DECLARE found record;
BEGIN
  EXECUTE format('GRANT CREATE ON DATABASE %I TO the_owner', current_database());
  FOR found IN SELECT oid::regnamespace AS name FROM pg_namespace WHERE nspname IN ('public', 'market') LOOP
    EXECUTE format('ALTER SCHEMA %s OWNER TO the_owner', found.name);
  END LOOP;
  FOR found IN SELECT oid::regclass AS name FROM pg_class
    WHERE relkind IN ('r', 'p', 'v') AND relnamespace::regnamespace::text IN ('public', 'market') LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO the_owner', found.name);
  END LOOP;
END $$
"""


def make_subject(
    database: Database, name: str, folder: Path, process: subprocess.Popen[str], role: str, legacy: str,
    user: str = "postgres", **batches: float,
) -> Subject:  # fmt: skip
    """A database that was built as scene `name`, with its spec in `folder`; `user` runs the commands."""
    scene = SCENES[name]
    spec = scene.write_spec(folder, role, legacy)
    # Once its owner is another, it is no longer what it was made as.
    measured = database.as_made if user == "postgres" and not Operating.wanted else lambda measure: measure(database)
    roles = {role: "application", legacy: "legacy"} | ({user: "owner"} if user != "postgres" else {})
    if user == "postgres" and Operating.wanted:
        user = str(conninfo_to_dict(operated(database, Spec.read(spec)).conninfo)["user"])
        roles |= {user: "operator", hand_over(database): "owner"}
    killing = Killing(
        driver=process,
        dsn=make_conninfo(database.dsn, user=user),
        spec=spec,
        until=scene.until,
        batches={"first_batch": 2, "unit": 16, "batch_seconds": 0.001} | batches,
    )
    return Subject(
        database=database,
        killing=killing,
        roles=roles,
        tenant_table=scene.tenant_table,
        dump=measured(Database.dump),
        rows=measured(checksums),
    )


@pytest.fixture
def subject(
    template: Callable[..., Database],
    role: Callable[..., str],
    tmp_path: Path,
    process: subprocess.Popen[str],
) -> Iterator[Callable[..., Subject]]:
    """`subject("harbour")` is a fresh copy of that scene's database, ready to be killed; with owned=True its tables'
    owner, who is no superuser and does not bypass row security, runs the commands."""
    legacy = role(name="legacy")
    made: list[Subject] = []
    owners: list[str] = []

    def make(name: str, *, owned: bool = False, **batches: float) -> Subject:
        database = template(f"killed {name}", SCENES[name].build)
        application, user = role(create=False, name="app"), "postgres"
        if owned:
            if not owners:
                owners.append(role("LOGIN CREATEROLE", name="owner"))
            user = owners[0]
            database.execute(OWNED.replace("the_owner", user))
        made.append(make_subject(database, name, tmp_path, process, application, legacy, user, **batches))
        return made[-1]

    yield make
    for one in made:
        one.killing.abandon()


@pytest.fixture
def undisturbed(server: Server, subject: Callable[..., Subject]) -> Callable[..., State]:
    """`undisturbed("harbour")` is what a run that nobody kills comes to, there or on another server; found once a
    worker."""

    def find(name: str, *, owned: bool = False) -> State:
        key = (server.major, name, owned)
        if key not in _undisturbed:
            other = subject(name, owned=owned)
            other.killing.complete("migrate")
            _undisturbed[key] = other.migrated()
        return _undisturbed[key]

    return find


_undisturbed: dict[tuple[int, str, bool], State] = {}
