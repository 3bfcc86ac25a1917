"""Runs the census: in one snapshot, with temporary tables that are rolled back, without changing a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from tenantry.errors import ConnectionFailed, UsageError
from tenantry.model.evidence import Census, CensusQuestion, Evidence, Pair, Repeat, TableEvidence
from tenantry.model.name import Name
from tenantry.postgres.owner_context import fenced

# Hash joins over millions of rows, once in one session.
WORK_MEM = "64MB"
TOGETHER = 64
"""The most tables that are counted without waiting for a result."""
AT_ONCE = 0.5
"""Seconds."""
_UNFIT = (
    psycopg.errors.SyntaxError, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction,
    psycopg.errors.AmbiguousColumn, psycopg.errors.InvalidSchemaName,
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
            _perform(connection, census.tenant_maps)
            for question, answer in _answered(connection, census.questions, watch):
                answers.append(answer)
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
        raise _unfit(error, "Correct the column, the SQL or the CSV file of that table's `assign`.") from error
    except psycopg.errors.UndefinedTable as error:
        if any(str(question.table) in (error.diag.message_primary or "") for question in census.questions):
            # Others have dropped it meanwhile.
            raise
        raise _unfit(error, "In the SQL of an `assign`, write the name of a table with its schema.") from error
    return census.evidence(answers)


def _unfit(error: psycopg.Error, remedy: str) -> UsageError:
    return UsageError(f"An assignment of the spec does not fit the data: {error.diag.message_primary}", remedy=remedy)


def _perform(connection: psycopg.Connection[Any], works: Sequence[sql.Composed | Repeat]) -> None:
    waiting: list[sql.Composed] = []
    for work in works:
        if not isinstance(work, Repeat):
            waiting.append(work)
            continue
        _together(connection, waiting)
        waiting.clear()
        while sum(connection.execute(statement).rowcount for statement in work.statements) > 0:
            pass
    _together(connection, waiting)


def _answered(
    connection: psycopg.Connection[Any], questions: Sequence[CensusQuestion], watch: Callable[[Name], None]
) -> Iterator[tuple[CensusQuestion, TableEvidence]]:
    """Each question with its answer. Several tables are counted at once as long as that takes no longer than half a
    second, so that the table that is named to the user is one that is being counted."""
    done, size = 0, 1
    while batch := questions[done : done + size]:
        begun = time.monotonic()
        for question in batch:
            watch(question.table)
        counts = _together(connection, [question.counts for question in batch])
        answers = [question.read(rows[0]) for question, rows in zip(batch, counts, strict=True)]
        pairs = list(zip(batch, answers, strict=True))
        queries = [question.orphans() if answer.orphans else None for question, answer in pairs]
        queries += [question.conflicts() if answer.conflicts else None for question, answer in pairs]
        samples = _together(connection, queries)
        for (question, answer), orphans, conflicts in zip(pairs, samples, samples[len(batch) :], strict=False):
            found, disputed = question.samples(orphans), question.samples(conflicts)
            yield question, replace(answer, orphan_samples=found, conflict_samples=disputed)
        done += len(batch)
        size = min(2 * size, TOGETHER) if time.monotonic() - begun < AT_ONCE else 1


def _together(
    connection: psycopg.Connection[Any], queries: Sequence[sql.Composed | None]
) -> list[list[tuple[Any, ...]]]:
    """The rows of each query, none for no query and for other statements. All are sent before the first result is
    awaited, so that the server executes one while the next is composed; with a fence, each is examined by itself."""
    with nullcontext() if fenced(connection) else connection.pipeline():
        cursors = [
            connection.cursor(row_factory=tuple_row).execute(query) if query is not None else None for query in queries
        ]
    return [cursor.fetchall() if cursor is not None and cursor.description else [] for cursor in cursors]


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
