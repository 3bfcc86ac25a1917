"""Missing privileges: of tenantry's role, of the owners of triggers, and of the application role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.preflight.findings import refused, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import JOURNAL_SCHEMA, Name, quoted
from tenantry.model.wording import listed
from tenantry.planning.executed import relations_named
from tenantry.postgres.preflight import read_barred
from tenantry.postgres.server_state import MissingPrivilege, ServerState


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
        # Functions and tables of tenantry are given to the owner, which since 16 needs SET in addition to its
        # privileges.
        if role == user or (known is not None and known.usage and known.settable):
            continue
        what = f"which owns {listed(names)}" if names else "as which statements have to run"
        options = " WITH INHERIT TRUE, SET TRUE" if scope.schema.major >= 16 else ""
        yield _lacking(
            "owner",
            f"{user} is not {role}, {what}, and is not a member of {role} that inherits its privileges",
            f"connect as {role}, or GRANT {quoted(role)} TO {quoted(user)}{options}",
            names[0] if names else None,
        )


def _missing_schemas(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    known = {access.name for access in facts.schemas}
    for name in sorted(scope.schemas - known - {JOURNAL_SCHEMA}):
        yield refused(
            name="schema-missing",
            message=f"The schema {name}, in which the tenant table is to be created, does not exist",
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
                f"{facts.server.user} may not create tables and indexes in the schema {name}",
                f"GRANT CREATE ON SCHEMA {quoted(name)} TO {user}",
            )
        if name in opening and not access.open_to_application and not access.grants_usage:
            yield _lacking(
                "usage",
                f"{facts.server.user} may not grant USAGE on the schema {name} to {scope.application}",
                f"GRANT USAGE ON SCHEMA {quoted(name)} TO {user} WITH GRANT OPTION",
            )


def _withheld(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """Privileges that everybody has unless they were revoked from PUBLIC, and those that the owner of a new tenant
    table needs."""
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
                f"{owner}, the future owner of {step.table}, may not create tables in the schema {step.table.schema}",
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
            f"{facts.server.user} may not create objects in the schema {JOURNAL_SCHEMA}, which holds the journal",
            f"connect as the role that ran tenantry before, or GRANT that role TO {user}",
        )


def _application(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    role = scope.application
    if role is None or not scope.makes_role or role in scope.schema.roles or facts.server.can_create_role:
        return
    yield _lacking(
        "create-role",
        f"{facts.server.user} may not create the application role {role}",
        f"CREATE ROLE {quoted(role)} NOLOGIN as another role, or ALTER ROLE {quoted(facts.server.user)} CREATEROLE",
    )


def reach_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Schemas and tables that a trigger uses and its role may not use. None can be forced."""
    barred = unreachable(scope, connection)
    closed = {(reach.role, reach.table.schema): reach.table for reach in reversed(barred) if not reach.usage}
    for (role, schema), table in sorted(closed.items()):
        yield _lacking_right(role, table, f"use the schema {schema}", f"USAGE ON SCHEMA {quoted(schema)}")
    for reach in barred:
        if not reach.held:
            yield _lacking_right(
                reach.role, reach.table, f"{reach.privilege} there", f"{reach.privilege} ON {reach.table}"
            )


def unreachable(scope: Scope, connection: psycopg.Connection[Any]) -> tuple[MissingPrivilege, ...]:
    """Privileges on a table that its trigger functions' owner lacks."""
    return read_barred(connection, sorted({reach for step in scope.steps for reach in step.reaches()}))


def _lacking_right(role: str, table: Name, what: str, grant: str) -> Finding:
    return refused(
        name="owner-lacks-privilege",
        table=table,
        forcible=False,
        message=f"{role}, as which triggers run that find tenants in {table}, may not {what}",
        remedy=f"GRANT {grant} TO {quoted(role)}",
    )


_HELD = {
    "ROUTINE": sql.SQL(
        "SELECT asked.name, pg_catalog.pg_get_userbyid(p.proowner)::text, pg_catalog.pg_has_role(p.proowner, 'usage')"
        " OR pg_catalog.has_function_privilege(p.oid, 'execute with grant option')"
        " FROM pg_catalog.unnest({}::text[]) AS asked(name)"
        " JOIN pg_catalog.pg_proc p ON p.oid = pg_catalog.to_regprocedure(asked.name)"
    ),
    "SEQUENCE": sql.SQL(
        "SELECT asked.name, pg_catalog.pg_get_userbyid(c.relowner)::text, pg_catalog.pg_has_role(c.relowner, 'usage')"
        " OR pg_catalog.has_sequence_privilege(c.oid, 'usage with grant option')"
        " FROM pg_catalog.unnest({}::text[]) AS asked(name)"
        " JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(asked.name)"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOn:
    """A privilege that the application role gets on an object of `owner`, such as `USAGE ON SEQUENCE s`, for a table;
    `may`: tenantry's role can grant it."""

    what: str
    table: Name
    owner: str
    may: bool


def handed_on(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[HandedOn]:
    """The privileges that the application role gets, except those on tables and views."""
    for kind, query in _HELD.items():
        asked = {step.hands_on[1]: step for step in scope.steps if step.hands_on and step.hands_on[0] == kind}
        for name, owner, may in connection.execute(query.format(sql.Literal([*asked]))).fetchall() if asked else ():
            _, _, privilege = asked[name].hands_on or ("", "", "")
            what = f"{privilege} ON {kind} {name}"
            yield HandedOn(what=what, table=asked[name].table, owner=owner, may=may)


def handing_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Privileges that tenantry's role may not grant to the application. Cannot be forced: the step would fail."""
    user = connection.info.user
    for one in handed_on(scope, connection):
        if not one.may:
            yield refused(
                name="privilege-grant",
                table=one.table,
                forcible=False,
                message=f"{user} may not grant {one.what} to the application role: its owner is {one.owner}",
                remedy=f"GRANT {one.what} TO {quoted(user)} WITH GRANT OPTION, or connect as {one.owner}",
            )


def executed_findings(scope: Scope) -> Iterator[Finding]:
    """Found in the functions' texts, for the tables that the application may write to, and for views."""
    role = scope.application
    if role is None:
        return
    given = {step.table: step.granted_privileges for step in scope.steps if step.granted_privileges is not None}
    told: set[tuple[str, str, Name]] = set()
    for name in sorted(given):
        table, view = scope.schema.tables.get(name), scope.schema.views.get(name)
        found = view if view is not None else table if "INSERT" in given[name] else None
        for one in found.executes if found is not None else ():
            for privilege, relation in relations_named(scope.schema, one):
                known = scope.schema.tables.get(relation) or scope.schema.views[relation]
                root = scope.schema.topmost(relation)
                granted = privilege in (given.get(root) or given.get(relation) or ()) or any(
                    grant.grantee in (role, "PUBLIC") and grant.privilege == privilege for grant in known.grants
                )
                if not granted and (one.signature, privilege, relation) not in told:
                    told.add((one.signature, privilege, relation))
                    by = f", called by the trigger {one.trigger} on {name}," if one.trigger else f", used by {name},"
                    yield warned(
                        name="application-lacks-privilege",
                        table=name,
                        message=f"{one.signature}{by} runs with the privileges of {role}, and seems to need {privilege}"
                        f" on {relation}, which {role} does not get",
                        remedy=f"GRANT {privilege} ON {relation} TO {quoted(role)}, or make it SECURITY DEFINER",
                    )
