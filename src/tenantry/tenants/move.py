"""Moving a tenant's rows to another server, live, by logical replication with row filters.

Every step finds out from the catalog and from the journal of both sides what is there already, so a move whose process
or server died is continued by running it again, or undone. The source decides where the tenant is: until its record
says `switched` the tenant is at the source and everything can be undone; from then on it is at the target.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from tenantry.backups.restore import advance
from tenantry.errors import CONTINUES, END_HOLDERS, Failed, Interrupted, Refused
from tenantry.execution.events import LocksRefused, Notice, Reading
from tenantry.execution.tenant_table import Tenant
from tenantry.execution.transaction import LockPolicy, run_in_transaction
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.model.tenant_move import Move
from tenantry.model.wording import duration
from tenantry.planning.tenant_selection import SelectedTable
from tenantry.postgres.backups import read_sequences
from tenantry.postgres.cancellation import Cancellation
from tenantry.postgres.connect import connect
from tenantry.postgres.dsn import secrets, without_secrets
from tenantry.postgres.locks import blockers
from tenantry.postgres.moves import Moves
from tenantry.postgres.removals import Removals
from tenantry.postgres.replication import (
    Connection,
    Slot,
    create_publication,
    create_slot,
    create_subscription,
    drop_publication,
    drop_slot,
    drop_subscription,
    has_publication,
    identity_restored,
    limited,
    position,
    reached,
    read_slot,
    read_subscription,
    read_table,
    set_identity,
    sync_slots,
)
from tenantry.postgres.stuck import parties
from tenantry.tenants.gate import PASS, Gate
from tenantry.tenants.move_checks import MoveChecks
from tenantry.tenants.move_comparison import Comparison, Unlocked
from tenantry.tenants.removal import TenantRemoval
from tenantry.tenants.scope import TenantScope

LOOK_SECONDS = 0.2
"""The time between two looks at the progress of replication."""
POLL_SECONDS = 0.01
"""The same within a pause."""
LEAST_LAG = 0.1
"""Seconds by which a target may always lag behind before a pause."""
TELL_SECONDS = 5.0
"""The time between two messages about it."""
FAILURES = 3
"""How often workers of the subscription may fail before the move stops: a lost connection is no reason."""
BETWEEN_PAUSES = 2.0, 30.0
"""Seconds until the next pause after one that was too long: at first, and at most."""
SHOWN = 3
"""The number of sessions that a message names."""
SLOT_SECONDS = 30.0
"""How long it is waited for the sender of a slot to end."""


class _TooLong(Exception):
    """A pause came to its limit; `reason` says in what."""


@dataclass(slots=True, kw_only=True)
class MoveResult:
    """What a move has done. `rows` are the tenant's rows that moved; `pauses` is the number of times that the tenant's
    writes were refused, `pause` the last and `longest_pause` the longest such time, in seconds."""

    rows: int = 0
    pauses: int = 0
    pause: float = 0.0
    longest_pause: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MoveSide:
    """What a move changes at both of its sides, of which `move` is the record at this one."""

    scope: TenantScope
    move: Move
    policy: LockPolicy
    stop: threading.Event

    @property
    def connection(self) -> Connection:
        return self.scope.connection

    @property
    def gate(self) -> Gate:
        return Gate(move=self.move)

    def install_gate(self) -> None:
        tables = tuple(self.scope.selection.tables.values())
        if self.gate.complete(self.connection, tables):
            return
        with self.connection.transaction():
            for statement in self.gate.create():
                self.connection.execute(sql.Composed([statement]))
        for table in tables:
            found = read_table(self.connection, table.name, table.column)
            self.change(table.name, self.gate.triggers(table, () if found is None else found.key))

    def drop_gate(self) -> None:
        for name in self.gate.tables(self.connection):
            self.change(name, self.gate.drop_triggers(name))
        self.gate.drop(self.connection)

    def set_identities(self, tables: Sequence[SelectedTable]) -> None:
        """Give those tables another replica identity of which the record has the earlier one."""
        for table in tables:
            found = read_table(self.connection, table.name, table.column)
            assert found is not None, table.name
            statement = set_identity(table.name, found)
            if statement is not None and str(found.oid) in self.move.identities:
                self.change(table.name, [Statement(sql=statement, locks=_alone(table.name))])

    def restore_identities(self) -> None:
        """Those that no other move needs, which has the same earlier one in its record."""
        others = {
            oid for move in Moves(self.connection).unfinished() if move.id != self.move.id for oid in move.identities
        }
        for oid, before in self.move.identities.items():
            if oid in others:
                continue
            found = identity_restored(self.connection, int(oid), before)
            if found is not None:
                name, statement = found
                self.change(name, [Statement(sql=statement, locks=_alone(name))])

    def change(self, name: Name, statements: Sequence[Statement]) -> None:
        """Run statements on a table, in one transaction."""
        self.scope.observer(Reading(str(name)))
        self.run(statements)

    def run(self, statements: Sequence[Statement]) -> None:
        self.refuse_stopped()
        run_in_transaction(
            self.connection, list(statements), patience=self.policy,
            retrying=lambda reason, held, pause: self.scope.observer(LocksRefused(reason, held, pause)),
        )  # fmt: skip

    def refuse_stopped(self) -> None:
        """Raises Interrupted after a stop."""
        if self.stop.is_set():
            raise Interrupted(
                f"Stopped; the move of {self.move.slug} is not complete",
                remedy="Run the same command again: it goes on where it stopped. Or undo the move by --abort.",
            )


@dataclass(frozen=True, kw_only=True)
class SourceSide(MoveSide):
    """What a move makes and removes at its source alone."""

    def drop_slots(self, names: Sequence[str]) -> None:
        """Drop replication slots, whose senders are ended. Raises Failed if one stays in use."""
        for slot in names:
            begun = time.monotonic()
            while not drop_slot(self.connection, slot):
                if time.monotonic() - begun > SLOT_SECONDS:
                    raise Failed(f"The replication slot {slot} at the source is still in use", remedy=CONTINUES)
                time.sleep(LOOK_SECONDS)

    def abandon(self) -> None:
        """Undo a move at the source alone, since its target is lost: with the slots by which that has copied tables.
        The record stays, so that the target's side can be undone as well if it comes back."""
        name, connection = self.move.object_name, self.connection
        self.drop_slots([name, *sync_slots(connection, system=self.move.server.partition("/")[0])])
        drop_publication(connection, name)
        self.restore()
        Moves(connection).abandon(self.move)

    def restore(self) -> None:
        """Undo the rest, after the publication."""
        self.restore_identities()
        self.drop_gate()


@dataclass(kw_only=True)
class TenantMove:
    """A move between two scopes whose connections are in autocommit mode. `conninfo` is how the target connects to the
    source. `max_pause` in seconds."""

    checks: MoveChecks
    move: Move
    policy: LockPolicy
    conninfo: str
    max_pause: float
    stop: threading.Event = field(default_factory=threading.Event)
    result: MoveResult = field(default_factory=MoveResult)
    _waiting: Cancellation = field(init=False)

    def __post_init__(self) -> None:
        self._waiting = Cancellation(self.source.connection)

    def interrupt(self) -> None:
        """Stop at the next place from which the move can go on."""
        self.stop.set()
        self._waiting.request()

    @property
    def source(self) -> TenantScope:
        return self.checks.source

    @property
    def target(self) -> TenantScope:
        return self.checks.target

    @property
    def tenant(self) -> Tenant:
        return self.checks.tenant

    @property
    def side(self) -> SourceSide:
        return SourceSide(scope=self.source, move=self.move, policy=self.policy, stop=self.stop)

    @property
    def gate(self) -> Gate:
        return self.side.gate

    def _target_side(self) -> Iterator[MoveSide]:
        """The target's side, if the target has a record of the move."""
        found = Moves(self.target.connection).find(self.move.id)
        if found is not None:
            yield MoveSide(scope=self.target, move=found, policy=self.policy, stop=self.stop)

    # --- until the switch

    def copy(self) -> None:
        """Publish the tenant's rows and copy them to the target, which then follows. Raises Interrupted after a stop,
        Failed if replication fails."""
        connection, name = self.source.connection, self.move.object_name
        self.side.install_gate()
        # A server that has crashed between closing the gate for good and recording the switch.
        connection.execute(self.gate.reopen())
        for there in self._target_side():
            there.install_gate()
            there.connection.execute(there.gate.record())
        if not has_publication(connection, name):
            # Before the publication, for otherwise UPDATE would fail, of every tenant.
            self.side.set_identities(self.checks.tables)
            self._publish()
        self._require_slot()
        if read_subscription(self.target.connection, name) is None:
            # A subscriber, too, finds the rows of a table without a primary key by its replica identity.
            for there in self._target_side():
                there.set_identities(tuple(self.target.selection.tables.values()))
            self._say("the copy begins")
            self._subscribe()
        self._wait("copied", self._copied)

    def switch(self) -> None:
        """Compare the tenant's rows on both sides while its writes go on, then pause them until the target has the last
        ones, and record that the tenant is there now. A pause that would exceed its limit ends before; the next one
        follows later. Raises Failed if the rows differ."""
        self._say("all rows are at the target, and are compared next")
        self._wait("caught up", self._caught_up)
        self._refuse_unlike()
        with self._comparison() as comparison:
            self._approach(comparison)

    @contextmanager
    def _comparison(self) -> Iterator[Comparison]:
        """With its sessions; each table is locked ACCESS SHARE for as long as its rows are compared."""
        with ExitStack() as stack:
            here, there = (
                stack.enter_context(closing(connect(scope.session.target, purpose=f"{self.source.run} comparison")))
                for scope in (self.source, self.target)
            )
            comparison = Comparison(
                checks=self.checks, gate=self.gate, here=here, there=there, lock_timeout=self.policy.timeout,
                look=self._look,
            )  # fmt: skip
            comparison.forget()
            yield comparison

    def _approach(self, comparison: Comparison) -> None:
        """Pauses and comparisons, until so little is left to compare that it fits into a pause, which is the last."""
        between, budget = BETWEEN_PAUSES[0], self.policy.budget
        deadline, before = time.monotonic() + budget, float("inf")
        while True:
            self._wait("caught up", self._caught_up)
            if comparison.floor is not None:
                # It may have taken long.
                self._refuse(list(self.checks.shared()))
            try:
                if self._try(comparison):
                    return
                self._say(f"the rows were the same; comparing them took {duration(comparison.took)}")
                problem = f"comparing what was written meanwhile takes {duration(comparison.took)} each time"
                if comparison.took < before / 2:
                    # It gets less with each round.
                    before, deadline = comparison.took, time.monotonic() + budget
                paused = 0.0
            except (_TooLong, Unlocked) as reason:
                problem, paused = str(reason), between
                self._say(f"writes go on after {self.result.pause:.2f} s: {problem}; the next pause follows")
                between = min(between * 2, BETWEEN_PAUSES[1])
            if time.monotonic() + paused >= deadline:
                raise Failed(
                    f"No pause of {duration(self.max_pause)} was long enough, in {self.result.pauses} tries: {problem}",
                    remedy="Run the same command again, with a longer --max-pause; or end the move by --abort.",
                )
            self._sleep(paused)

    def _try(self, comparison: Comparison) -> bool:
        """One pause, and the comparison after it. Returns whether it was the last one: the tenant is at the target.
        Raises _TooLong or Unlocked."""
        with comparison.reading():
            last, begins = comparison.left() <= self.max_pause / 2, comparison.floor is None
            if not last and not begins:
                comparison.refuse_whole(self.max_pause / 2)
            self._say(f"writes of {self.tenant.slug} are refused for at most {duration(self.max_pause)}")
            self._note_slug()
            self._pause(comparison, last=last)
            if not last:
                what = "all rows are" if begins else "the rows written meanwhile are"
                self._say(f"writes go on after {self.result.pause:.2f} s, and {what} compared")
                _refuse_differing(comparison.compare())
            return last

    def _publish(self) -> None:
        key = self.tenant.key
        tables = [
            (table.name, sql.SQL("{} OPERATOR(pg_catalog.=) {}").format(sql.Identifier(table.column), sql.Literal(key)))
            for table in self.checks.tables
        ]
        locks = tuple(Lock(name, LockMode.SHARE_UPDATE_EXCLUSIVE) for name, _ in tables)
        statement = Statement(sql=create_publication(self.move.object_name, tables), locks=locks)
        self.side.run([statement])

    def _require_slot(self) -> Slot:
        connection, name = self.source.connection, self.move.object_name
        slot = read_slot(connection, name)
        subscribed = read_subscription(self.target.connection, name) is not None
        if slot is None and not subscribed:
            self.source.observer(Reading("transactions that are open, which a replication slot waits for"))
            self._create_slot()
            slot = read_slot(connection, name)
        if slot is None or slot.wal_status == "lost":
            raise Refused(
                f"The replication slot {name} at the source is lost: changes that the target does not have are gone",
                remedy="End the move by --abort, raise max_slot_wal_keep_size, and move the tenant again.",
            )
        return slot

    def _create_slot(self) -> None:
        """Raises Failed if transactions that have written do not end within the budget."""
        connection, budget = self.source.connection, self.policy.budget
        try:
            with limited(connection, budget), self._waiting.allowed(self.side.refuse_stopped):
                create_slot(connection, self.move.object_name)
        except psycopg.errors.QueryCanceled as error:
            self.side.refuse_stopped()
            ages = ((one.age, one.pid, one.user) for one in parties(connection).values() if one.age is not None)
            oldest = sorted(ages, reverse=True)[:SHOWN]
            held = [f"pid {pid} ({user}), transaction open for {age:.0f} s" for age, pid, user in oldest]
            raise Failed(
                f"Transactions that were open did not end within {duration(budget)}, and a replication slot waits for"
                " them",
                remedy=f"{END_HOLDERS}, then run the same command again.",
                details=held,
            ) from error

    def _subscribe(self) -> None:
        try:
            create_subscription(self.target.connection, self.move.object_name, self.conninfo)
        except psycopg.Error as error:
            if self.target.connection.closed:
                raise
            hidden = secrets(self.conninfo)
            said = without_secrets(error.diag.message_primary or str(error), hidden)
            failure = Failed(
                f"The target cannot subscribe to the source: {said}",
                remedy="Correct what the message names, then run the same command again. If the target reaches the"
                " source by another host, or needs a password for it, give --replicate-from DSN.",
            )
        else:
            return
        # Outside the handler: the driver's error may contain the DSN.
        self.checks.refuse_changed()
        raise failure

    def _copied(self) -> str | None:
        found = read_subscription(self.target.connection, self.move.object_name)
        if found is None:
            raise Failed("The subscription at the target was dropped", remedy="End the move by --abort.")
        return None if found.ready == found.tables else f"{found.ready} of {found.tables} tables are copied"

    def _caught_up(self) -> str | None:
        """Caught up is a target that has what was committed at the source a quarter of a pause ago, or LEAST_LAG."""
        place, begun = position(self.source.connection), time.monotonic()
        while time.monotonic() - begun < max(self.max_pause / 4, LEAST_LAG):
            if reached(self.source.connection, self.move.object_name, place):
                return None
            time.sleep(POLL_SECONDS)
        slot = self._require_slot()
        return f"{slot.lag:,} bytes of the write-ahead log are to be sent"

    def _wait(self, what: str, look: Callable[[], str | None]) -> None:
        """Until `look` has nothing more to tell."""
        begun = told = time.monotonic()
        before: int | None = None
        while (said := look()) is not None:
            self._require_slot()
            found = read_subscription(self.target.connection, self.move.object_name)
            failures = 0 if found is None else found.failures
            before = failures if before is None else before
            if failures > before:
                self.checks.refuse_changed()
            if failures >= before + FAILURES or (found is not None and not found.enabled):
                raise Failed(
                    f"Replication to the target fails ({failures} times so far), before it has {what}",
                    remedy="The log of the target's server has the reason. Correct it, then run the same command again;"
                    " or end the move by --abort.",
                )
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                self._say(f"{said}, after {duration(told - begun)}")
            self.source.observer(Reading(said))
            self._sleep(LOOK_SECONDS)

    def _refuse_unlike(self) -> None:
        """Whatever may have changed on either side since the beginning."""
        self.checks.refuse_changed()
        self._refuse([*self.checks.shared(), *self.checks.broken_references(), *self.checks.referring()])

    def _refuse(self, problems: Sequence[str]) -> None:
        if problems:
            raise Refused(
                f"The target cannot take over the tenant: {problems[0]}",
                remedy="Correct what is named, then run the same command again; or end the move by --abort.",
                details=problems[1:],
            )

    def _note_slug(self) -> None:
        """The record that stays at the source says where the tenant is, by its present slug."""
        for tenant in self.source.tenant_rows.read():
            if tenant.key == self.tenant.key:
                for scope in (self.source, self.target):
                    Moves(scope.connection).rename(self.move, tenant.slug)

    # --- the pause

    def _pause(self, comparison: Comparison, *, last: bool) -> None:
        """Raises _TooLong."""
        source = self.source
        run = f"{source.run} gate"
        with closing(connect(source.session.target, purpose=run)) as session:
            # If this process stops for whatever reason, the server opens the gate by ending the session.
            session.execute(
                sql.SQL("SET idle_session_timeout = {}").format(sql.Literal(int((self.max_pause + 1) * 1000)))
            )
            begun = time.monotonic()
            deadline = begun + self.max_pause
            try:
                self._close(session, deadline)
                self._follow(session, deadline, sequences=last)
                comparison.take_snapshots(self._left(deadline))
                if last:
                    _refuse_differing(comparison.compare_last(self._left(deadline)))
                    self._left(deadline)
                    # The target's side is told afterwards: the source decides.
                    self._switch(session, begun)
                else:
                    session.execute(self.gate.record())
            except psycopg.errors.QueryCanceled as error:
                raise _TooLong("comparing the rows took too long") from error
            finally:
                # A session that is lost has opened it.
                with suppress(psycopg.OperationalError):
                    self.gate.open(session)
                with suppress(psycopg.OperationalError):
                    self._note_pause(time.monotonic() - begun)

    @staticmethod
    def _left(deadline: float) -> float:
        """The seconds that are left of a pause. Raises _TooLong if there are none."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise _TooLong("no time was left to compare the rows")
        return left

    def _close(self, session: Connection, deadline: float) -> None:
        pid = session.info.backend_pid
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.gate.close, session, deadline - time.monotonic())
            held: list[str] = []
            while not waiting.done():
                wait([waiting], timeout=5 * POLL_SECONDS)
                held = [str(one) for one in blockers(self.source.connection, pid)] or held
            try:
                waiting.result()
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                named = f": {'; '.join(held)}" if held else ""
                raise _TooLong(f"transactions of the tenant did not end in time{named}") from error

    def _follow(self, session: Connection, deadline: float, *, sequences: bool) -> None:
        """While the gate is closed: until the target has the last changes."""
        place = position(session)
        # Its commit writes everything before it to disk: only that is sent.
        Moves(session).count_pause(self.move)
        for table in self.checks.tables if sequences else ():
            for query in advance(read_sequences(session, table.name)):
                self.target.connection.execute(query)
        while not reached(session, self.move.object_name, place):
            if time.monotonic() >= deadline:
                raise _TooLong("the target did not have the last changes in time")
            time.sleep(POLL_SECONDS)

    def _switch(self, session: Connection, begun: float) -> None:
        """One message, which the server executes even if this process dies."""
        change = sql.SQL(
            "UPDATE tenantry.moves SET state = 'switched', changed_at = pg_catalog.clock_timestamp(),"
            " longest_pause = greatest(longest_pause, {}) WHERE id = {}"
        ).format(sql.Literal((time.monotonic() - begun) * 1000), sql.Literal(self.move.id))
        session.execute(sql.SQL("; ").join([sql.SQL("BEGIN"), self.gate.close_for_good(), change, sql.SQL("COMMIT")]))

    def _note_pause(self, seconds: float) -> None:
        self.result.pauses += 1
        self.result.pause = seconds
        self.result.longest_pause = max(self.result.longest_pause, seconds)
        Moves(self.source.connection).note_pause(self.move, seconds * 1000)

    # --- after the switch

    def finish(self) -> None:
        """End replication, and delete the tenant's rows at the source, where its writes stay refused. Raises Refused if
        rows at the target refer to rows that are not there: then nothing is deleted."""
        source, target = self.source.connection, self.target.connection
        arrived = Moves(target).find(self.move.id)
        if arrived is None:
            raise Refused(
                "The target has no record of this move, whose rows at the source are the next to be deleted",
                remedy=f"Name the target by --to as when the move began: {self.move.location}.",
            )
        with target.transaction():
            Moves(target).change(arrived, "switched")
            Moves(target).forget_departed(self.tenant.key, but=arrived)
            if (gate := Gate(move=arrived)).tables(target):
                # Its application writes there now.
                target.execute(gate.reopen())
        self._end_replication()
        self.side.restore_identities()
        for there in self._target_side():
            there.restore_identities()
            there.drop_gate()
        problems = list(self.checks.broken_references())
        if problems:
            raise Refused(
                f"The tenant is at the target, and not all of it: {problems[0]}",
                remedy="Insert the missing rows at the target, then run the same command again: it deletes the rows at"
                " the source, which are still there.",
                details=problems[1:],
            )
        source.execute(sql.SQL("SET {} = {}").format(sql.SQL(PASS), sql.Literal(self.gate.secret)))
        try:
            self.result.rows = self._remove(self.checks.removal)
        finally:
            if not source.closed:
                source.execute(sql.SQL("RESET {}").format(sql.SQL(PASS)))
        # Without the tenant's own row, foreign keys refuse its rows.
        self.side.drop_gate()
        # The record at the source stays: it says where the tenant is.
        Moves(source).change(self.move, "moved")
        Moves(target).forget(arrived)

    @staticmethod
    def _remove(removal: TenantRemoval) -> int:
        """Delete what is left of the tenant's rows, without an export: the other side has them."""
        scope, tenant, removals = removal.scope, removal.tenant, Removals(removal.scope.connection)
        removals.install()
        rows = 0
        if any(removal.rows().values()):
            noted = removals.unfinished(tenant.key) or removals.begin(
                run=scope.run, tenant=tenant.key, slug=tenant.slug, folder=None, exported=0
            )
            rows = removal.remove(noted)
        removals.forget(tenant.key)
        return rows

    def _end_replication(self) -> None:
        source, target, name = self.source.connection, self.target.connection, self.move.object_name
        found = read_subscription(target, name)
        drop_subscription(target, name)
        self.side.drop_slots([name, *([] if found is None else sync_slots(source, subscription=found.oid))])
        drop_publication(source, name)

    # --- undoing it

    def abort(self, removal: TenantRemoval | None) -> int:
        """Undo a move that has not switched: end replication, delete what was copied to the target (`removal` is that
        of the tenant there, None if the target has no record of the move), and remove the gate. Returns how many rows
        were deleted at the target."""
        target = self.target.connection
        deleted = 0
        self._end_replication()
        for there in self._target_side():
            there.restore_identities()
            there.drop_gate()
        if removal is not None:
            deleted = self._remove(removal)
            arrived = Moves(target).find(self.move.id)
            if arrived is not None:
                Moves(target).forget(arrived)
        self.side.restore()
        Moves(self.source.connection).forget(self.move)
        return deleted

    # --- how it is done

    def _say(self, text: str) -> None:
        self.source.observer(Notice(text, {"move": self.move.id, "tenant": self.tenant.slug}))

    def _sleep(self, seconds: float) -> None:
        self.stop.wait(seconds)
        self.side.refuse_stopped()

    def _look(self) -> None:
        """While rows are compared. Raises Interrupted after a stop, Refused if the slot is lost."""
        self.side.refuse_stopped()
        self._require_slot()


def _refuse_differing(differing: Sequence[str]) -> None:
    if differing:
        raise Failed(
            f"The rows at the target are not those at the source: {differing[0]}",
            remedy="Find out who writes to the tenant's rows at the target, or has emptied a table; then end the"
            " move by --abort. The tenant stays at the source.",
            details=differing[1:],
        )


def _alone(name: Name) -> tuple[Lock, ...]:
    return (Lock(name, LockMode.ACCESS_EXCLUSIVE),)
