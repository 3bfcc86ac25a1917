"""Shows blocking sessions, and terminates one."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import typer
from rich.text import Text

from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.terminate import end_blocker
from tenantry.errors import ExitStatus, Refused
from tenantry.model.run import Stuck
from tenantry.model.wording import duration
from tenantry.postgres.stuck import BlockingSession


def stuck_lines(found: Iterable[Stuck]) -> Iterator[Text]:
    """Two lines for each: the session and what it does, then how to end it."""
    for one in found:
        who = f"pid {one.pid} ({', '.join(filter(None, (one.user, one.application)))})" if one.pid else one.state
        parts = [one.state] if one.pid and one.state else []
        if one.age is not None:
            parts.append(f"transaction open for {duration(one.age)}")
        if one.waits_for:
            parts.append(f"waits for {_pids(one.waits_for)}")
        if one.blocks:
            parts.append(f"blocks {_pids(one.blocks)}")
        if one.build is not None:
            share = f", {100 * one.build.done / one.build.total:.0f} %" if one.build.total else ""
            parts.append(f"builds an index on {one.build.table}: {one.build.phase}{share}")
        yield Text.assemble(
            ("stuck  ", "red" if one.blocks_run else "yellow"), who, ": ", ", ".join(parts),
            (f"  {' '.join(one.query.split())}", "dim"),
        )  # fmt: skip
        if one.run:
            yield Text(
                "       a run of tenantry: Ctrl-C or SIGTERM stops it after the current batch or step", style="dim"
            )
            continue
        also = f"  or: tenantry status --terminate {one.pid}" if one.blocks_run and one.pid else ""
        yield Text(f"       to terminate it: {one.ending};{also}", style="dim")


def _pids(pids: Iterable[int]) -> str:
    return ", ".join(f"pid {pid}" if pid else "a prepared transaction" for pid in pids)


def terminate(terminal: Terminal, pid: int, *, force: bool) -> ExitStatus:
    """Terminate a session that a run waits for; asks first, unless `force`."""

    def agreed(party: BlockingSession) -> bool:
        if force:
            return True
        if not sys.stdin.isatty() or terminal.settings.json:
            raise Refused(f"Terminating the session {pid} of {party.user} needs a confirmation", remedy="Add --force.")
        query = terminal.masked(" ".join(party.query.split()))
        return typer.confirm(
            f"Terminate the session {pid} of {party.user} ({party.application}), {party.state}: {query}?"
        )

    with target(terminal) as database:
        done = end_blocker(database, pid, agreed=agreed)
    terminal.answer(pid=pid, user=done.party.user, application=done.party.application, ended=done.ended)
    terminal.show(
        f"The session {pid} of {done.party.user} " + ("was terminated." if done.ended else "had ended already.")
    )
    return ExitStatus.DONE
