"""Runs the census: in one snapshot, with temporary tables that are rolled back, without changing a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from tenantry.errors import ConnectionFailed, UsageError
from tenantry.model.evidence import Census, Evidence, Pair, Question, Repeat, TableEvidence
from tenantry.model.name import Name

# Hash joins over millions of rows, once in one session.
WORK_MEM = "64MB"
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
            for work in census.shadows:
                _perform(connection, work)
            for question in census.questions:
                watch(question.table)
                answers.append(_answer(connection, question))
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


def _perform(connection: psycopg.Connection[Any], work: sql.Composed | Repeat) -> None:
    if not isinstance(work, Repeat):
        connection.execute(work)
        return
    while sum(connection.execute(statement).rowcount for statement in work.statements) > 0:
        pass


def _answer(connection: psycopg.Connection[Any], question: Question) -> TableEvidence:
    evidence = question.read(_rows(connection, question.counts)[0])
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
