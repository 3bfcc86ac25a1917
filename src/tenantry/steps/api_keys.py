"""API keys: the table, the only function with which the application looks a key up, and who may call it.

Keys end with their tenant. If they stayed valid, whoever has one would be served as a later tenant with the same key.

The table belongs to the operator, and no other role may read it. The function runs as its owner with a pinned
search_path and returns the key with the given lookup part. A caller that does not know the lookup part gets no row, and
nobody gets more than the hash of a key. The function records that a key was used, at most once a minute, and only if
its hash was presented. It does not wait for a lock, and records nothing in a read-only transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import JOURNAL_SCHEMA, Name, quoted
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.introspection import body, revoke_default_privileges, trigger_definition
from tenantry.steps.step import Before, Step
from tenantry.steps.trigger import PINNED, drop_triggers, shut_function

API_KEYS = Name(JOURNAL_SCHEMA, "api_keys")
LOOKUP = '"tenantry"."api_key"(text, bytea)'

# No foreign key to the tenant table: a key that has ended stays in the list of keys when its tenant is deleted.
_TABLE = sql.SQL("""CREATE TABLE IF NOT EXISTS {} (
  lookup text PRIMARY KEY,
  hash bytea NOT NULL,
  tenant text NOT NULL,
  name text NOT NULL,
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  created_by text NOT NULL DEFAULT session_user,
  ends_at timestamptz,
  replaced_by text,
  last_used_at timestamptz
)""").format(API_KEYS.identifier)
_BODY = sql.SQL("""
BEGIN
  IF NOT pg_catalog.current_setting('transaction_read_only')::boolean
    AND pg_catalog.current_setting('transaction_isolation') = 'read committed'
  THEN
    UPDATE tenantry.api_keys AS used SET last_used_at = pg_catalog.now()
    WHERE used.lookup = (
      SELECT known.lookup FROM tenantry.api_keys AS known
      WHERE known.lookup = $1 AND known.hash = $2
        AND (known.ends_at IS NULL OR known.ends_at > pg_catalog.now())
        AND (known.last_used_at IS NULL OR known.last_used_at < pg_catalog.now() - interval '1 minute')
      FOR NO KEY UPDATE SKIP LOCKED
    );
  END IF;
  RETURN QUERY SELECT known.hash, known.tenant, known.scopes, known.ends_at
    FROM tenantry.api_keys AS known WHERE known.lookup = $1;
END
""")
_FUNCTION = sql.SQL("""CREATE OR REPLACE FUNCTION {name}
  (text, bytea DEFAULT NULL, OUT hash bytea, OUT tenant text, OUT scopes text[], OUT ends_at timestamptz)
  RETURNS SETOF record ROWS 1 LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = {path} AS {body}""").format(
    name=sql.Identifier(JOURNAL_SCHEMA, "api_key"), path=sql.SQL(PINNED), body=body(_BODY)
)
_DEFINITION = sql.SQL(
    "SELECT pg_catalog.concat(pg_catalog.pg_get_functiondef(p.oid), pg_catalog.pg_get_userbyid(p.proowner),"
    " (SELECT pg_catalog.string_agg(pg_catalog.concat(a.attname, ' ', pg_catalog.format_type(a.atttypid, a.atttypmod)),"
    " ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))"
    " FROM pg_catalog.pg_proc p, pg_catalog.pg_class c"
    " WHERE p.oid = pg_catalog.to_regprocedure({function}) AND c.oid = {table} AND c.relrowsecurity"
).format(function=sql.Literal(LOOKUP), table=API_KEYS.oid)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys(Step):
    """CREATE TABLE for API keys, under row security without a policy, and the function that looks one up. `table` is
    the tenant table, which is not touched."""

    kind: Literal["api_keys"] = "api_keys"
    of_table = False
    compared = True
    in_place = True
    preserved = True
    carries = True

    @property
    def key(self) -> str:
        return "api_keys"

    @property
    def title(self) -> str:
        return f"create the table of API keys, {API_KEYS}, and the function that looks one up"

    @property
    def subject(self) -> str:
        return "The API keys"

    @property
    def loses(self) -> str:
        return "API keys"

    def values(self) -> sql.Composable:
        return sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(API_KEYS.identifier)

    def definition(self) -> sql.Composable:
        return _DEFINITION

    def apply(self) -> tuple[Statement, ...]:
        secure = sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(API_KEYS.identifier)
        return (
            Statement(sql=_TABLE),
            Statement(sql=revoke_default_privileges(API_KEYS)),
            Statement(sql=secure),
            Statement(sql=_FUNCTION),
            shut_function(LOOKUP),
        )

    def keep(self, before: Before) -> tuple[Statement, ...]:
        """The keys stay, but the application may no longer look them up."""
        return ()

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return (
            Statement(sql=sql.SQL("DROP FUNCTION IF EXISTS {}").format(sql.SQL(LOOKUP))),
            Statement(sql=sql.SQL("DROP TABLE IF EXISTS {}").format(API_KEYS.identifier)),
        )


TENANTS_TRIGGER = "~tenantry_keys"
TRUNCATE_TRIGGER = "~tenantry_keys_truncate"
_TENANTS_FUNCTION = Name(JOURNAL_SCHEMA, "api_key_tenants")
# It names no table or column of the user's: the column with the tenant's key is found as the column of the trigger,
# which follows a rename. The owner of the tenant table may change the type of that column: format() calls the type's
# output function, which only a superuser can create, and no cast of the owner's.
_TENANTS_BODY = sql.SQL("""
DECLARE
  written text;
  was text;
  is_now text;
BEGIN
  IF TG_OP <> 'TRUNCATE' THEN
    SELECT pg_catalog.format('SELECT pg_catalog.format(''%%s'', ($1).%I)', a.attname) INTO STRICT written
      FROM pg_catalog.pg_trigger AS t
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.tgrelid AND a.attnum = t.tgattr[0]
      WHERE t.tgrelid = TG_RELID AND t.tgname = TG_NAME;
    EXECUTE written INTO was USING OLD;
    IF TG_OP = 'UPDATE' THEN
      EXECUTE written INTO is_now USING NEW;
    END IF;
  END IF;
  UPDATE tenantry.api_keys AS known SET ends_at = pg_catalog.now()
  WHERE (TG_OP = 'TRUNCATE' OR known.tenant = was AND is_now IS DISTINCT FROM was)
    AND (known.ends_at IS NULL OR known.ends_at > pg_catalog.now());
  RETURN NULL;
END
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyTenants(Step):
    """AFTER DELETE, UPDATE or TRUNCATE of the tenant table: the API keys of a tenant end when it is deleted or its key
    changes.

    The function runs as the owner of the keys, whoever deletes the tenant, and reads no table of the user.
    """

    kind: Literal["api_key_tenants"] = "api_key_tenants"
    column: str

    compared = True
    preserved = True

    @property
    def key(self) -> str:
        return "api_key_tenants"

    @property
    def title(self) -> str:
        return f"end the API keys of a tenant that is deleted from {self.table}, or whose key changes there"

    @property
    def subject(self) -> str:
        return f"The set of triggers on {self.table} that ends API keys together with their tenants"

    @property
    def trigger_function(self) -> Name:
        return _TENANTS_FUNCTION

    @property
    def kept_triggers(self) -> tuple[str, ...]:
        return (TENANTS_TRIGGER, TRUNCATE_TRIGGER)

    def definition(self) -> sql.Composable:
        one, other = (trigger_definition(self.table, name) for name in self.kept_triggers)
        return sql.SQL("SELECT ({}) || ({})").format(one, other)

    def apply(self) -> tuple[Statement, ...]:
        function = sql.SQL(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = {} AS {}"
        ).format(_TENANTS_FUNCTION.identifier, sql.SQL(PINNED), body(_TENANTS_BODY))
        rows = sql.SQL("DELETE OR UPDATE OF {} ON {} FOR EACH ROW").format(
            sql.Identifier(self.column), self.table.identifier
        )
        whole = sql.SQL("TRUNCATE ON {} FOR EACH STATEMENT").format(self.table.identifier)
        return (
            Statement(sql=function),
            shut_function(f"{_TENANTS_FUNCTION.identifier.as_string(None)}()"),
            *self._trigger(TENANTS_TRIGGER, rows),
            *self._trigger(TRUNCATE_TRIGGER, whole),
        )

    def _trigger(self, name: str, events: sql.Composable) -> tuple[Statement, ...]:
        locks = (Lock(self.table, LockMode.SHARE_ROW_EXCLUSIVE),)
        create = sql.SQL("CREATE TRIGGER {} AFTER {} EXECUTE FUNCTION {}()").format(
            sql.Identifier(name), events, _TENANTS_FUNCTION.identifier
        )
        always = sql.SQL("ALTER TABLE ONLY {} ENABLE ALWAYS TRIGGER {}").format(
            self.table.identifier, sql.Identifier(name)
        )
        return (
            *drop_triggers(self.table, name, ()),
            Statement(sql=create, locks=locks),
            Statement(sql=always, locks=locks),
        )

    def keep(self, before: Before) -> tuple[Statement, ...]:
        """The triggers stay with the keys, which end with their tenants meanwhile."""
        return ()

    def revert(self, before: Before) -> tuple[Statement, ...]:
        drop = sql.SQL("DROP FUNCTION IF EXISTS {}()").format(_TENANTS_FUNCTION.identifier)
        return (
            *drop_triggers(self.table, TENANTS_TRIGGER, ()),
            *drop_triggers(self.table, TRUNCATE_TRIGGER, ()),
            Statement(sql=drop),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyReader(Step):
    """GRANT EXECUTE on the function that looks a key up to the application role, and USAGE on its schema."""

    kind: Literal["api_key_reader"] = "api_key_reader"
    role: str
    of_table = False
    of_role = True

    @property
    def key(self) -> str:
        return f"api_key_reader:{self.role}"

    @property
    def title(self) -> str:
        return f"let {self.role} look API keys up, one at a time"

    @property
    def subject(self) -> str:
        return f"The right of {quoted(self.role)} to look API keys up"

    @property
    def application(self) -> str:
        return self.role

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT 'execute' FROM pg_catalog.pg_roles r, pg_catalog.pg_namespace n"
            " WHERE r.rolname = {} AND n.nspname = {} AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'usage')"
            " AND pg_catalog.has_function_privilege(r.oid, pg_catalog.to_regprocedure({}), 'execute')"
        ).format(sql.Literal(self.role), sql.Literal(JOURNAL_SCHEMA), sql.Literal(LOOKUP))

    def apply(self) -> tuple[Statement, ...]:
        role, schema = sql.Identifier(self.role), sql.Identifier(JOURNAL_SCHEMA)
        return (
            Statement(sql=sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role)),
            Statement(sql=sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(LOOKUP), role)),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        role, schema = sql.Identifier(self.role), sql.Identifier(JOURNAL_SCHEMA)
        known = sql.SQL("SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = {})").format(
            sql.Literal(self.role)
        )
        there = sql.SQL("{} AND pg_catalog.to_regprocedure({}) IS NOT NULL").format(known, sql.Literal(LOOKUP))
        return (
            Statement(sql=sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM {}").format(sql.SQL(LOOKUP), role), when=there),
            Statement(sql=sql.SQL("REVOKE USAGE ON SCHEMA {} FROM {}").format(schema, role), when=known),
        )
