"""status --terminate: terminates a session, but only one that a run of tenantry waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tenantry.errors import Refused, UsageError
from tenantry.execution.session import open_session
from tenantry.postgres.connect import Target
from tenantry.postgres.stuck import BlockingSession, blocking_pids, parties, terminate

LOOKING = 20.0
"""Seconds for which a run is watched: between two tries for a lock it waits for no session."""
BETWEEN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """A session that was terminated, or had ended before (`ended` is False)."""

    party: BlockingSession
    ended: bool


def end_blocker(
    target: Target, pid: int, *, agreed: Callable[[BlockingSession], bool], patience: float = LOOKING
) -> Termination:
    """Terminate the session `pid` once a run of tenantry is seen to wait for it, and `agreed` returns true.

    Raises UsageError if the session does not exist, Refused if no run waits for it within `patience` seconds, it
    is a run itself, or the answer is no; ConnectionFailed without the privilege to terminate it.
    """
    with open_session(target, purpose="status") as connection:
        deadline = time.monotonic() + patience
        while True:
            known = parties(connection)
            party = known.get(pid)
            if party is None:
                raise UsageError(
                    f"The session {pid} does not exist in this database",
                    remedy="`tenantry status` lists the sessions that block a run.",
                )
            if party.run:
                raise Refused(f"{pid} is a run of tenantry", remedy="Interrupt it with Ctrl-C or SIGTERM.")
            if pid in blocking_pids(known):
                break
            going_on = any(one.run for one in known.values())
            if not going_on or time.monotonic() >= deadline:
                why = "no run waits for it" if going_on else "no run is active"
                raise Refused(
                    f"The session {pid} of {party.user} does not block any tenantry run: {why}",
                    remedy=f"Only what blocks a run is ended here; SELECT pg_terminate_backend({pid}) ends any.",
                )
            time.sleep(BETWEEN)
        if not agreed(party):
            raise Refused("The session was not terminated", remedy="Answer yes, or add --force.")
        return Termination(party=party, ended=terminate(connection, party))
