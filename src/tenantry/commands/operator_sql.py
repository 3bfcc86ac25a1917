"""operator-sql: the script that creates the role that runs tenantry, with the privileges that it needs and no
others."""

from __future__ import annotations

from tenantry.errors import UsageError
from tenantry.execution.operator_rights import to_discover, to_migrate
from tenantry.execution.session import Session, open_session
from tenantry.model.schema import Schema
from tenantry.model.spec import Spec
from tenantry.planning.original_schema import managed_objects
from tenantry.postgres.catalog import EVERY_SCHEMA, read_schema
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal
from tenantry.reports.operator_script import OperatorScript

ROLE = "tenantry_operator"


def operator_sql(target: Target, spec: Spec | None, *, role: str | None = None) -> OperatorScript:
    """The script for this database and spec; without a spec, for discover. `role` is the operator's name, else the
    spec's [operator], else `tenantry_operator`. Changes nothing; its output is the same before and after it was run.

    Raises Refused if a superuser owns a table of the plan, and UsageError for a role that cannot be the operator.
    """
    with open_session(target, purpose="operator-sql") as connection:
        if spec is None:
            schema = read_schema(connection, (EVERY_SCHEMA,), managed=managed_objects(Journal(connection).entries()))
            name = role or ROLE
            _refuse_role(name, schema)
            rights = to_discover(name, schema)
        else:
            session = Session.begin(target, connection, spec)
            schema, name = session.schema, role or spec.operator.role or ROLE
            _refuse_role(name, schema, spec)
            rights = to_migrate(name, session, connection)
        return OperatorScript(role=name, database=schema.database, rights=tuple(rights))


def _refuse_role(role: str, schema: Schema, spec: Spec | None = None) -> None:
    known = schema.roles.get(role)
    if known is not None and known.superuser:
        raise UsageError(f"{role} is a superuser, which needs no grants", remedy="Choose another one: --role NAME.")
    if spec is not None and role in (spec.application.role, *spec.application.legacy_roles):
        raise UsageError(
            f"{role} is a role of the application, and an operator sees rows of all tenants",
            remedy="Choose another one: --role NAME.",
        )
