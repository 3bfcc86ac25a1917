"""A migration and its rollback while an application writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from acceptance import network_writers
from acceptance.writers import Application, Gate
from latency import unblocked_session
from servers import Database, wait_until
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.execution.events import Event, StepEvent
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path
from tenantry.steps.row_security import RowSecurity

LOCK_TIMEOUT = 1.0


NOISE = 1.5
"""Seconds that a machine with two busy cores may add to a statement."""


class Policed:
    """Tells the writers when COPY FROM is refused (hazard 10)."""

    def __init__(self) -> None:
        self.copying = Gate()

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent():
                if isinstance(event.step, RowSecurity) and event.action == "started":
                    self.copying.shut()


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


def through(application: Application, spec: Spec, until: Phase, watcher: Policed, wrong: str, target: Target) -> None:
    """Migrate and roll back under load, and look at what was promised. `wrong` finds rows in a wrong tenant."""
    database = application.database
    dump = database.dump()
    with application:
        # Until every kind of statement has been seen, or nearly.
        wait_until(lambda: application.diary.counts.total() > 1000, seconds=120)
        own = application.diary.turn()
        options = MigrateOptions(until=until, lock_timeout=LOCK_TIMEOUT, lock_budget=120)
        with reported(application, own, "migrate"):
            migrate(target, spec, options, watcher)
        time.sleep(0.5)
        rows = database.rows(wrong, {"strict": False})
        assert not rows, rows[:20]
        with reported(application, own, "rollback"):
            rollback(target, RollbackOptions(lock_timeout=LOCK_TIMEOUT, lock_budget=120), watcher)
        time.sleep(0.5)
        assert application.working == application.writers
    assert not application.diary.failures, "\n".join(map(str, application.diary.failures[:20]))
    assert database.dump() == dump
    differences = application.book.differences(database)
    assert not differences, "\n".join(differences[:20])


@contextmanager
def reported(application: Application, own: dict[str, float], what: str) -> Iterator[None]:
    """Print the longest wait, and hold every statement to its own time and lock_timeout."""
    begun = time.monotonic()
    application.diary.turn()
    try:
        with unblocked_session(application.database) as noise:
            yield
    finally:
        failures = application.diary.failures
        assert not failures, f"{what}, seed {application.seed}:\n" + "\n".join(map(str, failures[:20]))
    seen = application.diary.turn()
    waits = {label: took - own.get(label, max(own.values())) for label, took in seen.items()}
    worst = max(waits, key=waits.__getitem__)
    print(
        f"\nseed {application.seed}: {what} took {time.monotonic() - begun:.1f} s under"
        f" {application.diary.counts.total()} statements; the longest wait was {waits[worst]:.2f} s ({worst}), and"
        f" {noise.seconds:.2f} s where nobody is in the way;"
        f" retries {dict(application.diary.retries)}"
    )
    too_long = {label: round(wait, 2) for label, wait in waits.items() if wait > LOCK_TIMEOUT + NOISE + noise.seconds}
    assert not too_long, f"seed {application.seed}: {too_long}"


def network(database: Database, owner: str, plain: str, rows: int) -> None:
    with database.connect() as connection:
        connection.execute(
            f"GRANT ALL ON SCHEMA public TO {owner}; GRANT CREATE ON DATABASE {database.name} TO {owner}"
        )
        connection.execute(f"SET ROLE {owner}")
        connection.execute(network_writers.SCHEMA.format(rows=rows))
        connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {plain}")
        connection.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {plain}")
