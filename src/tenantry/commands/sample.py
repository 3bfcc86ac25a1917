"""sample: a preset's tables with sample rows, in an empty database."""

from __future__ import annotations

from collections.abc import Collection

from tenantry.execution.session import Session, open_session
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import LoadedSample, load

ROWS = 20_000


def sample(
    target: Target,
    preset: str,
    *,
    rows: int = ROWS,
    seed: int = 1,
    faults: Collection[str] = (),
    spec: Spec | None = None,
) -> LoadedSample:
    """Load a preset into the schema public; `rows` is the number of rows of its largest table, with which all tables
    grow.

    Raises UsageError for an unknown preset or fault, and if `spec` does not fit the preset; Refused if one of its
    names is taken. Nothing is loaded then.
    """
    with open_session(target, purpose="sample") as connection:
        # Presets are written as an application's schema is: without naming the schema.
        connection.execute("SET search_path = public")
        with connection.transaction():
            loaded = load(connection, preset=preset, rows=rows, seed=seed, faults=faults)
            if spec is not None:
                Session.begin(target, connection, spec)
        return loaded
