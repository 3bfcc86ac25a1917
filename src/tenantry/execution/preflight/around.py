"""What leads around the policies, or stops under them: views, functions of owners, COPY FROM, pg_dump.

Hazards 10 and 13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator

from tenantry.execution.preflight.passage import Relations, passages
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.verdict import noted, refused, warned
from tenantry.model.finding import Finding
from tenantry.model.name import quoted
from tenantry.model.schema import Kind
from tenantry.postgres.facts import Facts
from tenantry.steps import TenantForeignKey

SECURE_VIEWS = 15
COLUMNS_SET_NULL = 15
DUMPS = ("pg_dump", "pg_dumpall")


def around_findings(scope: Scope, facts: Facts) -> Iterator[Finding]:
    if scope.securities:
        yield from view_findings(scope)
        yield from function_findings(scope)
        yield from _bulk(scope, facts)
    yield from _deferred_keys(scope)


def _sees_all(scope: Scope, role: str) -> bool:
    return scope.bypasses(role) or scope.has(role, scope.operators)


def view_findings(scope: Scope) -> Iterator[Finding]:
    """Before PostgreSQL 15 a view reads as its owner; a materialised view holds what was read."""
    for view in scope.views:
        others = sorted({grant.grantee for grant in view.grants if not _sees_all(scope, grant.grantee)})
        if not others:
            continue
        names = ", ".join(others)
        # What everybody may read, the application may.
        report = refused if "PUBLIC" in others else warned
        if view.kind is Kind.MATERIALIZED_VIEW:
            roles = ", ".join("PUBLIC" if role == "PUBLIC" else quoted(role) for role in others)
            yield report(
                name="materialized-view-granted",
                table=view.name,
                message=f"{names} may read the materialised view {view.name}, of all tenants' rows",
                remedy=f"REVOKE ALL ON {view.name} FROM {roles}",
            )
        elif scope.schema.major < SECURE_VIEWS:
            yield report(
                name="view-reads-as-owner",
                table=view.name,
                message=f"{names} may read the view {view.name}, which before 15 shows all tenants' rows",
                remedy="upgrade to PostgreSQL 15, or revoke the privilege",
            )


def function_findings(scope: Scope, reached: Container[str] | None = None) -> Iterator[Finding]:
    """Functions that show their caller all tenants' rows; only those of the signatures `reached`, if they are given."""
    relations = Relations.of((*scope.guarded, *(view.name for view in scope.views)))
    for function in scope.schema.functions:
        if not function.security_definer or not _sees_all(scope, function.owner):
            continue
        if reached is not None and function.signature not in reached:
            continue
        mentioned = [name for passage in passages("", function.source) for name in relations.mentioned(passage)]
        if mentioned:
            tables = ", ".join(map(str, dict.fromkeys(mentioned)))
            yield warned(
                name="security-definer-function",
                table=mentioned[0],
                message=f"The function {function.signature} runs as {function.owner}, and sees all tenants'"
                f" rows of {tables}",
                remedy=f"ALTER FUNCTION {function.signature} SECURITY INVOKER, or let it know the tenant",
            )


def _bulk(scope: Scope, facts: Facts) -> Iterator[Finding]:
    """COPY FROM is refused under row security, and pg_dump refuses to write a part of a table."""
    relations = Relations.of(scope.guarded)
    copies: Counter[str] = Counter()
    dumps: Counter[str] = Counter()
    for executed in facts.executed or ():
        for passage in passages("", executed.text):
            if passage.word(0) == "copy" and relations.at(passage, 1) and not scope.bypasses(executed.role):
                if "from" in passage.words:
                    copies[executed.role] += 1
                elif passage.words[-2:] == ("to", "stdout"):
                    dumps[executed.role] += 1
    dumps.update(
        session.user for session in facts.sessions if session.application in DUMPS and not scope.bypasses(session.user)
    )
    for role, count in sorted(copies.items()):
        yield warned(
            name="copy-from-role",
            count=count,
            message=f"{role} loads owned tables by COPY FROM, refused from isolate on",
            remedy="COPY into a table without policies and INSERT … SELECT from there, or use BYPASSRLS",
        )
    for role, count in sorted(dumps.items()):
        yield warned(
            name="dump-role",
            count=count,
            message=f"{role} dumps owned tables, and pg_dump fails for it from isolate on",
            remedy="dump as a role with BYPASSRLS, or with --enable-row-security",
        )


def _deferred_keys(scope: Scope) -> Iterator[Finding]:
    """Before PostgreSQL 15 no key sets some of its columns to NULL: ours then waits for the user's own."""
    if scope.schema.major >= COLUMNS_SET_NULL:
        return
    for step in scope.steps:
        table = scope.schema.tables.get(step.table)
        if not isinstance(step, TenantForeignKey) or table is None or not step.deferred:
            continue
        setting = [key for key in table.foreign_keys if key.columns == step.columns[1:] and key.on_delete in ("n", "d")]
        if setting:
            yield noted(
                name="key-checked-at-commit",
                table=step.table,
                message=f"The key {step.constraint} of {step.table} waits for COMMIT: {setting[0].name} sets"
                " a column when its parent is deleted",
                remedy="PostgreSQL 15 checks it at once",
            )
