"""Rows of the journal that are older than their retention time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.model.name import JOURNAL_SCHEMA
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "housekeeping.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class OldRuns:
    """Old runs that nothing refers to, and the number of their events; `runs` and `steps` count all."""

    ids: tuple[str, ...]
    events: int
    runs: int
    steps: int


def old_runs(connection: psycopg.Connection[Any], days: int) -> OldRuns:
    """Runs that began more than `days` ago, except those to which steps, fixes, backups and reviews belong, and the
    last ones. The journal must exist."""
    kept = {id for (id,) in connection.execute(_QUERIES["newest"])}
    tables = [table for (table,) in connection.execute(_QUERIES["referring"])]
    for table in tables:
        query = sql.SQL("SELECT DISTINCT run FROM {}").format(sql.Identifier(JOURNAL_SCHEMA, table))
        kept |= {id for (id,) in connection.execute(query)}
    ids = tuple(id for (id,) in connection.execute(_QUERIES["old"], {"days": days, "kept": list(kept)}))
    events = connection.execute(_QUERIES["events"], {"runs": list(ids)}).fetchone()
    counts = connection.execute(_QUERIES["counts"]).fetchone()
    assert events is not None
    assert counts is not None
    return OldRuns(ids=ids, events=events[0], runs=counts[0], steps=counts[1])


def forget(connection: psycopg.Connection[Any], old: OldRuns) -> None:
    """Delete these runs and their events together."""
    with connection.transaction():
        connection.execute(_QUERIES["forget_events"], {"runs": list(old.ids)})
        connection.execute(_QUERIES["forget_runs"], {"runs": list(old.ids)})
