"""Privileges that our role lacks. None can be forced: the step would fail."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.postgres.server_state import ServerState
from tenantry.steps.introspection import JOURNAL_SCHEMA


def privilege_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    yield from _missing_schemas(scope, facts)
    if facts.server.superuser:
        return
    yield from _ownership(scope, facts)
    yield from _schemas(scope, facts)
    yield from _withheld(scope, facts)
    yield from _workshop(facts)
    yield from _application(scope, facts)


def _lacking(name: str, message: str, remedy: str, table: Name | None = None) -> Finding:
    return refused(
        name=f"privilege-{name}",
        message=message,
        remedy=remedy,
        table=table,
        forcible=False,
    )


def _ownership(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    user = facts.server.user
    access = {role.name: role for role in facts.roles}
    owned: dict[str, list[Name]] = {role: [] for role in scope.acted_as}
    for name in sorted(scope.relations):
        found = scope.schema.tables.get(name) or scope.schema.views[name]
        owned[found.owner].append(name)
    for role, names in sorted(owned.items()):
        known = access.get(role)
        # Functions and tables of ours are given to the owner, which takes more than its privileges since 16.
        if role == user or (known is not None and known.usage and known.settable):
            continue
        things = ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        what = f"which owns {things}" if names else "which has to be acted as"
        options = " WITH INHERIT TRUE, SET TRUE" if scope.schema.major >= 16 else ""
        yield _lacking(
            "owner",
            f"{user} is neither {role}, {what}, nor a member of it with its privileges",
            f"connect as {role}, or GRANT {quoted(role)} TO {quoted(user)}{options}",
            names[0] if names else None,
        )


def _missing_schemas(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    known = {access.name for access in facts.schemas}
    for name in sorted(scope.schemas - known - {JOURNAL_SCHEMA}):
        yield refused(
            name="schema-missing",
            message=f"There is no schema {name}, where the tenant table is to be made",
            remedy=f"CREATE SCHEMA {quoted(name)}",
            forcible=False,
        )


def _schemas(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    user = quoted(facts.server.user)
    making = scope.schemas_of("CREATE in the schema")
    opening = scope.schemas_of("to grant USAGE of the schema")
    known = {access.name: access for access in facts.schemas}
    for name in sorted(scope.schemas - {JOURNAL_SCHEMA}):
        access = known.get(name)
        if access is None:
            continue
        if name in making and not access.creates:
            yield _lacking(
                "create",
                f"{facts.server.user} may not make tables and indexes in the schema {name}",
                f"GRANT CREATE ON SCHEMA {quoted(name)} TO {user}",
            )
        if name in opening and not access.open_to_application and not access.grants_usage:
            yield _lacking(
                "usage",
                f"{facts.server.user} may not let {scope.application} use the schema {name}",
                f"GRANT USAGE ON SCHEMA {quoted(name)} TO {user} WITH GRANT OPTION",
            )


def _withheld(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """What is everybody's unless it was taken from PUBLIC, and what the owner of a new tenant table needs."""
    user = facts.server.user
    for thing in facts.rights.withheld:
        if thing.table is not None and thing.table not in scope.relations:
            continue
        name = ".".join(map(quoted, thing.names))
        yield _lacking(
            thing.kind.lower(),
            f"{user} may not use the {thing.kind.lower()} {name}",
            f"GRANT USAGE ON {thing.kind} {name} TO {quoted(user)}",
            thing.table,
        )
    there = {access.name for access in facts.rights.schemas}
    for step in scope.steps:
        owner = step.given_to
        if owner is None or step.table.schema not in there:
            continue
        if (owner, step.table.schema) not in facts.rights.makers:
            yield _lacking(
                "owner-create",
                f"{owner}, who is to own {step.table}, may not make tables in the schema {step.table.schema}",
                f"GRANT CREATE ON SCHEMA {quoted(step.table.schema)} TO {quoted(owner)}",
                step.table,
            )


def _workshop(facts: ServerState) -> Iterator[Finding]:
    user, database = quoted(facts.server.user), quoted(facts.server.database)
    access = next((access for access in facts.schemas if access.name == JOURNAL_SCHEMA), None)
    if access is None and not facts.server.can_create_schema:
        yield _lacking(
            "journal",
            f"{facts.server.user} may not create the schema {JOURNAL_SCHEMA}, which holds the journal",
            f"GRANT CREATE ON DATABASE {database} TO {user}",
        )
    if access is not None and not access.creates:
        yield _lacking(
            "journal",
            f"{facts.server.user} may not write into the schema {JOURNAL_SCHEMA}, which holds the journal",
            f"connect as the role that ran tenantry first, or GRANT that role TO {user}",
        )


def _application(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    role = scope.application
    if role is None or not scope.makes_role or role in scope.schema.roles or facts.server.can_create_role:
        return
    yield _lacking(
        "create-role",
        f"{facts.server.user} may not create the application role {role}",
        f"CREATE ROLE {quoted(role)} NOLOGIN as a role that may, or give {facts.server.user} CREATEROLE",
    )
