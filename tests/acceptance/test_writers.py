"""Eight writers of an old application through everything, up to isolate and back: it notices nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from acceptance import estoque_writers
from acceptance.writers import Application
from servers import Database
from tenantry.execution.runner import Event
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path
from tenantry.steps.row_security import RowSecurity
from tenantry.workflow import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.workflow.watcher import Nobody

pytestmark = pytest.mark.server

LOCK_TIMEOUT = 1.0
NOISE = 1.5
"""Seconds that a machine with two busy cores may add to a statement."""


class Policed(Nobody):
    """Tells the writers when COPY FROM is refused; says what was tried again."""

    def __init__(self) -> None:
        self.policed = threading.Event()
        self.said_things: list[str] = []

    def step(self, event: Event) -> None:
        if event.action == "applied" and event.milliseconds > 1500:
            print(f"{time.monotonic() - self.begun:.1f} {event.step.key} {event.milliseconds:.0f} ms tries {event.tries} rows {event.rows}")
        if isinstance(event.step, RowSecurity) and event.action == "started":
            if not self.policed.is_set():
                self.policed.set()
                time.sleep(0.5)  # what was about to be copied is

    def said(self, message: str, **facts: object) -> None:
        self.said_things.append(message)


def estoque(database: Database, owner: str, plain: str, rows: int, seed: int) -> None:
    with database.connect() as connection:
        connection.execute(f"GRANT ALL ON SCHEMA public TO {owner}")
        connection.execute(f"SET ROLE {owner}")
        load(connection, preset="estoque", rows=rows, seed=seed)
        connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {plain}")
        connection.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {plain}")


def estoque_spec(role: str, legacy: list[str]) -> Spec:
    spec = Spec.read(spec_path("estoque"))
    return spec.model_copy(
        update={"application": spec.application.model_copy(update={"role": role, "legacy_roles": tuple(legacy)})}
    )


def through(
    database: Database, application: Application, spec: Spec, until: Phase, watcher: Policed, wrong: str, target: Target
) -> None:
    """Migrate and roll back under load, and look at all that was promised."""
    dump = database.dump()
    with application:
        time.sleep(2)
        own = application.diary.turn()
        begun = time.monotonic()
        try:
            watcher.begun = time.monotonic()
            migrate(target, spec, MigrateOptions(until=until, lock_timeout=LOCK_TIMEOUT, lock_budget=120), watcher)
        finally:
            print("\n".join(map(str, application.diary.failures[:10])))
            print("\n".join(watcher.said_things[-30:]))
        there = time.monotonic()
        time.sleep(1)
        assert application.working == application.writers
    on_the_way = application.diary.turn()
    assert not application.diary.failures, "\n".join(map(str, application.diary.failures[:20]))
    report(application, own, on_the_way, there - begun, "migrate")
    rows = database.rows(wrong.replace("%(strict)s", "false"))
    assert not rows, rows[:20]


def report(application: Application, own: dict[str, float], seen: dict[str, float], seconds: float, what: str) -> None:
    """Print the longest wait, and hold every statement to its own time and lock_timeout."""
    waits = {label: took - own.get(label, 0.0) for label, took in seen.items()}
    worst = max(waits, key=waits.__getitem__)
    print(
        f"\nseed {application.seed}: {what} took {seconds:.1f} s under {sum(application.diary.counts.values())} statements;"
        f" the longest wait was {waits[worst]:.2f} s ({worst}); retries {dict(application.diary.retries)}"
    )
    too_long = {label: round(wait, 2) for label, wait in waits.items() if wait > LOCK_TIMEOUT + NOISE}
    assert not too_long, too_long


@pytest.mark.parametrize("until", [Phase.ENFORCE])
def test_estoque(until: Phase, database: Database, role: Callable[..., str]) -> None:
    owner, plain = role(name="owner"), role(name="plain")
    estoque(database, owner, plain, 10_000, 1)
    spec = estoque_spec(role(create=False, name="app"), [owner, plain] if until is Phase.ISOLATE else [])
    watcher = Policed()
    application = estoque_writers.application(database, [owner, plain], 1, watcher.policed)
    through(database, application, spec, until, watcher, estoque_writers.WRONG_TENANTS, Target(database.dsn))
