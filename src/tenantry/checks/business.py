"""Business rules: conditions of the spec that rows must meet, or must not meet."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import sql

from tenantry.checks.base import ROW, Check, CheckContext, Fix, QueryCheck, Question, Rows, column
from tenantry.errors import UsageError, nearest
from tenantry.execution.preflight.sql_statements import tokens
from tenantry.model.correction import corrections
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.model.spec import RulePart
from tenantry.postgres.owner_context import raw_cursor
from tenantry.steps.introspection import raw


def business(context: CheckContext) -> Iterator[Check | Finding]:
    """The checks of the spec's rules. A rule that the database cannot evaluate becomes a finding."""
    for rule in context.spec.rule:
        table = _table(context, rule)
        if isinstance(table, Finding):
            yield table
        elif context.wants(table):
            yield _rule_check(context, rule, table)


def said_by(text: str) -> sql.Composed:
    """The user's own SQL; the newline keeps a comment at its end from hiding what follows."""
    return sql.SQL("{}\n").format(raw(text))


def _table(context: CheckContext, rule: RulePart) -> Name | Finding:
    try:
        name = Name.parse(rule.table, schema=context.spec.schemas[0])
    except UsageError as error:
        return _invalid(rule, None, str(error))
    if context.has(name):
        return name
    known = [str(table) for table in context.live.tables]
    return _invalid(rule, None, f"the table {name} does not exist{nearest(str(name), known)}")


def _rule_check(context: CheckContext, rule: RulePart, table: Name) -> Check | Finding:
    problem = _problem(context, rule, table)
    if problem is None:
        return _check(context, rule, table)
    if isinstance(problem, psycopg.errors.UndefinedColumn) and _awaited(context, problem):
        return Finding(
            name=rule.name, family=Family.BUSINESS, severity=Severity.INFO, table=table,
            message=f"The rule {rule.name} was not checked: it needs tenant columns that do not exist yet",
            remedy=f"Run `tenantry migrate --until {Phase.EXPAND}`, then `tenantry verify` again.",
        )  # fmt: skip
    if context.distributed and isinstance(problem, psycopg.errors.FeatureNotSupported):
        return _unsupported(rule, table, problem)
    return _invalid(rule, table, problem if isinstance(problem, str) else _message(problem))


def _problem(context: CheckContext, rule: RulePart, table: Name) -> psycopg.Error | str | None:
    """Why the rule cannot be checked or its fix be made, from EXPLAIN, without running it."""
    asked: list[sql.Composable] = [_question(rule, table)]
    known = context.live.tables[table]
    for name, expression in _values(rule):
        found = known.column(name)
        if found is None:
            return f"the column {name} does not exist{nearest(name, [one.name for one in known.columns])}"
        if found.generated or found.identity or name in known.primary_key:
            return f"its fix sets the column {name}, which is generated or part of the primary key"
        asked.append(
            sql.SQL("SELECT CAST(({}) AS {}) FROM {} AS {} WHERE true").format(
                expression, raw(found.type), table.identifier, ROW
            )
        )
    try:
        with context.connection.transaction():
            context.connection.execute(search_path(context.spec.schemas))
            cursor = raw_cursor(context.connection)
            for query in asked:
                # With a parameter the server accepts a single statement only.
                cursor.execute(sql.SQL("EXPLAIN {} AND $1::boolean").format(query), [True])
    except psycopg.errors.OperationalError:
        raise
    except psycopg.Error as error:
        return error
    return None


def search_path(schemas: tuple[str, ...]) -> sql.Composed:
    """Rules name tables as the application does: without their schema."""
    path = sql.SQL(", ").join(map(sql.Identifier, ("pg_catalog", *schemas, "pg_temp")))
    return sql.SQL("SET LOCAL search_path = {}").format(path)


def _question(rule: RulePart, table: Name) -> sql.Composed:
    if rule.query is not None:
        return sql.SQL("SELECT FROM ({}) AS offender WHERE true").format(said_by(rule.query))
    return sql.SQL("SELECT FROM {} AS {} WHERE ({})").format(table.identifier, ROW, said_by(rule.violates or "false"))


def _values(rule: RulePart) -> tuple[tuple[str, sql.Composable], ...]:
    return tuple((name, raw(text)) for name, text in corrections(rule.fix)) if rule.fix is not None else ()


def _check(context: CheckContext, rule: RulePart, table: Name) -> Check:
    values = _values(rule)
    question: Question = Rows(violates=sql.SQL("({})").format(said_by(rule.violates or "false")))
    if rule.query is not None:
        question = QueryCheck(query=said_by(rule.query))
    remedy = rule.remedy
    if values:
        remedy = (
            f"{remedy} `tenantry verify --fix-issues` sets {', '.join(quoted(name) for name, _ in values)}.".strip()
        )
    return Check(
        name=rule.name, family=Family.BUSINESS, severity=Severity(rule.severity), table=table, subject=rule.name,
        message=f"{{rows}} of {table} violating the rule {rule.name}", remedy=remedy, question=question,
        shows=tuple((name, column(name)) for name in _named(context, rule, table)),
        fix=Fix(values=values, why="the spec gives this rule a fix") if values else None,
    )  # fmt: skip


def _named(context: CheckContext, rule: RulePart, table: Name) -> tuple[str, ...]:
    """The columns in a condition, which samples show."""
    named = {token.name for token in tokens(rule.violates or "")}
    return tuple(one.name for one in context.live.tables[table].columns if one.name in named)


def _awaited(context: CheckContext, error: psycopg.Error) -> bool:
    """Whether the missing column is a tenant column that migrate will add."""
    missing = {owned.column for owned in context.ownership.owned if not context.has(owned.table, owned.column)}
    return any(name in (error.diag.message_primary or "") for name in missing)


def _message(error: psycopg.Error) -> str:
    return (error.diag.message_primary or type(error).__name__).splitlines()[0]


def _unsupported(rule: RulePart, table: Name, problem: psycopg.Error) -> Finding:
    return Finding(
        name=rule.name, family=Family.BUSINESS, severity=Severity.WARNING, table=table,
        message=f"The rule {rule.name} cannot be checked on distributed tables: {_message(problem)}",
        remedy="Join the tables by their tenant columns, too.",
    )  # fmt: skip


def _invalid(rule: RulePart, table: Name | None, problem: str) -> Finding:
    return Finding(
        name=rule.name, family=Family.BUSINESS, severity=Severity.ERROR, table=table,
        message=f"The rule {rule.name} cannot be checked: {problem}",
        remedy="Correct the rule in the spec: it names tables as the application does, and the row is called t.",
    )  # fmt: skip
