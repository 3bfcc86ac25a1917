"""The setting with which Citus passes the tenant of a session on to the nodes that have its rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import quoted
from tenantry.model.plan import ExecutionMode, Statement
from tenantry.steps.introspection import body
from tenantry.steps.step import Before, Step

SETTING = "citus.propagate_set_commands"

_ROLES = """
WITH RECURSIVE users(oid) AS (
  SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = {role}
  UNION
  SELECT m.member FROM users AS u JOIN pg_catalog.pg_auth_members m ON m.roleid = u.oid
)
SELECT r.oid, r.rolname::pg_catalog.text AS name,
  r.rolcanlogin AND pg_catalog.pg_has_role(r.oid, (SELECT a.oid FROM pg_catalog.pg_roles a WHERE a.rolname = {role}),
    'USAGE') AS login,
  (SELECT pg_catalog.substring(c, '=(.*)$') FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) AS c
   WHERE s.setrole = r.oid AND s.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database d
     WHERE d.datname = pg_catalog.current_database())
   AND pg_catalog.starts_with(c, 'citus.propagate_set_commands=')) AS value
FROM users AS u JOIN pg_catalog.pg_roles r ON r.oid = u.oid
WHERE r.rolname = {role} OR r.rolcanlogin AND NOT r.rolsuper"""
"""The application role, and the roles that log in and are members of it, each with whether it can log in and has its
privileges at once, and the value of the setting. Citus connects to the other nodes as the session's role."""


def application_users(role: str) -> sql.Composed:
    """A query of these roles: OID, name, whether it logs in as the application, and the value."""
    return sql.SQL(_ROLES).format(role=sql.Literal(role))


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagateTenant(Step):
    """ALTER ROLE … IN DATABASE … SET citus.propagate_set_commands = 'local', for the application role and the roles
    that log in as members of it. Without it, SET LOCAL does not reach the nodes, and no row is visible there."""

    kind: Literal["tenant_propagated"] = "tenant_propagated"
    role: str
    of_table = False
    of_role = True
    engine = True

    @property
    def key(self) -> str:
        return f"tenant_propagated:{self.role}"

    @property
    def title(self) -> str:
        return f"pass SET LOCAL of sessions of {self.role} on to all nodes"

    @property
    def subject(self) -> str:
        return f"The setting {SETTING} of {quoted(self.role)}"

    @property
    def note(self) -> str:
        return f"the application has to connect again: only new sessions of {self.role} have {SETTING}"

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT 'local' WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = {}) AND NOT EXISTS"
            " (SELECT FROM ({}) AS users WHERE users.value IS DISTINCT FROM 'local')"
        ).format(sql.Literal(self.role), application_users(self.role))

    def record(self) -> sql.Composable:
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('values', COALESCE(pg_catalog.jsonb_object_agg(u.name, u.value),"
            " '{{}}')) FROM ({}) AS u"
        ).format(application_users(self.role))

    def apply(self) -> tuple[Statement, ...]:
        code = sql.SQL(
            "DECLARE one record; BEGIN FOR one IN SELECT u.* FROM ({}) AS u WHERE u.value IS DISTINCT FROM 'local' LOOP"
            " EXECUTE pg_catalog.format('ALTER ROLE %I IN DATABASE %I SET citus.propagate_set_commands = ''local''',"
            " one.name, pg_catalog.current_database()); END LOOP; END"
        ).format(application_users(self.role))
        return (Statement(sql=sql.SQL("DO {}").format(body(code)), manner=ExecutionMode.ENGINE),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        """The recorded value, or none; of roles that came to be members since, too."""
        was = sql.Literal(json.dumps(before.get("values", {})))
        code = sql.SQL(
            "DECLARE one record; BEGIN FOR one IN SELECT u.*, {}::pg_catalog.jsonb ->> u.name AS was FROM ({}) AS u"
            " WHERE u.value = 'local' AND {}::pg_catalog.jsonb ->> u.name IS DISTINCT FROM 'local' LOOP"
            " EXECUTE pg_catalog.format('ALTER ROLE %I IN DATABASE %I RESET citus.propagate_set_commands',"
            " one.name, pg_catalog.current_database());"
            " IF one.was IS NOT NULL THEN"
            " EXECUTE pg_catalog.format('ALTER ROLE %I IN DATABASE %I SET citus.propagate_set_commands = %L',"
            " one.name, pg_catalog.current_database(), one.was); END IF; END LOOP; END"
        ).format(was, application_users(self.role), was)
        return (Statement(sql=sql.SQL("DO {}").format(body(code)), manner=ExecutionMode.ENGINE),)
