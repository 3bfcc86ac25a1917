"""Locks, and the statements under them, as SQL for one message to the server.

Two anonymous blocks: the first takes the locks, each within the rest of one deadline, and the second runs the
statements and measures the time. A block returns nothing, so they leave their results in settings of the transaction.
Code of the user's that runs in between may set any search_path: every name is qualified.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.postgres.owner_context import unsettled
from tenantry.steps.introspection import body, raw

FORBIDDEN = "TY001"
"""The SQLSTATE that a guard raises."""
UNSETTLED = "TY002"
"""The SQLSTATE for a definition that could run somebody else's code."""
LOCKING = "LOCK TABLE ONLY"
"""How a statement that takes a lock begins."""
_HELD = re.compile(r"\Atenantry (\d+(?:\.\d+)?)\Z")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PLACED = re.compile(r"(\d+)=(\d+(?:\.\d+)?)")

_CLOCK = sql.SQL(
    "(EXTRACT(epoch FROM pg_catalog.clock_timestamp())::pg_catalog.float8"
    " OPERATOR(pg_catalog.*) 1000::pg_catalog.float8)"
)
_TAKE = sql.SQL("""
DECLARE
  begun CONSTANT pg_catalog.float8 := {clock};
  asked pg_catalog.float8;
  since pg_catalog.float8;
  waited pg_catalog.float8 := 0;
  rest pg_catalog.float8;
  one pg_catalog.text;
  -- LOCK TABLE on a view locks the tables under it as well, and a table yet to be made cannot be locked.
  locks CONSTANT pg_catalog.text[] := ARRAY(
    SELECT given.lock
    FROM ROWS FROM (pg_catalog.unnest(ARRAY[{names}]::pg_catalog.text[]),
      pg_catalog.unnest(ARRAY[{locks}]::pg_catalog.text[])) WITH ORDINALITY AS given (name, lock, place)
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(given.name)::pg_catalog.oid
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{{r,p}}'::pg_catalog."char"[])
    ORDER BY {direction} OPERATOR(pg_catalog.*) pg_catalog.min(given.place) OVER (PARTITION BY COALESCE(
      pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid, c.oid)), given.place);
BEGIN
  FOREACH one IN ARRAY locks LOOP
    asked := {clock};
    rest := {timeout} OPERATOR(pg_catalog.-) (asked OPERATOR(pg_catalog.-) begun);
    IF since IS NOT NULL THEN
      rest := LEAST(rest, {look},
        GREATEST({unnoticed} OPERATOR(pg_catalog.-) (asked OPERATOR(pg_catalog.-) begun), {glance}));
    END IF;
    PERFORM pg_catalog.set_config('lock_timeout', GREATEST(rest, 1)::pg_catalog.int8::pg_catalog.text, true);
    EXECUTE one;
    waited := GREATEST(waited, {clock} OPERATOR(pg_catalog.-) asked);
    since := COALESCE(since, {clock});
  END LOOP;
  rest := GREATEST({timeout} OPERATOR(pg_catalog.-) ({clock} OPERATOR(pg_catalog.-) begun), {least});
  asked := rest;
  IF since IS NOT NULL THEN
    asked := LEAST(rest, GREATEST({unnoticed} OPERATOR(pg_catalog.-) ({clock} OPERATOR(pg_catalog.-) begun), {glance}));
  END IF;
  -- A wait for a lock ends first, so that it is not taken for a slow statement.
  rest := GREATEST(rest, asked OPERATOR(pg_catalog.+) {half});
  PERFORM pg_catalog.set_config('lock_timeout', GREATEST(asked, 1)::pg_catalog.int8::pg_catalog.text, true),
    pg_catalog.set_config('statement_timeout', GREATEST(rest, 1)::pg_catalog.int8::pg_catalog.text, true),
    pg_catalog.set_config('tenantry.waited', waited::pg_catalog.text, true),
    pg_catalog.set_config('tenantry.since', COALESCE(since::pg_catalog.text, ''), true);
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
  -- Those that were had are given back here and now.
  IF since IS NULL THEN
    RAISE;
  END IF;
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM,
    DETAIL = pg_catalog.concat('tenantry ', {clock} OPERATOR(pg_catalog.-) since);
END
""")
_DO = sql.SQL("""
DECLARE
  begun pg_catalog.float8;
  needed pg_catalog.bool;
  took pg_catalog.text := '';
BEGIN{parts}
  PERFORM pg_catalog.set_config('tenantry.took', took, true);
END
""")
_PART = sql.SQL("""
  {needed}
  IF needed THEN{unsettled}
    begun := {clock};{become}
    EXECUTE {statement};{back}
    took := pg_catalog.concat(took, {place}, '=', {clock} OPERATOR(pg_catalog.-) begun, ' ');
  END IF;""")
_UNSETTLED = sql.SQL("""
    EXECUTE {query} INTO needed;
    IF needed THEN
      RAISE EXCEPTION USING ERRCODE = {unsettled}, MESSAGE = 'the name now belongs to another table';
    END IF;""")
_GUARD = sql.SQL("""
  EXECUTE {query} INTO needed;
  IF needed THEN
    RAISE EXCEPTION USING ERRCODE = {forbidden}, MESSAGE = 'another object depends on what would be dropped';
  END IF;""")
_TOLD = sql.SQL(
    "SELECT pg_catalog.current_setting('tenantry.waited', true), {clock} OPERATOR(pg_catalog.-) pg_catalog.substring("
    "pg_catalog.current_setting('tenantry.since', true), '^[0-9]{{1,15}}(?:[.][0-9]{{1,9}})?$')::pg_catalog.float8,"
    " pg_catalog.current_setting('tenantry.took', true)"
).format(clock=_CLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLimits:
    """In seconds: for all locks together, for a further one, for which a writer may wait behind this session without
    checking for a deadlock, and the minimum of a wait, with a lock held and without."""

    timeout: float
    look: float
    unnoticed: float
    glance: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStatement:
    """SQL of tenantry's in addition to a step's statements, which runs nobody else's code. A `guard` is a query of one
    boolean; if that is true, nothing is done."""

    sql: sql.Composable
    guard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageResult:
    """Results, in milliseconds: the longest wait for a lock, how long the first one has been held, and the time of each
    part, by its position."""

    waited: float
    lock_held: float | None
    part_times: Mapping[int, float]


def taking(
    locks: Sequence[Lock], limits: MessageLimits, connection: psycopg.Connection[Any], *, reverse: bool = False
) -> bytes:
    """Takes the locks, in order, on those of the tables that exist; what follows in the transaction may use the rest of
    the time.

    In either order a partitioned table comes before its partitions: a session that uses these has locked the table
    before, so that they are free once the table is.
    """
    texts = [
        sql.SQL("{} {} IN {} MODE").format(sql.SQL(LOCKING), lock.table.identifier, _mode(lock.mode)) for lock in locks
    ]
    block = _TAKE.format(
        clock=_CLOCK, names=sql.SQL(", ").join(_quoted(lock.table.identifier, connection) for lock in locks),
        locks=sql.SQL(", ").join(_quoted(text, connection) for text in texts),
        timeout=_milliseconds(limits.timeout), half=_milliseconds(limits.timeout / 2),
        look=_milliseconds(limits.look), unnoticed=_milliseconds(limits.unnoticed),
        glance=_milliseconds(limits.glance), least=_milliseconds(limits.least),
        direction=sql.SQL("-1" if reverse else "1"),
    )  # fmt: skip
    # The locks have timeouts of their own; this one is for a server that does not get to checking them.
    whole = sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(int((limits.timeout + 1) * 1000)))
    return b"; ".join((whole.as_bytes(connection), _block(block, connection)))


def doing(parts: Sequence[Statement | OwnStatement], connection: psycopg.Connection[Any]) -> bytes:
    """Runs the statements in order, each under its condition and as its role."""
    return _block(
        _DO.format(parts=sql.SQL("").join(_part(place, one, connection) for place, one in enumerate(parts))), connection
    )


def send(connection: psycopg.Connection[Any], *texts: bytes) -> MessageResult:
    """Send both blocks in one message, within the open transaction."""
    cursor = psycopg.Cursor(connection)
    cursor.execute(b"; ".join((*filter(None, texts), _TOLD.as_bytes(connection))))
    while cursor.nextset():
        pass
    waited, lock_held, part_times = cursor.fetchone() or ("", None, "")
    # Code of the user's may have written anything into the settings: then there is no result.
    return MessageResult(
        waited=float(waited) if _NUMBER.fullmatch(waited or "") else 0.0, lock_held=lock_held,
        part_times={int(place): float(milliseconds) for place, milliseconds in _PLACED.findall(part_times or "")},
    )  # fmt: skip


def lock_held_before_failure(error: psycopg.Error) -> float | None:
    """For how many milliseconds `taking` had a lock when it did not get a further one; None if it had none."""
    said = _HELD.match(error.diag.message_detail or "")
    return None if said is None else float(said[1])


def _part(place: int, one: Statement | OwnStatement, connection: psycopg.Connection[Any]) -> sql.Composed:
    if isinstance(one, OwnStatement) and one.guard:
        return _GUARD.format(query=_quoted(one.sql, connection), forbidden=sql.Literal(FORBIDDEN))
    needed, become, back = sql.Composed([sql.SQL("needed := true;")]), sql.Composed([]), sql.Composed([])
    query = unsettled(connection, one.sql) if isinstance(one, Statement) else None
    found = sql.Composed([])
    if query is not None:
        found = _UNSETTLED.format(query=_quoted(query, connection), unsettled=sql.Literal(UNSETTLED))
    if isinstance(one, Statement) and one.when is not None:
        needed = sql.SQL("EXECUTE {} INTO needed;").format(_quoted(one.when, connection))
    if isinstance(one, Statement) and one.acting_as is not None:
        role = sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(one.acting_as))
        become = sql.SQL("\n    EXECUTE {};").format(_quoted(role, connection))
        back = sql.Composed([sql.SQL("\n    EXECUTE 'RESET ROLE';")])
    return _PART.format(
        needed=needed, unsettled=found, clock=_CLOCK, become=become, statement=_quoted(one.sql, connection), back=back,
        place=sql.Literal(place),
    )  # fmt: skip


def _block(code: sql.Composable, connection: psycopg.Connection[Any]) -> bytes:
    return sql.SQL("DO LANGUAGE plpgsql {}").format(body(raw(code.as_string(connection)))).as_bytes(connection)


def _quoted(text: sql.Composable, connection: psycopg.Connection[Any]) -> sql.Literal:
    return sql.Literal(text.as_string(connection))


def _milliseconds(seconds: float) -> sql.Composed:
    return sql.SQL("{}::pg_catalog.float8").format(sql.Literal(round(seconds * 1000)))


def _mode(mode: LockMode) -> sql.SQL:
    return {
        LockMode.SHARE: sql.SQL("SHARE"), LockMode.SHARE_ROW_EXCLUSIVE: sql.SQL("SHARE ROW EXCLUSIVE"),
        LockMode.EXCLUSIVE: sql.SQL("EXCLUSIVE"), LockMode.ACCESS_EXCLUSIVE: sql.SQL("ACCESS EXCLUSIVE"),
    }[mode]  # fmt: skip
