"""The application role and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.model.schema import Grant
from tenantry.steps.acl import entries, restore
from tenantry.steps.introspection import body, raw
from tenantry.steps.step import Before, Step

# Only superusers may query whether it has a password; a role that was only granted CREATEROLE cannot.
_DROP = sql.SQL("""
BEGIN
  IF pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') THEN
    IF EXISTS (SELECT FROM pg_catalog.pg_authid a
        WHERE a.rolname OPERATOR(pg_catalog.=) {role} AND a.rolpassword IS NOT NULL) THEN
      RETURN;
    END IF;
  END IF;
  {drop};
END
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRole(Step):
    """CREATE ROLE, without LOGIN: a login role is granted to it, or LOGIN and a password are given by hand."""

    kind: Literal["role"] = "role"
    role: str
    carries = True
    of_table = False
    of_role = True
    needs = "CREATEROLE"

    @property
    def key(self) -> str:
        return f"role:{self.role}"

    @property
    def title(self) -> str:
        return f"create the application role {self.role}"

    @property
    def subject(self) -> str:
        return f"The application role {quoted(self.role)}"

    @property
    def application(self) -> str:
        return self.role

    @property
    def stays(self) -> str:
        return f"the role {self.role}"

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = {}").format(
            sql.Literal(self.role)
        )

    def apply(self) -> tuple[Statement, ...]:
        create = sql.SQL("CREATE ROLE {} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS").format(
            sql.Identifier(self.role)
        )
        return (Statement(sql=create),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        # Roles belong to the entire cluster: a role that other objects depend on, or that was granted anything since,
        # stays.
        unused = sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = {0}"
            " AND NOT (r.rolcanlogin OR r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication"
            " OR r.rolbypassrls) AND r.rolinherit AND r.rolconnlimit OPERATOR(pg_catalog.=) -1"
            " AND r.rolvaliduntil IS NULL AND r.rolconfig IS NULL"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s"
            " WHERE s.setrole OPERATOR(pg_catalog.=) r.oid)"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_shdepend d"
            " WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.refobjid = r.oid)"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_shdescription d"
            " WHERE d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.objoid = r.oid)"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_shseclabel l"
            " WHERE l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND l.objoid = r.oid)"
            # Since PostgreSQL 16 a role that creates another is a member of it.
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid OR m.roleid = r.oid"
            " AND m.member <> (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)))"
        ).format(sql.Literal(self.role))
        drop = _DROP.format(role=sql.Literal(self.role), drop=sql.SQL("DROP ROLE {}").format(sql.Identifier(self.role)))
        return (Statement(sql=sql.SQL("DO {}").format(body(drop)), when=unused),)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaUsage(Step):
    """GRANT USAGE on a schema if the application role does not have it already. `table` is in that schema."""

    kind: Literal["schema_usage"] = "schema_usage"
    role: str
    of_table = False
    of_role = True
    needs = "to grant USAGE of the schema"

    @property
    def key(self) -> str:
        return f"schema_usage:{self.table.schema}:{self.role}"

    @property
    def title(self) -> str:
        return f"let {self.role} use the schema {self.table.schema}"

    @property
    def subject(self) -> str:
        return f"USAGE of the schema {quoted(self.table.schema)} for {quoted(self.role)}"

    @property
    def application(self) -> str:
        return self.role

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT 'usage' FROM pg_catalog.pg_roles r, pg_catalog.pg_namespace n"
            " WHERE r.rolname = {} AND n.nspname = {} AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'usage')"
        ).format(sql.Literal(self.role), sql.Literal(self.table.schema))

    def apply(self) -> tuple[Statement, ...]:
        grant = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(
            sql.Identifier(self.table.schema), sql.Identifier(self.role)
        )
        return (Statement(sql=grant),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        revoke = sql.SQL("REVOKE USAGE ON SCHEMA {} FROM {}").format(
            sql.Identifier(self.table.schema), sql.Identifier(self.role)
        )
        when = sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {})"
            " AND EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {})"
        ).format(sql.Literal(self.role), sql.Literal(self.table.schema))
        return (Statement(sql=revoke, when=when),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionGrant(Step):
    """GRANT EXECUTE on a function that the application role runs by writing or reading a table, if PUBLIC may not call
    it. `table` is the first of those in `used_by`; `signature` its oid::regprocedure."""

    kind: Literal["function_grant"] = "function_grant"
    role: str
    signature: str
    used_by: tuple[Name, ...]
    of_role = True

    @property
    def key(self) -> str:
        return f"function_grant:{self.signature}:{self.role}"

    @property
    def title(self) -> str:
        return f"let {self.role} call {self.signature}"

    @property
    def subject(self) -> str:
        return f"EXECUTE of {self.signature} for {quoted(self.role)}"

    @property
    def note(self) -> str:
        return f"{', '.join(map(str, self.used_by))} cannot be read or written without it"

    @property
    def hands_on(self) -> tuple[Literal["ROUTINE", "SEQUENCE"], str, str]:
        return "ROUTINE", self.signature, "EXECUTE"

    @property
    def of_tables(self) -> tuple[Name, ...]:
        return self.used_by

    def wants(self) -> str:
        """The tables that use it come and go without a change of what is granted."""
        return self.signature

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT 'execute' FROM pg_catalog.pg_roles r WHERE r.rolname = {}"
            " AND pg_catalog.has_function_privilege(r.oid, pg_catalog.to_regprocedure({}), 'execute')"
        ).format(sql.Literal(self.role), sql.Literal(self.signature))

    def apply(self) -> tuple[Statement, ...]:
        grant = sql.SQL("GRANT EXECUTE ON ROUTINE {} TO {}").format(raw(self.signature), sql.Identifier(self.role))
        return (Statement(sql=grant),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        revoke = sql.SQL("REVOKE EXECUTE ON ROUTINE {} FROM {}").format(raw(self.signature), sql.Identifier(self.role))
        when = sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {})"
            " AND pg_catalog.to_regprocedure({}) IS NOT NULL"
        ).format(sql.Literal(self.role), sql.Literal(self.signature))
        return (Statement(sql=revoke, when=when),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationGrants(Step):
    """What the application role may and may not do with one relation.

    Grants come before revokes, and are reverted after the revoked privileges are granted again, so that an entry of the
    access list never vanishes in between and keeps its place (hazard 16). `revokes` are (privilege, grantor), on the
    relation or its columns: only the grantor can revoke what it granted.
    """

    kind: Literal["grants"] = "grants"
    role: str
    grants: tuple[str, ...]
    revokes: tuple[tuple[str, str], ...] = ()
    object: Literal["TABLE", "SEQUENCE"] = "TABLE"
    used_by: tuple[Name, ...] = ()
    """Of a sequence: the tables whose columns are filled from it."""
    link: Name | None = None
    """The table by which the policies determine whose rows these are: if it is no longer needed, the policies and this
    step go."""
    left_out: str = ""
    """What other roles may do with it and the application role may not."""
    of_role = True
    journaled = True

    @property
    def key(self) -> str:
        return f"grants:{self.table}:{self.role}"

    @property
    def title(self) -> str:
        ending = f", revoke {', '.join(privilege for privilege, _ in self.revokes)}" if self.revokes else ""
        return f"grant {', '.join(self.grants) or 'nothing'} to {self.role}{ending}"

    @property
    def note(self) -> str:
        return self.left_out

    @property
    def subject(self) -> str:
        return f"What {quoted(self.role)} may do with {self.table}"

    @property
    def acts_as(self) -> tuple[str, ...]:
        return tuple(grantor for _, grantor in self.revokes)

    @property
    def of_tables(self) -> tuple[Name, ...]:
        return self.used_by

    @property
    def withdraws(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(privilege for privilege, _ in self.revokes))

    @property
    def granted_privileges(self) -> tuple[str, ...]:
        return self.grants

    @property
    def hands_on(self) -> tuple[Literal["ROUTINE", "SEQUENCE"], str, str] | None:
        return (
            None
            if self.object == "TABLE"
            else ("SEQUENCE", self.table.identifier.as_string(None), ", ".join(self.grants))
        )

    def wants(self) -> str:
        """What it grants. The revoked privileges are not part of it: others may grant them at any time."""
        return f"{self.object} {', '.join(self.grants)}"

    def definition(self) -> sql.Composable:
        # The role must be in the access list itself and not only through another role: the plan of this step has made
        # sure of that. Privileges that it has revoked once are no longer its concern: one that is granted again stays,
        # and is a finding of validate.
        return sql.SQL(
            "WITH held AS (SELECT * FROM ({entries}) AS e WHERE e.grantee = {role})"
            " SELECT coalesce("
            "pg_catalog.string_agg(DISTINCT held.privilege, ', ' ORDER BY held.privilege), 'nothing')"
            " FROM held WHERE held.on_column IS NULL"
            " HAVING coalesce(pg_catalog.array_agg(held.privilege), '{{}}') @> {grants}::text[]"
        ).format(entries=entries(self.table), role=sql.Literal(self.role), grants=sql.Literal(list(self.grants)))

    def original_grants(self, grants: tuple[Grant, ...], before: Before) -> tuple[Grant, ...]:
        """Without what this step has granted, and with what it has revoked of the privileges `before`."""
        listed = before.get("entries") or []
        had = tuple(
            Grant(grantor=one["grantor"], grantee=one["grantee"] or "PUBLIC", privilege=one["privilege"],
                  grantable=one["grantable"], column=one["on_column"])
            for one in listed if one["grantee"] == self.role
        )  # fmt: skip
        taken = {privilege for privilege, _ in self.revokes}
        known = {(one.privilege, one.column) for one in had}
        others = (
            grant for grant in grants
            if grant.grantee != self.role or grant.column is not None or grant.privilege not in self.grants
            or (grant.privilege, None) in known
        )  # fmt: skip
        return tuple(dict.fromkeys((*others, *(one for one in had if one.privilege in taken))))

    def record(self) -> sql.Composable:
        """The complete access list, if the role is in it: an entry that is revoked for a time loses its place."""
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('revoked', pg_catalog.to_jsonb({revokes}::text[]), 'owner',"
            " (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c WHERE c.oid = {oid}),"
            " 'entries',"
            " CASE WHEN pg_catalog.bool_or({role} IN (e.grantee, e.grantor))"
            " THEN pg_catalog.jsonb_agg(pg_catalog.to_jsonb(e) ORDER BY e.place) END) FROM ({entries}) AS e"
        ).format(
            revokes=sql.Literal([privilege for privilege, _ in self.revokes]), oid=self.table.oid,
            role=sql.Literal(self.role), entries=entries(self.table),
        )  # fmt: skip

    def apply(self) -> tuple[Statement, ...]:
        statements = []
        if self.grants:
            statements.append(self._statement("GRANT {} ON {} {} TO {}", self.grants))
        for privilege, grantor in self.revokes:
            # CASCADE: what the role has granted to others goes, too; it is recorded.
            revoke = "REVOKE {} ON {} {} FROM {} CASCADE"
            statements.append(self._statement(revoke, (privilege,), acting_as=grantor))
        return tuple(statements)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        listed = before.get("entries") or []
        had = {
            entry["privilege"] for entry in listed
            if entry["on_column"] is None and entry["grantee"] == self.role and entry["grantor"] == before["owner"]
        }  # fmt: skip
        ours = tuple(privilege for privilege in self.grants if privilege not in had)
        there = sql.SQL("SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) AND {} IS NOT NULL").format(
            sql.Literal(self.role), self.table.oid
        )
        if listed:
            again = restore(
                self.table, self.object, self.role, before=listed, granted=list(ours), revoked=before["revoked"]
            )
            return (Statement(sql=again, when=there, locks=(Lock(self.table, LockMode.ACCESS_SHARE),)),)
        return (self._statement("REVOKE {} ON {} {} FROM {}", ours, when=there),) if ours else ()

    def _statement(
        self, template: str, privileges: tuple[str, ...], *, acting_as: str | None = None,
        when: sql.Composable | None = None,
    ) -> Statement:  # fmt: skip
        statement = raw(template).format(
            sql.SQL(", ").join(raw(privilege) for privilege in privileges),
            raw(self.object),
            self.table.identifier,
            sql.Identifier(self.role),
        )
        return Statement(
            sql=statement, acting_as=acting_as, when=when, locks=(Lock(self.table, LockMode.ACCESS_SHARE),)
        )
