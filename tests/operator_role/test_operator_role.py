"""tenantry runs as a role that is no superuser, made by the script of `operator-sql`, beside a hostile owner."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from acceptance.test_round_trip import checksums
from conftest import Command, Outcome
from operating import hand_over
from servers import Database
from tenantry.presets import load, spec_path

pytestmark = pytest.mark.server

Run = Callable[..., Outcome]
SEEN = "SELECT what, by_user FROM evil.seen WHERE superuser ORDER BY 1, 2"


def _load(preset: str) -> Callable[[Database], None]:
    def build(database: Database) -> None:
        with database.connect() as connection:
            load(connection, preset=preset, rows=300, seed=1, faults=("negative-stock",))

    return build


class Place:
    """A database that is a hostile owner's, the command on it, and the name of its operator, whom nobody has made."""

    def __init__(self, database: Database, command: Command, application: str, operator: str) -> None:
        self.database = database
        self.owner = hand_over(database)
        self.operator = operator
        self.application = application
        self._command = command

    def script(self, *arguments: str, spec: bool = True) -> Outcome:
        """What operator-sql prints, asked by the superuser."""
        config = ("--config", "tenantry.toml") if spec else ()
        return self._command("operator-sql", "--role", self.operator, *config, *arguments)

    def make_operator(self) -> None:
        printed = self.script()
        assert printed.status == 0, printed.stderr
        self.database.load(printed.stdout)

    def __call__(self, *arguments: str, status: int | None = 0) -> Outcome:
        """Run a command as the operator."""
        done = self._command(*arguments, dsn=make_conninfo(self.database.dsn, user=self.operator))
        assert status is None or done.status == status, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def execute(self, text: str) -> None:
        """With the names of those concerned in the text's braces."""
        names = {name: getattr(self, name) for name in ("owner", "operator", "application")}
        statement = sql.SQL(text).format(
            database=sql.Identifier(self.database.name), between=sql.Identifier(f"{self.operator} as {self.application}"),
            **{name: sql.Identifier(role) for name, role in names.items()},
        )  # fmt: skip
        self.database.execute(statement.as_string())


@pytest.fixture
def place(
    template: Callable[..., Database], role: Callable[..., str], command: Callable[[str], Command]
) -> Callable[..., Place]:
    """`place("estoque")` is that preset in the hands of a hostile owner."""

    def make(preset: str) -> Place:
        database = template(f"operator {preset}", _load(preset))
        application = role(create=False, name="app")
        made = command(database.dsn)
        text = spec_path(preset).read_text().replace("tenantry_app", application)
        (made.folder / "tenantry.toml").write_text(text)
        return Place(database, made, application, role(create=False, name='the "operator"'))

    return make


@pytest.mark.differs
def test_a_whole_cycle(place: Callable[..., Place]) -> None:
    """There, proved, and back, byte for byte; nothing that the owner laid out was run by a superuser."""
    there = place("estoque")
    there.make_operator()
    dump, rows = there.database.dump(), checksums(there.database)
    there("discover", "--output", "found.toml")
    there("plan")
    there("migrate", "--until", "contract")
    assert there("validate", status=None).stdout.count("Clean") == 1
    there("verify", status=None)
    there("status")
    assert there.database.rows(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    ) == [(there.owner,)]
    there("rollback", "--confirm")
    assert there.database.dump() == dump
    assert checksums(there.database) == rows
    assert there.database.rows(SEEN) == []


def test_every_other_command(place: Callable[..., Place]) -> None:
    """Fixes and what takes them back, backups and their restore, balances, tenants, and the end of the journal."""
    there = place("enterprise")
    there.make_operator()
    dump = there.database.dump()
    there("migrate")
    there("verify", "--fix-issues", status=None)
    fixed = there("fixes", "list", "--json").json
    there("fixes", "undo", fixed["runs"][0]["run"]) if fixed["runs"] else None
    there("backups", "create")
    there("backups", "verify")
    there("balances", "install")
    there("balances", "backfill")
    there("balances", "validate")
    there("balances", "reconcile")
    there("balances", "remove", "--confirm")
    there("tenants", "add", "another", "--name", "Another")
    there("housekeeping")
    there("rollback", "--confirm")
    there("housekeeping", "--purge")
    assert there.database.dump() == dump
    assert there.database.rows("SELECT FROM pg_namespace WHERE nspname = 'tenantry'") == []
    assert there.database.rows(SEEN) == []
