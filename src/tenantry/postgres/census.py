"""Runs the census: in one snapshot, with temporary tables that are rolled back, without changing a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import PipelineStatus
from psycopg.rows import tuple_row

from tenantry.errors import ConnectionFailed, UsageError
from tenantry.model.evidence import Census, Evidence, Pair, Question, Repeat, TableEvidence
from tenantry.model.name import Name

# Hash joins over millions of rows, once in one session.
WORK_MEM = "64MB"
TOGETHER = 64
"""The most tables that are counted without waiting for a result."""
AT_ONCE = 0.5
"""Seconds."""
_UNFIT = (
    psycopg.errors.SyntaxError, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction,
    psycopg.errors.AmbiguousColumn,
)  # fmt: skip
"""Errors that an expression of the spec can raise before a row is read."""


def run_census(
    connection: psycopg.Connection[Any], census: Census, *, watch: Callable[[Name], None] = lambda table: None,
    disputed: Callable[[Name, Sequence[Pair]], None] | None = None,
) -> Evidence:  # fmt: skip
    """Run all queries of the census; `watch` is called with each table before it is counted, and `disputed` with the
    paths of a table with conflicts that disagree, and in how many rows.

    The connection must not be in a transaction. Raises ConnectionFailed if a privilege is missing, and UsageError if an
    assignment of the spec does not fit the data.
    """
    answers = []
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute(sql.SQL("SET LOCAL work_mem = {}").format(sql.Literal(WORK_MEM)))
            # Each round makes the temporary tables' statistics outdated, and a nested loop would then take quadratic
            # time.
            connection.execute("SET LOCAL enable_nestloop = off")
            _perform(connection, census.shadows)
            for question, counts in _counts(connection, census.questions, watch):
                answers.append(_answer(connection, question, counts))
                if disputed is not None and answers[-1].conflicts:
                    disputed(question.table, question.paired(_rows(connection, question.pairs())))
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConnectionFailed(
            f"The rows cannot be counted: {error.diag.message_primary}", remedy=_remedy(connection, error)
        ) from error
    except (psycopg.errors.CharacterNotInRepertoire, psycopg.errors.UntranslatableCharacter) as error:
        encoding = connection.info.parameter_status("server_encoding")
        raise UsageError(
            f"The database has the encoding {encoding}, and a text that is not valid UTF-8:"
            f" {error.diag.message_primary}",
            remedy="Dump the database, and restore it into one with the encoding in which its texts are written.",
        ) from error
    except (psycopg.DataError, *_UNFIT) as error:
        raise UsageError(
            f"An assignment of the spec does not fit the data: {error.diag.message_primary}",
            remedy="Correct the column, the SQL or the CSV file of that table's `assign`.",
        ) from error
    return census.evidence(answers)


def _perform(connection: psycopg.Connection[Any], works: Sequence[sql.Composed | Repeat]) -> None:
    """Statements are sent ahead of their results: the server runs one while the next is put together."""
    with ExitStack() as stack:
        for work in works:
            if isinstance(work, Repeat):
                stack.close()
                while sum(connection.execute(statement).rowcount for statement in work.statements) > 0:
                    pass
                continue
            if connection.info.pipeline_status == PipelineStatus.OFF:
                stack.enter_context(connection.pipeline())
            connection.execute(work)


def _counts(
    connection: psycopg.Connection[Any], questions: Sequence[Question], watch: Callable[[Name], None]
) -> Iterator[tuple[Question, tuple[Any, ...]]]:
    """What each table counts. Several are counted in one go while that takes no longer than anybody waits for the name
    of the next table."""
    done, size = 0, 1
    while batch := questions[done : done + size]:
        begun, cursors = time.monotonic(), []
        with connection.pipeline():
            for question in batch:
                watch(question.table)
                cursors.append(connection.cursor(row_factory=tuple_row).execute(question.counts))
        done += len(batch)
        size = min(2 * size, TOGETHER) if time.monotonic() - begun < AT_ONCE else 1
        for question, cursor in zip(batch, cursors, strict=True):
            (counts,) = cursor.fetchall()
            yield question, counts


def _answer(connection: psycopg.Connection[Any], question: Question, counts: tuple[Any, ...]) -> TableEvidence:
    evidence = question.read(counts)
    orphans = question.samples(_rows(connection, question.orphans())) if evidence.orphans else ()
    conflicts = question.samples(_rows(connection, question.conflicts())) if evidence.conflicts else ()
    return replace(evidence, orphan_samples=orphans, conflict_samples=conflicts)


def _rows(connection: psycopg.Connection[Any], query: sql.Composed) -> list[tuple[Any, ...]]:
    return connection.cursor(row_factory=tuple_row).execute(query).fetchall()


def _remedy(connection: psycopg.Connection[Any], error: psycopg.Error) -> str:
    message = error.diag.message_primary or ""
    if "temporary tables" in message:
        grant = sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(
            sql.Identifier(connection.info.dbname), sql.Identifier(connection.info.user)
        )
        return f"Counting needs the privilege to create temporary tables: {grant.as_string(None)}"
    if "row-level security" in message:
        return "Connect as a role that sees all rows: the owner of the tables, or a role with BYPASSRLS."
    return "Connect as the owner of the tables, or as a role that may read them."
