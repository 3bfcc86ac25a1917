"""Disables the user's triggers and rules while rows are restored, and puts each back into its earlier mode
afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg import sql

from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.postgres.backups import Fires

ENABLE = {"O": sql.SQL("ENABLE"), "R": sql.SQL("ENABLE REPLICA"), "A": sql.SQL("ENABLE ALWAYS")}
"""The letters of pg_trigger.tgenabled and pg_rewrite.ev_enabled, as ALTER TABLE writes them."""


def disable_triggers(firing: Iterable[Fires]) -> Iterator[Statement]:
    """The statements that disable them, each on its own relation."""
    for fires in firing:
        yield _statement(fires, sql.SQL("DISABLE"))


def enable_triggers(firing: Iterable[Fires]) -> Iterator[Statement]:
    """The statements that put each back into its earlier mode."""
    for fires in firing:
        yield _statement(fires, ENABLE[fires.state])


def _statement(fires: Fires, state: sql.SQL) -> Statement:
    # Changing a rule takes a lock that conflicts with readers, too.
    mode = LockMode.ACCESS_EXCLUSIVE if fires.rule else LockMode.SHARE_ROW_EXCLUSIVE
    return Statement(
        sql=sql.SQL("ALTER TABLE ONLY {} {} {} {}").format(
            fires.relation.identifier, state, sql.SQL("RULE" if fires.rule else "TRIGGER"), sql.Identifier(fires.name)
        ),
        locks=(Lock(fires.relation, mode),),
    )
