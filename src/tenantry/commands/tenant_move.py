"""tenants move: a tenant's rows go to another server while its application goes on."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tenantry.commands.running import Run, interruptible, run, second_database
from tenantry.commands.tenant_rows import refuse_staying
from tenantry.errors import Refused, UsageError
from tenantry.execution.events import Notice, Observer, Reading, ignore
from tenantry.execution.session import Session, open_session
from tenantry.execution.tenant_table import Tenant
from tenantry.execution.transaction import LockPolicy
from tenantry.model.name import Name
from tenantry.model.spec import Spec
from tenantry.model.tenant_move import Move
from tenantry.model.wording import counted
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal
from tenantry.postgres.moves import Moves
from tenantry.postgres.replication import (
    Connection,
    ReplicatedTable,
    conninfo_for,
    identity_before,
    is_session_of,
    place_of,
    read_capacity,
    read_table,
    set_identity,
)
from tenantry.tenants.move import SourceSide, TenantMove
from tenantry.tenants.move_checks import MoveChecks, refuse_unprepared
from tenantry.tenants.move_init import TargetInit
from tenantry.tenants.removal import TenantRemoval
from tenantry.tenants.scope import TenantScope

MAX_PAUSE = 2.0
"""Seconds for which a tenant's writes may be refused at a time, unless it is said otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOptions:
    """How a tenant is moved. `max_pause` is for how many seconds its writes may be refused at a time. `init`: a target
    that is empty is prepared first. `replicate_from` is how the target's server connects to the source's, if not as
    tenantry does. `location` is what the directory of tenants then says of where the tenant is; by default host, port
    and database. Lock times in seconds; by default the spec's."""

    max_pause: float = MAX_PAUSE
    init: bool = False
    replicate_from: str | None = None
    location: str | None = None
    lock_timeout: float | None = None
    lock_budget: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePreview:
    """What moving a tenant would copy, by table, parents first, to `location`. `problems` are the reasons for which it
    would be refused; `identities` are the tables whose replica identity would change until the end of the move; `whole`
    those that no unique key with the tenant has: written to while rows are compared, they are compared within a pause.
    `unfinished` is a move that would be continued."""

    tenant: Tenant
    location: str
    rows: Mapping[Name, int]
    problems: tuple[str, ...]
    identities: tuple[Name, ...]
    whole: tuple[Name, ...] = ()
    unfinished: Move | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantMoved:
    """The result of a move to `location`. `rows` were deleted at the source by this run. The tenant's writes were
    refused `pauses` times, for `pause` seconds until it was at the target, and for `longest_pause` seconds at most."""

    tenant: Tenant
    location: str
    rows: int
    pauses: int
    pause: float
    longest_pause: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveAborted:
    """The result of ending a move: the tenant is at the source, and `rows` that were copied to the target are deleted;
    None if the target is lost. At `left_at` a copy stays until the move is ended there as well; empty if nothing is
    known of one."""

    tenant: Tenant
    rows: int | None
    left_at: str = ""


def list_moves(target: Target) -> tuple[Move, ...]:
    """The moves of tenants from or to this database that are not complete, and where tenants that have left are."""
    with open_session(target, purpose="moves") as connection:
        return Moves(connection).all()


def preview_move(
    target: Target, spec: Spec, slug: str, to: Target, options: MoveOptions | None = None, *,
    observer: Observer | None = None,
) -> MovePreview:  # fmt: skip
    """What `move_tenant` would do, and what prevents it. Changes nothing. Raises UsageError if there is no such tenant,
    Refused if one of the databases cannot be part of a move."""
    options, observer = options or MoveOptions(), observer or ignore
    with open_session(target, purpose="move") as connection, open_session(to, purpose="move") as other:
        _refuse_same(connection, other)
        scopes = _scopes(target, connection, to, other, spec, "", observer)
        checks, found = _checks(scopes, slug, _policy(spec, options))
        begun = found if found is not None and found.state != "moved" else None
        problems = () if begun is not None else tuple(checks.problems())
        rows = {table.name: checks.source.count(table, table.belongs(checks.tenant.key)) for table in checks.tables}
        changed, whole = [], []
        for table in checks.tables:
            present = read_table(connection, table.name, table.column)
            if present is not None and set_identity(table.name, present) is not None:
                changed.append(table.name)
            if present is not None and not present.tenant_keys:
                whole.append(table.name)
        return MovePreview(
            tenant=checks.tenant, location=options.location or place_of(other), rows=rows, problems=problems,
            identities=tuple(changed), whole=tuple(whole), unfinished=begun,
        )  # fmt: skip


def move_tenant(
    target: Target, spec: Spec, slug: str, to: Target, options: MoveOptions | None = None, *,
    observer: Observer | None = None,
) -> TenantMoved:  # fmt: skip
    """Move a tenant's rows to the database `to`, on another server, while its application goes on; if a run has stopped
    part-way, the same call continues it.

    Raises UsageError if there is no such tenant; Refused, with a list, if something prevents the move, before anything
    is changed; Interrupted after a stop; Failed if replication fails, the rows differ, or no pause was long enough.
    """
    options = options or MoveOptions()
    with (
        run(target, "tenants move", purpose="move", observer=observer) as current,
        second_database(current, to, purpose="move", refuse=partial(_refuse_same, current.connection)) as there,
    ):
        other = there.connection
        if options.init:
            _init(target, current, to, other, spec)
        scopes = _scopes(target, current.connection, to, other, spec, current.id, current.observer)
        policy = _policy(spec, options)
        checks, found = _checks(scopes, slug, policy)
        server = read_capacity(other).server
        # Of a run that died right before its end, the target still has the record.
        if (
            found is not None
            and found.state == "moved"
            and not (Moves(other).installed and Moves(other).find(found.id))
        ):
            raise Refused(
                f"The tenant {slug!r} is no longer here: it was moved to {found.location}",
                remedy="Connect to the database in which it is.",
            )
        if found is not None and found.server != server:
            raise Refused(
                f"A move of {slug!r} has begun, to {found.location}, and is not complete",
                remedy="Name that database by --to, or end that move by --abort.",
            )
        if found is None:
            _refuse_problems(slug, tuple(checks.problems()))
        current.begin(options=f"{slug} to {place_of(other)}")
        there.begin(options=f"{slug} from {place_of(current.connection)}")
        move = found or _begin(checks, options, server)
        if found is not None:
            told = f"This run goes on where the run {found.run} stopped: the move is {found.state}"
            current.observer(Notice(told, {"move": found.id, "state": found.state}))
        _require_record(checks, move, server)
        moving = TenantMove(
            checks=checks, move=move, policy=policy, max_pause=options.max_pause, stop=checks.removal.stop,
            conninfo=conninfo_for(current.connection, target, options.replicate_from),
        )  # fmt: skip
        with interruptible(moving.interrupt):
            if move.state == "begun":
                moving.copy()
                moving.switch()
                current.observer(Notice(f"{slug} is at {move.location}", {"move": move.id, "location": move.location}))
            moving.finish()
        noted = Moves(current.connection).find(move.id)
        longest = moving.result.longest_pause if noted is None else noted.longest_pause / 1000
        outcome = f"{slug} moved to {move.location}: {counted(moving.result.rows, 'row')}"
        there.finish(outcome)
        current.finish(outcome, "Nothing: its writes are refused at the source.")
    return TenantMoved(
        tenant=checks.tenant, location=move.location, rows=moving.result.rows, pauses=moving.result.pauses,
        pause=moving.result.pause, longest_pause=longest,
    )  # fmt: skip


def abort_move(
    target: Target, spec: Spec, slug: str, to: Target, options: MoveOptions | None = None, *,
    observer: Observer | None = None,
) -> MoveAborted:  # fmt: skip
    """End a move that is not complete: the tenant stays at the source, and what was copied is deleted at the target,
    also if the move was abandoned and the target is there again.

    Raises UsageError if no move of the tenant has begun, and Refused if it is at the target already.
    """
    options = options or MoveOptions()
    with (
        run(target, "tenants move --abort", purpose="move", observer=observer) as current,
        second_database(current, to, purpose="move", refuse=partial(_refuse_same, current.connection)) as there,
    ):
        other = there.connection
        server = read_capacity(other).server
        found = _begun(current.connection, slug, server)
        if found.server != server:
            raise Refused(
                f"The move of {slug!r} has begun to another database, {found.location}",
                remedy="Name that database by --to.",
            )
        scopes = _scopes(target, current.connection, to, other, spec, current.id, current.observer)
        checks, _ = _checks(scopes, slug, _policy(spec, options), ended=found)
        arrived = Moves(other).find(found.id)
        _refuse_forgotten(found, arrived)
        current.begin(options=slug)
        there.begin(options=slug)
        copied = arrived is not None
        moving = TenantMove(
            checks=checks, move=found, policy=checks.removal.policy, conninfo="", max_pause=options.max_pause,
            stop=checks.removal.stop,
        )  # fmt: skip
        with interruptible(moving.interrupt):
            removal = replace(checks.removal, scope=scopes[1]) if copied else None
            rows = moving.abort(removal)
        outcome = f"the move of {slug} is ended: it stays here"
        there.finish(outcome)
        current.finish(outcome, reported_outcome=f"{outcome}; {counted(rows, 'copied row')} deleted at the target")
    return MoveAborted(tenant=checks.tenant, rows=rows)


def abandon_move(
    target: Target, spec: Spec, slug: str, options: MoveOptions | None = None, *, observer: Observer | None = None
) -> MoveAborted:
    """End a move whose target is lost: the source is as it was before. What was copied to the target stays there until
    abort_move, if it comes back; a second call forgets it.

    Raises as abort_move does.
    """
    options = options or MoveOptions()
    with run(target, "tenants move --abort", purpose="move", observer=observer) as current:
        found = _begun(current.connection, slug)
        session = Session.begin(target, current.connection, spec, distribute=True)
        source = TenantScope.of(session, run=current.id, observer=current.observer)
        side = SourceSide(scope=source, move=found, policy=_policy(spec, options), stop=threading.Event())
        current.begin(options=slug)
        again = found.state == "abandoned"
        with interruptible(side.stop.set):
            if again:
                Moves(current.connection).forget(found)
            else:
                side.abandon()
        rest = "forgotten" if again else "left as it is"
        current.finish(f"the move of {slug} is ended: it stays here; the target, {found.location}, is {rest}")
    tenant = Tenant(slug=found.slug, key=found.tenant)
    return MoveAborted(tenant=tenant, rows=None, left_at="" if again else found.location)


def _begun(connection: Connection, slug: str, server: str = "") -> Move:
    """The move that has begun and can still be undone, to that `server` if there are several. Raises UsageError if
    there is none, Refused if the tenant is at the target already."""
    found = Moves(connection).from_here(slug, server=server)
    if found is None:
        raise UsageError(f"no move of the tenant {slug!r} has begun here", remedy="`tenantry status` shows moves.")
    if found.state not in ("begun", "abandoned"):
        raise Refused(
            f"The tenant {slug!r} is at {found.location} already: the move cannot be undone there",
            remedy="Run the move again to complete it; then move the tenant back, from there to here.",
        )
    return found


def _init(target: Target, current: Run, to: Target, other: Connection, spec: Spec) -> None:
    """Prepare an empty target. Raises Refused if the source is not prepared itself, or the target is not empty."""
    session = Session.begin(target, current.connection, spec, distribute=True)
    source = TenantScope.of(session, run=current.id, observer=current.observer)
    refuse_unprepared("source", source)
    if TargetInit(source=source, to=to, connection=other).run():
        current.observer(Notice("The target has the schema, the shared rows and the journal of the source"))


def _refuse_same(connection: Connection, other: Connection) -> None:
    if is_session_of(other, connection):
        raise Refused("The source and the target are the same database", remedy="Name another database by --to.")


def _scopes(
    target: Target, connection: Connection, to: Target, other: Connection, spec: Spec, run: str, observer: Observer
) -> tuple[TenantScope, TenantScope]:
    """Both sides. Raises Refused if one is not prepared for a move."""
    found = []
    if not Journal(other).installed:
        raise Refused(
            "The target is not prepared for a move: tenantry has no journal there",
            remedy="If that database is empty, run the move with --init. Otherwise run `tenantry migrate --until"
            " distribute --prepare` there, with the same spec.",
        )
    for side, place, session in (("source", target, connection), ("target", to, other)):
        observer(Reading(f"the schema of the {side}"))
        started = Session.begin(place, session, spec, distribute=True)
        found.append(TenantScope.of(started, run=run, observer=observer))
    return found[0], found[1]


def _checks(
    scopes: tuple[TenantScope, TenantScope], slug: str, policy: LockPolicy, *, ended: Move | None = None
) -> tuple[MoveChecks, Move | None]:
    """The checks of a move, and its record at the source if it has begun: that of the move to be `ended`, if there is
    one."""
    source, target = scopes
    here = source.find(slug)
    found = ended or Moves(source.connection).from_here(slug, None if here is None else here.key)
    if found is not None and found.state == "moved" and here is not None:
        # It has come back, or another tenant has its slug.
        found = None
    if found is not None and found.state == "abandoned" and ended is None:
        found = None
    # Its own row may have been deleted at the source.
    tenant = Tenant(slug=slug, key=found.tenant) if found is not None else here or source.tenant(slug)
    refuse_staying(source, tenant, "moved")
    removal = TenantRemoval(scope=source, tenant=tenant, policy=policy, stop=threading.Event())
    checks = MoveChecks(source=source, target=target, tenant=tenant, removal=removal)
    checks.refuse_unprepared()
    return checks, found


def _policy(spec: Spec, options: MoveOptions) -> LockPolicy:
    return LockPolicy(
        timeout=options.lock_timeout or spec.locks.timeout, budget=options.lock_budget or spec.locks.budget
    )


def _refuse_problems(slug: str, problems: tuple[str, ...]) -> None:
    if problems:
        raise Refused(
            f"The tenant {slug!r} cannot be moved: {problems[0]}",
            remedy="Correct what is named, then run the same command again. Nothing was changed.",
            details=problems[1:],
        )


def _begin(checks: MoveChecks, options: MoveOptions, server: str) -> Move:
    """Record the beginning of the move at the source, with the replica identities that are going to change."""
    source, tenant = checks.source, checks.tenant
    moves = Moves(source.connection)
    moves.install()
    identities = _identities(source, list(_changed(source)))
    return moves.begin(
        id=secrets.token_hex(6), side="source", run=source.run, tenant=tenant.key, slug=tenant.slug,
        location=options.location or place_of(checks.target.connection), server=server, identities=identities,
    )  # fmt: skip


def _refuse_forgotten(move: Move, arrived: Move | None) -> None:
    """Raises Refused if the source does not know any more that the tenant is at the target, whose rows may be newer."""
    if arrived is not None and arrived.state == "switched":
        raise Refused(
            f"The target has recorded that {move.slug!r} is there, and the source has not: the source was restored, or"
            " a standby took over that did not have the switch",
            remedy="Find out where the tenant's application has written since. If that is the target, set the state of"
            f" the move {move.id} in tenantry.moves at the source to 'switched'; if it is the source, set it at the"
            " target to 'begun'. Then run the same command again.",
        )


def _changed(scope: TenantScope) -> Iterator[ReplicatedTable]:
    """The tables whose replica identity changes until the end of a move."""
    for table in scope.selection.tables.values():
        found = read_table(scope.connection, table.name, table.column)
        if found is not None and set_identity(table.name, found) is not None:
            yield found


def _identities(scope: TenantScope, changed: Sequence[ReplicatedTable]) -> dict[str, Any]:
    """The earlier replica identities of tables, by their OIDs as text, those included that other moves have changed:
    the last one to end restores them."""
    found = {str(one.oid): identity_before(scope.connection, one) for one in changed}
    for move in Moves(scope.connection).unfinished():
        found.update(move.identities)
    return found


def _require_record(checks: MoveChecks, move: Move, server: str) -> None:
    """Record the move at the target, too: after the source, so that only a target that had no row of the tenant has a
    record, and rows are deleted there only with one."""
    moves = Moves(checks.target.connection)
    moves.install()
    if move.state != "begun":
        return
    if (arrived := moves.find(move.id)) is not None:
        _refuse_forgotten(move, arrived)
        return
    _refuse_problems(move.slug, tuple(checks.tenant_there()))
    # A table without a key that can be the replica identity is published with whole rows: nothing is needed here.
    identities = _identities(checks.target, [found for found in _changed(checks.target) if found.tenant_keys])
    moves.begin(
        id=move.id, side="target", run=move.run, tenant=move.tenant, slug=move.slug,
        location=place_of(checks.source.connection), server=server, identities=identities,
    )  # fmt: skip
