"""What bypasses the policies, or fails with them, and rows that tenantry's role may not see (hazards 13 and 28)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator

from tenantry.execution.preflight.findings import noted, refused, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.sql_statements import Passage, Relations, passages
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.model.schema import Function, Kind
from tenantry.postgres.server_state import ServerState

SECURE_VIEWS = 15
COLUMNS_SET_NULL = 15
DUMPS = ("pg_dump", "pg_dumpall")
READABLE = ("sql", "plpgsql")
"""The languages in which a function's text shows what it reads."""
BUILDING = (
    "query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "table_to_xml", "table_to_xml_and_xmlschema",
    "schema_to_xml", "schema_to_xml_and_xmlschema", "database_to_xml", "database_to_xml_and_xmlschema", "cursor_to_xml",
    "ts_stat", "dblink", "dblink_exec", "dblink_open", "dblink_send_query",
)  # fmt: skip
"""Functions that take a statement, or the name of a table, as text."""


def around_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    if scope.securities:
        yield from view_findings(scope)
        yield from function_findings(scope)
        yield from _bulk(scope, facts)
    yield from _deferred_keys(scope)


def _sees_all(scope: Scope, role: str) -> bool:
    return scope.bypasses(role) or scope.has(role, scope.operators)


def view_findings(scope: Scope) -> Iterator[Finding]:
    """Before PostgreSQL 15 a view reads as its owner; a materialized view contains what was read."""
    for view in scope.views:
        others = sorted({grant.grantee for grant in view.grants if not _sees_all(scope, grant.grantee)})
        if not others:
            continue
        names = ", ".join(others)
        # The application may read what PUBLIC may read.
        report = refused if "PUBLIC" in others else warned
        if view.kind is Kind.MATERIALIZED_VIEW:
            roles = ", ".join("PUBLIC" if role == "PUBLIC" else quoted(role) for role in others)
            yield report(
                name="materialized-view-granted",
                table=view.name,
                message=f"{names} may read the materialized view {view.name}, which contains rows of all tenants",
                remedy=f"REVOKE ALL ON {view.name} FROM {roles}",
            )
        elif scope.schema.major < SECURE_VIEWS:
            yield report(
                name="view-reads-as-owner",
                table=view.name,
                message=f"{names} may read the view {view.name}, which before PostgreSQL 15 shows rows of all tenants",
                remedy="upgrade to PostgreSQL 15, or revoke the privilege",
            )


def function_findings(scope: Scope, reached: Container[str] | None = None) -> Iterator[Finding]:
    """Functions that show, or may show, rows of all tenants to their caller: only those of the signatures `reached`, if
    given."""
    reading = _Reading(scope)
    for function in scope.schema.functions:
        if not function.security_definer or not _sees_all(scope, function.owner):
            continue
        if reached is not None and function.signature not in reached:
            continue
        read, unknown = reading.of(function)
        if not read and not unknown:
            continue
        tables = ", ".join(map(str, read))
        what = (
            f"sees rows of all tenants in {tables}"
            if read
            else f"whether it sees rows of all tenants is not known: {unknown}"
        )
        yield warned(
            name="security-definer-function",
            table=read[0] if read else None,
            message=f"The function {function.signature} runs as {function.owner}, and {what}",
            remedy=f"ALTER ROUTINE {function.signature} SECURITY INVOKER, or let it know the tenant",
        )


class _Reading:
    """What functions read, directly and through functions that they call; and why that may be incomplete."""

    def __init__(self, scope: Scope) -> None:
        self._relations = Relations.of((*scope.guarded, *(view.name for view in scope.views)))
        self._named: dict[str, list[Function]] = {}
        for function in scope.schema.functions:
            self._named.setdefault(function.name.name, []).append(function)

    def of(self, function: Function) -> tuple[tuple[Name, ...], str]:
        read: dict[Name, None] = {}
        unknown, seen, waiting = "", {function.signature}, [function]
        while waiting:
            one = waiting.pop()
            if one.language not in READABLE:
                unknown = unknown or f"{one.signature} is written in {one.language}"
                continue
            for passage in passages("", one.source):
                read |= dict.fromkeys(self._relations.mentioned(passage))
                unknown = unknown or self._built(one, passage)
                for called in self._called(passage):
                    if called.signature not in seen:
                        seen.add(called.signature)
                        waiting.append(called)
        return tuple(read), unknown

    def _built(self, function: Function, passage: Passage) -> str:
        """Statements that are put together at run time."""
        by_call = next((name for name in BUILDING if any(passage.after(name, "("))), "")
        if function.language == "plpgsql" and "execute" in passage.words:
            by_call = "EXECUTE"
        return f"{function.signature} puts statements together ({by_call})" if by_call else ""

    def _called(self, passage: Passage) -> Iterator[Function]:
        for position, token in enumerate(passage.tokens):
            if token.name is not None and passage.word(position + 1) == "(":
                yield from self._named.get(token.name, ())


def _bulk(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """COPY FROM fails with row-level security, and pg_dump refuses to write a part of a table."""
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
    """Before PostgreSQL 15 a key cannot set single columns to NULL: tenantry's is then deferred until the user's own
    has."""
    if scope.schema.major >= COLUMNS_SET_NULL:
        return
    for step in scope.steps:
        table, ours = scope.schema.tables.get(step.table), step.beside
        if ours is None or table is None or not ours.deferred:
            continue
        setting = [key for key in table.foreign_keys if key.columns == ours.columns and key.on_delete in ("n", "d")]
        if setting:
            yield noted(
                name="key-checked-at-commit",
                table=step.table,
                message=f"The key {ours.constraint} of {step.table} waits for COMMIT: {setting[0].name} sets"
                " a column when its parent is deleted",
                remedy="PostgreSQL 15 checks it at once",
            )


def sight_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """A count there could be wrong. A role that bypasses row-level security is not affected: its sessions raise where a
    policy would hide rows."""
    user = facts.server.user
    for name in facts.hidden:
        if name in scope.read:
            yield refused(
                name="rows-hidden",
                table=name,
                forcible=False,
                message=f"Row security of {name} may hide rows from {user}, and so from every count and proof",
                remedy=f"connect as a role with BYPASSRLS, or CREATE POLICY … ON {name} TO {quoted(user)} USING (true),"
                " and let no restrictive policy hold for this role",
            )


def leaky_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """PostgreSQL evaluates the policy before an operator that could reveal hidden rows, and then does not use the
    index."""
    for index in facts.leaky:
        if index.table in scope.guarded:
            alter = "; ".join(f"ALTER FUNCTION {function} LEAKPROOF" for function in index.functions)
            yield warned(
                name="index-behind-policies",
                table=index.table,
                message=f"The index {quoted(index.name)} of {index.table} serves only operators that are not leakproof:"
                " once row security is on, queries of the application read all rows of their tenant instead",
                remedy=f"where these may be trusted to tell nothing of their arguments, as a superuser: {alter}",
            )
