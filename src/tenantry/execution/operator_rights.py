"""The privileges that the operator needs on a database: for discover, or for everything that a plan and its commands
do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from tenantry.errors import Refused
from tenantry.execution.preflight.privileges import handed_on, unreachable
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.session import Session
from tenantry.model.name import JOURNAL_SCHEMA, Name, shortened
from tenantry.model.plan import Phase
from tenantry.model.schema import Schema
from tenantry.postgres.rights import Rights, read_rights
from tenantry.postgres.server_state import MissingPrivilege
from tenantry.reports.operator_script import Right, make_role, right
from tenantry.steps.introspection import raw


def to_discover(role: str, schema: Schema) -> Iterator[Right]:
    """Those for discover, which only reads."""
    yield from _connecting(role, schema)
    for name in sorted({table.schema for table in schema.tables}):
        yield right("GRANT USAGE ON SCHEMA {} TO {}", name, role, why="discover reads the tables of this schema.")
        yield right(
            "GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}",
            name,
            role,
            why="discover counts rows where paths compete. Tables that are created later are not included.",
        )


def to_migrate(role: str, session: Session, connection: psycopg.Connection[Any]) -> Iterator[Right]:
    """Those for migrate, rollback, backups, checks and balances. Raises Refused if a superuser owns a table of the
    plan."""
    schema, scope = session.schema, Scope.of(session.schema, session.plan, Phase.CONTRACT)
    application = session.spec.application.role
    owners = tuple(sorted((scope.acted_as | _ledger_owners(session)) - {role}))
    _refuse_superusers(owners, scope)
    schemas = sorted(scope.schemas - {JOURNAL_SCHEMA})
    rights = read_rights(connection, roles=owners, makers=owners, schemas=schemas, application=application)
    yield from _connecting(role, schema)
    yield from _memberships(role, owners, schema)
    if not rights.creates:
        yield right(
            "GRANT CREATE ON DATABASE {} TO {}",
            schema.database,
            role,
            why="The first run creates the schema tenantry: the journal, backups, functions.",
        )
    yield from _schemas(role, scope, rights)
    for thing in rights.withheld:
        if thing.table is None or thing.table in scope.relations:
            grant = sql.SQL("GRANT USAGE ON {} {} TO {}").format(
                raw(thing.kind), sql.Identifier(*thing.names), sql.Identifier(role)
            )
            yield Right(statement=grant, why="It was revoked from PUBLIC, and tables or functions of tenantry use it.")
    for one in handed_on(scope, connection):
        if one.owner not in (*owners, role):
            grant = raw("GRANT {} TO {} WITH GRANT OPTION").format(raw(one.what), sql.Identifier(role))
            yield Right(statement=grant, why="The application role gets it, because its tables use it.")
    yield from _application(role, application, scope, schema)
    yield from _of_owners(unreachable(scope, connection), scope, rights)
    yield from _watching(role)


def _connecting(role: str, schema: Schema) -> Iterator[Right]:
    yield make_role(
        role,
        "LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS",
        "The operator. Policies apply to it, and it can create neither roles nor databases; an existing role is not"
        " changed.",
    )
    yield right(
        "GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}",
        schema.database,
        role,
        why="Counting rows, and restoring tables of a dump, uses temporary tables.",
    )


def _memberships(role: str, owners: Sequence[str], schema: Schema) -> Iterator[Right]:
    how = " WITH INHERIT TRUE, SET TRUE" if schema.major >= 16 else ""
    for owner in owners:
        known = schema.roles.get(owner)
        also = " It bypasses row-level security, and so do its members." if known is not None and known.bypasses else ""
        yield right(
            "GRANT {} TO {}" + how,
            owner,
            role,
            why="Only the owner of a table can alter it, create triggers and policies on it, and grant privileges on"
            " it; what is created for it gets the same owner." + also,
        )
        yield right(
            "GRANT TEMPORARY ON DATABASE {} TO {}",
            schema.database,
            owner,
            why="Code of this owner that a statement calls runs as that role, in a temporary function.",
        )


def _schemas(role: str, scope: Scope, rights: Rights) -> Iterator[Right]:
    making = scope.schemas_of("CREATE in the schema")
    opening = scope.schemas_of("to grant USAGE of the schema")
    for access in rights.schemas:
        if access.name in opening and access.name not in rights.opened and not access.grants_usage:
            yield right(
                "GRANT USAGE ON SCHEMA {} TO {} WITH GRANT OPTION",
                access.name,
                role,
                why="isolate grants USAGE of the schema to the application role.",
            )
        elif not access.uses:
            yield right("GRANT USAGE ON SCHEMA {} TO {}", access.name, role, why="Tables in it are changed.")
        if access.name in making and not access.creates:
            yield right(
                "GRANT CREATE ON SCHEMA {} TO {}",
                access.name,
                role,
                why="Indexes, and a new tenant table, need more than ownership of the tables.",
            )


def _application(role: str, application: str, scope: Scope, schema: Schema) -> Iterator[Right]:
    if not scope.makes_role:
        return
    yield make_role(
        application,
        "NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS",
        "The application role. If migrate creates it, the operator needs CREATEROLE; created here, it does not.",
    )
    trying = (
        "validate becomes the application by SET ROLE, and tests what a tenant can do to others. Without it, use"
        " --application-dsn."
    )
    if schema.major >= 16:
        yield right("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE", application, role, why=trying)
        return
    # Before 16 a membership is inherited completely, and with it the policy that hides the quarantine tenant.
    between = shortened(f"{role} as {application}")
    yield make_role(
        between,
        "NOLOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS",
        f"{trying} The role in between does not inherit, so that the application's policies do not apply to the"
        " operator.",
    )
    yield right("GRANT {} TO {}", application, between, why="See above.")
    yield right("GRANT {} TO {}", between, role, why="See above.")


def _of_owners(barred: Iterable[MissingPrivilege], scope: Scope, rights: Rights) -> Iterator[Right]:
    """The privileges that roles need that triggers run as, or that will own a table."""
    why = "Triggers of tenantry run as the owner of their table, and look up the tenant there."
    barred = tuple(barred)
    for role, schema in sorted({(one.role, one.table.schema) for one in barred if not one.usage}):
        yield right("GRANT USAGE ON SCHEMA {} TO {}", schema, role, why=why)
    for one in barred:
        if not one.held:
            grant = sql.SQL("GRANT {} ON {} TO {}").format(
                raw(one.privilege), one.table.identifier, sql.Identifier(one.role)
            )
            yield Right(statement=grant, why=why)
    for step in scope.steps:
        if step.given_to is not None and (step.given_to, step.table.schema) not in rights.makers:
            yield right(
                "GRANT CREATE ON SCHEMA {} TO {}",
                step.table.schema,
                step.given_to,
                why="The tenant table is created there, with this owner.",
            )


def _watching(role: str) -> Iterator[Right]:
    yield right(
        "GRANT pg_read_all_stats TO {}",
        role,
        why="To see what other sessions and statements do, and how far replicas lag. A run works without it, but then"
        " long transactions are not found beforehand, blocking sessions are shown without their query, a backfill does"
        " not wait for replicas, and statements that a new column breaks are not found.",
    )
    yield right(
        "GRANT pg_signal_backend TO {}",
        role,
        optional=True,
        why="Only for `status --terminate`, to terminate sessions of other roles than the tables' owners.",
    )
    yield right(
        "ALTER ROLE {} BYPASSRLS",
        role,
        optional=True,
        why="Only for backups by pg_dump once the tables are isolated, and where your own policies hide"
        " rows from the tables' owner. Copies of tables, the default, do not need it.",
    )


def _ledger_owners(session: Session) -> set[str]:
    schema = session.schema
    names = (
        Name.parse(text, schema=session.spec.schemas[0])
        for ledger in session.spec.ledger
        for text in (ledger.table, ledger.balance)
    )
    found = (schema.tables.get(name) or schema.views.get(name) for name in names)
    return {relation.owner for relation in found if relation is not None}


def _refuse_superusers(owners: Iterable[str], scope: Scope) -> None:
    """A member of a superuser can become it: such a grant would give everything."""
    for owner in owners:
        known = scope.schema.roles.get(owner)
        if known is None or not known.superuser:
            continue
        names = sorted(
            name
            for name in scope.relations
            if (scope.schema.tables.get(name) or scope.schema.views[name]).owner == owner
        )
        what = (
            f"owns {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            if names
            else "must run statements"
        )
        raise Refused(
            f"{owner} {what}, and is a superuser: its members can do everything",
            remedy="ALTER TABLE … OWNER TO a role that is not a superuser, then print the script again.",
            details=[str(name) for name in names],
        )
