"""A hostile application role: nothing that it tries reaches a row of another tenant's, or a right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from daily import daily, nightly
from security.attempts import APPLICATION as ATTEMPTS
from security.attempts import RISING, Attempt
from security.market import (
    APPLICATION,
    MARK,
    OLD,
    SPEC,
    STRANGER,
    A,
    B,
    act,
    journal,
    migrated,
    of_others,
    rights,
    set_up_market,
)
from servers import Database
from tenantry import (
    BackupOptions,
    BalancesOptions,
    InspectionOptions,
    MigrateOptions,
    Observer,
    RestoreOptions,
    RollbackOptions,
    backfill_balances,
    create_backup,
    fix_issues,
    install_balances,
    list_fixes,
    migrate,
    reconcile_balances,
    remove_balances,
    restore,
    rollback,
    undo_fixes,
    validate,
)
from tenantry.checks.families import VERIFICATION
from tenantry.execution.events import (
    Event,
    FillAdvanced,
    FillFinished,
    FillStarted,
    FindingReported,
    Notice,
    Reading,
    StepEvent,
)
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.differs]


def statements(attempt: Attempt) -> str:
    """With the keys of both tenants in the place of their names."""
    return attempt.statements.replace("'A'", f"'{A}'").replace("'B'", f"'{B}'")


def tried(database: Database, attempts: Iterable[Attempt], user: str) -> list[str]:
    """Try them one after another; those whose session was told something of B's."""
    leaking = []
    for attempt in attempts:
        if attempt.since <= database.server.major:
            told = act(database, user, statements(attempt), tenant=A if attempt.tenanted else None)
            leaking += [f"{attempt.what}: {text}" for text in told.texts if MARK in text]
    return leaking


class Before:
    """What has to be the same afterwards."""

    def __init__(self, database: Database, *, isolated: bool) -> None:
        """Before isolation the application of before may change every row."""
        self.database, self.isolated = database, isolated
        self.rows = of_others(database, isolated=True) if isolated else {}
        self.rights, self.journal = rights(database), journal(database)

    def broken(self) -> list[str]:
        """What is not as it was."""
        now = of_others(self.database, isolated=True) if self.isolated else {}
        found = [
            f"rows of {table}: {sorted(set(now[table]) ^ set(rows))}"
            for table, rows in self.rows.items()
            if now[table] != rows
        ]
        changed = set(rights(self.database)) ^ set(self.rights)
        found += [f"rights: {sorted(changed)}"] if changed else []
        written = journal(self.database)
        return found + [f"{table} was written" for table, total in self.journal.items() if written.get(table) != total]


def one_by_one(database: Database, attempts: Iterable[Attempt], user: str, *, isolated: bool) -> list[str]:
    """Which of the attempts does it, and what: asked only where something was found."""
    named = []
    for attempt in attempts:
        before = Before(database, isolated=isolated)
        tried(database, [attempt], user)
        named += [f"{attempt.what}: {what}" for what in before.broken()]
    return named


@pytest.mark.parametrize("until", daily([Phase.ISOLATE, Phase.CONTRACT]), ids=str)
def test_nothing_is_reached(until: Phase, template: Callable[..., Database]) -> None:
    """Neither rows of others, nor rights, nor the journal; nor is anything of B's told."""
    build = migrated(until)
    database = template(f"market {until}", build)
    before = Before(database, isolated=True)
    assert tried(database, ATTEMPTS, APPLICATION) == []
    if before.broken():
        raise AssertionError(
            "\n".join(
                one_by_one(template(f"market {until}", build), ATTEMPTS, APPLICATION, isolated=True) or before.broken()
            )
        )


@pytest.mark.parametrize("until", daily([Phase.ENFORCE, Phase.ISOLATE, None, Phase.EXPAND, Phase.BACKFILL]), ids=str)
def test_the_application_of_before_rises_to_nothing(until: Phase | None, template: Callable[..., Database]) -> None:
    """It sees all rows until contract; it gets no right by what we add."""
    build = migrated(until)
    database = template(f"market {until}", build)
    before = Before(database, isolated=False)
    tried(database, RISING, OLD)
    if before.broken():
        raise AssertionError(
            "\n".join(one_by_one(template(f"market {until}", build), RISING, OLD, isolated=False) or before.broken())
        )


@pytest.mark.parametrize("until", daily([Phase.ISOLATE, Phase.CONTRACT]), ids=str)
def test_who_may_only_connect(until: Phase, template: Callable[..., Database]) -> None:
    """A role of nobody's reads nothing and gets nothing."""
    database = template(f"market {until}", migrated(until))
    before = Before(database, isolated=True)
    assert tried(database, ATTEMPTS, STRANGER) == []
    assert before.broken() == []


class Meanwhile:
    """At each event of a command some further attempts; what is left of them follows at its end."""

    def __init__(self, database: Database, attempts: Iterable[Attempt], user: str, each: int) -> None:
        self.database, self.user, self.each = database, user, each
        self.left = list(attempts)
        self.leaking: list[str] = []
        self.moments = 0

    def __call__(self, event: Event) -> None:
        if not isinstance(
            event, StepEvent | FillAdvanced | Reading | Notice | FillStarted | FillFinished | FindingReported
        ):
            return
        now, self.left = self.left[: self.each], self.left[self.each :]
        self.moments += bool(now)
        self.leaking += tried(self.database, now, self.user)


def spread(attempts: Iterable[Attempt]) -> list[Attempt]:
    """In an order in which each part of a command meets attempts of every kind."""
    return sorted(attempts, key=lambda attempt: hashlib.sha256(attempt.what.encode()).digest())


def lost(before: Mapping[str, list[str]], database: Database) -> list[str]:
    """What is not as it was of the rows that are B's."""
    now = of_others(database, isolated=False)
    return [f"{table}: {sorted(set(now[table]) ^ set(rows))}" for table, rows in before.items() if now[table] != rows]


def membership(database: Database) -> set[tuple[str, str]]:
    """The roles with what they may, and who is whose member."""
    return {
        (kind, name if kind == "role" else f"{name} {what}")
        for kind, name, what in rights(database)
        if kind in ("member", "role")
    }


def test_during_a_migration(template: Callable[..., Database]) -> None:
    """While columns are added, filled and enforced, the application of before tries to rise."""
    database = template("market as found", set_up_market)
    roles = membership(database)
    meanwhile = Meanwhile(database, spread(RISING), OLD, 2)
    result = migrate(
        Target(database.dsn), Spec.parse(SPEC), MigrateOptions(until=Phase.CONTRACT, force=True), meanwhile
    )
    assert meanwhile.left == []
    assert meanwhile.moments > 10
    assert result.exit_status == 0
    assert {(kind, name) for kind, name in membership(database) - roles if name != APPLICATION} == set()


Perform = Callable[[Target, Spec, Any, Observer], object]


def _fix(target: Target, spec: Spec, watcher: Observer | None = None) -> object:
    return fix_issues(target, spec, VERIFICATION, InspectionOptions(), observer=watcher, command="verify", next_step="")


def _wrong(database: Database) -> None:
    database.execute(f"UPDATE lines SET note = 'wrong' WHERE tenant_id = '{A}'")


def _fixed(database: Database) -> str:
    _wrong(database)
    _fix(Target(database.dsn), Spec.parse(SPEC))
    return list_fixes(Target(database.dsn))[0].run


def _backed_up(database: Database) -> str:
    made = create_backup(Target(database.dsn), Spec.parse(SPEC), BackupOptions())
    database.execute(f"UPDATE moves SET note = note || ', changed'; DELETE FROM lines WHERE tenant_id = '{A}'")
    database.execute("UPDATE moves SET note = replace(note, ', changed', '') WHERE note LIKE 'B-%'")
    return made.id


def _out_of_step(database: Database) -> None:
    remove_balances(Target(database.dsn), Spec.parse(SPEC), BalancesOptions())


def _install(target: Target, spec: Spec, _: object, watcher: Observer) -> None:
    install_balances(target, spec, BalancesOptions(), watcher)
    backfill_balances(target, spec, BalancesOptions(), watcher)


def _nothing(database: Database) -> None: ...


COMMANDS: Mapping[str, tuple[Callable[[Database], object], Perform, int]] = {
    "contract": (
        _nothing,
        lambda target, spec, _, watcher: migrate(target, spec, MigrateOptions(until=Phase.CONTRACT, force=True), watcher),
        12,
    ),
    "validate": (_nothing, lambda target, spec, _, watcher: validate(target, spec, InspectionOptions(), watcher), 12),
    "fixes": (_wrong, lambda target, spec, _, watcher: _fix(target, spec, watcher), 40),
    "fixes undo": (
        _fixed, lambda target, spec, run, watcher: undo_fixes(target, run, force=True, observer=watcher), 60,
    ),
    "backup": (
        _nothing,
        lambda target, spec, _, watcher: create_backup(target, spec, BackupOptions(), observer=watcher),
        12,
    ),
    "restore": (
        _backed_up,
        lambda target, spec, id, watcher: restore(target, id, RestoreOptions(force=True), watcher),
        12,
    ),
    "balances": (_out_of_step, _install, 20),
    "reconcile": (_nothing, lambda target, spec, _, watcher: reconcile_balances(target, spec, None, watcher), 120),
    "rollback": (_out_of_step, lambda target, spec, _, watcher: rollback(target, RollbackOptions(force=True), watcher), 4),
}  # fmt: skip
"""How each command is prepared and run, and how many attempts are made at each of its events."""


@pytest.mark.parametrize(
    "command", [name if name in ("contract", "fixes", "restore") else nightly(name) for name in COMMANDS]
)
def test_during_a_command(command: str, template: Callable[..., Database]) -> None:
    """Nor while one of our commands is half-way: all that it is told of B's is nothing, and B's rows stay."""
    database = template(f"market {Phase.ISOLATE}", migrated(Phase.ISOLATE))
    prepare, perform, each = COMMANDS[command]
    noted = prepare(database)
    before, roles = of_others(database, isolated=False), membership(database)
    meanwhile = Meanwhile(database, spread(ATTEMPTS), APPLICATION, each)
    perform(Target(database.dsn), Spec.parse(SPEC), noted, meanwhile)
    assert meanwhile.leaking == []
    assert meanwhile.moments > 0
    assert lost(before, database) == []
    assert membership(database) <= roles
