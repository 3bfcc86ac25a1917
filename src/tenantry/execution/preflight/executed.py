"""What functions name that run with the rights of the application role, and that it gets no right to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.preflight.findings import refused, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.planning.executed import relations_named

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
    `may`: our role can give it."""

    what: str
    table: Name
    owner: str
    may: bool


def handed_on(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[HandedOn]:
    """What the application role gets besides rights on tables and views."""
    for kind, query in _HELD.items():
        asked = {step.hands_on[1]: step for step in scope.steps if step.hands_on and step.hands_on[0] == kind}
        for name, owner, may in connection.execute(query.format(sql.Literal([*asked]))).fetchall() if asked else ():
            _, _, privilege = asked[name].hands_on or ("", "", "")
            what = f"{privilege} ON {kind} {name}"
            yield HandedOn(what=what, table=asked[name].table, owner=owner, may=may)


def handing_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """What our role may not give the application. Cannot be forced: the step would fail."""
    user = connection.info.user
    for one in handed_on(scope, connection):
        if not one.may:
            yield refused(
                name="privilege-grant",
                table=one.table,
                forcible=False,
                message=f"{user} may not grant {one.what} to the application role: it is {one.owner}'s to give",
                remedy=f"GRANT {one.what} TO {quoted(user)} WITH GRANT OPTION, or connect as {one.owner}",
            )


def executed_findings(scope: Scope) -> Iterator[Finding]:
    """Told from their texts, for the tables that the run lets the application write, and the views."""
    role = scope.application
    if role is None:
        return
    given = {step.table: step.gives for step in scope.steps if step.gives is not None}
    told: set[tuple[str, str, Name]] = set()
    for name in sorted(given):
        table, view = scope.schema.tables.get(name), scope.schema.views.get(name)
        found = view if view is not None else table if "INSERT" in given[name] else None
        for one in found.executes if found is not None else ():
            for privilege, relation in relations_named(scope.schema, one):
                known = scope.schema.tables.get(relation) or scope.schema.views[relation]
                root = scope.schema.whole(relation)
                granted = privilege in (given.get(root) or given.get(relation) or ()) or any(
                    grant.grantee in (role, "PUBLIC") and grant.privilege == privilege for grant in known.grants
                )
                if not granted and (one.signature, privilege, relation) not in told:
                    told.add((one.signature, privilege, relation))
                    by = (
                        f", which the trigger {one.trigger} on {name} runs," if one.trigger else f", which {name} uses,"
                    )
                    yield warned(
                        name="application-lacks-privilege",
                        table=name,
                        message=f"{one.signature}{by} acts with the rights of {role}, and seems to need {privilege} on"
                        f" {relation}, which {role} does not get",
                        remedy=f"GRANT {privilege} ON {relation} TO {quoted(role)}, or make it SECURITY DEFINER",
                    )
