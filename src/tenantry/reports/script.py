"""A plan as a script for psql: to be read, reviewed and linted; only `migrate` itself runs it safely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenantry.model.plan import ExecutionMode, Phase, Statement
from tenantry.steps import Step

HEADER = """\
-- The plan for {database}, {server}, as tenantry migrate would apply it: the {count} steps that are not applied yet.
--
-- migrate does more than this script can: it tries again where a lock is not to be had, fills in batches beside the
-- running application, keeps a journal so that it can go on and go back, and refuses where rows are in doubt. What this
-- script does, no rollback of tenantry knows of.

\\set ON_ERROR_STOP on
SET search_path = pg_catalog;
CREATE SCHEMA IF NOT EXISTS tenantry;
"""


Part = tuple[Step, Sequence[Statement]]
"""A step, and the statements that apply or revert it."""


def script(
    database: str, server: str, steps: Sequence[Part], *, first: Sequence[Part] = (), last: Sequence[Part] = ()
) -> str:
    """All steps in their order, between the steps that the spec no longer asks for, which are reverted `first` and
    `last`. Each statement occurs once; conditions are comments, since when applying, every statement may run even if it
    is not needed."""
    lines = [HEADER.format(database=_comment(database), server=server, count=len(steps))]
    lines += _back(first)
    for phase in Phase:
        ours = [part for part in steps if part[0].phase is phase]
        if ours:
            lines.append(f"-- ==== {phase}\n")
        lines += [_step(*part) for part in ours]
    lines += _back(last)
    return "\n".join(lines)


def _back(parts: Sequence[Part]) -> Iterator[str]:
    if parts:
        yield "-- ==== no longer in the spec\n"
    yield from (_step(*part) for part in parts)


def _step(step: Step, statements: Sequence[Statement]) -> str:
    lines = [f"-- {_comment(f'{step.table}: {step.title}')}"]
    if step.note:
        lines.append(f"-- note: {_comment(step.note)}")
    if any(statement.manner is ExecutionMode.BATCHES for statement in statements):
        lines += _fill(statements)
    else:
        lines += _statements(statements)
    return "\n".join(lines) + "\n"


def _statements(statements: Sequence[Statement]) -> Iterator[str]:
    opened = False
    for statement in statements:
        together = not statement.manner.alone
        if together != opened:
            yield from _begin(statement) if together else ("COMMIT;",)
            opened = together
        yield from _conditions(statement)
        acting = f'SET LOCAL ROLE "{statement.acting_as}";\n' if statement.acting_as else ""
        yield acting + statement.text.strip() + ";" + ("\nRESET ROLE;" if acting else "")
    if opened:
        yield "COMMIT;"


def _begin(statement: Statement) -> tuple[str, ...]:
    if statement.manner is ExecutionMode.VALIDATION:
        return "BEGIN;", "SET LOCAL lock_timeout = '30s';"
    if statement.manner is ExecutionMode.ENGINE:
        return "BEGIN;", "SET LOCAL citus.propagate_set_commands = 'local';", "SET LOCAL lock_timeout = '2s';"
    return "BEGIN;", "SET LOCAL lock_timeout = '2s';", "SET LOCAL statement_timeout = '2s';"


def _conditions(statement: Statement) -> Iterator[str]:
    for lock in statement.locks:
        yield f"-- locks {_comment(str(lock.table))}: {lock.mode}"
    if statement.when is not None:
        yield f"-- only if: {_comment(statement.when.as_string(None))}"


def _fill(statements: Sequence[Statement]) -> Iterator[str]:
    """A template, and its execution for all pages at once, instead of many batches."""
    for statement in statements:
        named = ", ".join(f"${number} {name}" for number, name in enumerate(statement.parameters, start=1))
        yield "BEGIN;"
        yield "SET LOCAL tenantry.filling = 'on';"
        yield "SET LOCAL tenantry.sweeping = 'on';"
        yield from _conditions(statement)
        yield f"-- In batches by page range, repeated until no row is left; parameters: {named}."
        yield f"PREPARE fill (tid, tid, int, int) AS {statement.text.strip()};"
        yield "EXECUTE fill ('(0,0)', '(4294967294,0)', 1, 0);"
        yield "DEALLOCATE fill;"
        yield "COMMIT;"


def _comment(text: str) -> str:
    return " ".join(text.split())
