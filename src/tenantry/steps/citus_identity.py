"""Identity columns while tables are distributed: Citus does not turn a table that has one into a plain table again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import quoted
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.model.schema import Table
from tenantry.steps.introspection import body
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step

_CODE = sql.SQL("""
DECLARE
  relation CONSTANT pg_catalog.text := {name};
  col CONSTANT pg_catalog.text := {column};
  was record;
  called pg_catalog.text;
  options pg_catalog.text;
  last_one pg_catalog.int8;
  is_used pg_catalog.bool;
  commands pg_catalog.text[];
  one pg_catalog.text;
BEGIN
  SELECT c.oid, c.relname, n.nspname, c.relowner, c.relacl, t.relowner AS owner, q.* INTO STRICT was
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid
  JOIN pg_catalog.pg_class t ON t.oid = {oid}
  WHERE c.oid = pg_catalog.pg_get_serial_sequence(relation, col)::pg_catalog.regclass;
  called := pg_catalog.format('%I.%I', was.nspname, was.relname);
  EXECUTE 'SELECT last_value, is_called FROM ' || called INTO last_one, is_used;
  options := pg_catalog.format('INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s %s', was.seqincrement,
    was.seqmin, was.seqmax, was.seqstart, was.seqcache, CASE WHEN was.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END);
  commands := ARRAY(
    SELECT pg_catalog.format('GRANT %s ON SEQUENCE %s TO %s%s', e.privilege_type, called,
      CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END,
      CASE WHEN e.is_grantable AND e.grantee <> was.relowner THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_catalog.aclexplode(was.relacl) WITH ORDINALITY
      AS e(grantor, grantee, privilege_type, is_grantable, position) ORDER BY e.position);
  IF pg_catalog.obj_description(was.oid, 'pg_class') IS NOT NULL THEN
    commands := commands || pg_catalog.format('COMMENT ON SEQUENCE %s IS %L', called,
      pg_catalog.obj_description(was.oid, 'pg_class'));
  END IF;
  {change}
  PERFORM pg_catalog.setval(called::pg_catalog.regclass, last_one, is_used);
  FOR one IN
    SELECT DISTINCT CASE WHEN e.grantee = 0 THEN 'PUBLIC'
      ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END
    FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS e
    WHERE c.oid = called::pg_catalog.regclass AND e.grantee <> c.relowner
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON SEQUENCE %s FROM %s', called, one);
  END LOOP;
  FOREACH one IN ARRAY commands LOOP
    EXECUTE one;
  END LOOP;
  UPDATE tenantry.steps AS s SET relation = called::pg_catalog.regclass
  WHERE s.relation::pg_catalog.oid = was.oid;
END
""")
_TO_DEFAULT = sql.SQL("""EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I DROP IDENTITY', relation, col);
  EXECUTE pg_catalog.format('CREATE SEQUENCE %s AS %s %s', called, pg_catalog.format_type(was.seqtypid, NULL), options);
  EXECUTE pg_catalog.format('ALTER SEQUENCE %s OWNER TO %I', called, pg_catalog.pg_get_userbyid(was.owner));
  EXECUTE pg_catalog.format('ALTER SEQUENCE %s OWNED BY %s.%I', called, relation, col);
  EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT pg_catalog.nextval(%L::pg_catalog.regclass)',
    relation, col, called);""")
_TO_IDENTITY = sql.SQL("""EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', relation, col);
  EXECUTE 'DROP SEQUENCE ' || called;
  EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I ADD GENERATED {kind} AS IDENTITY (SEQUENCE NAME %s %s)',
    relation, col, called, options);""")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityToDefault(Step):
    """Makes an identity column one whose default numbers rows from a sequence, with the same name, position, options
    and privileges. Its revert makes it an identity column again."""

    kind: Literal["identity_to_default"] = "identity_to_default"
    column: str
    identity: str
    """pg_attribute.attidentity: a for GENERATED ALWAYS, d for BY DEFAULT."""
    engine = True

    @property
    def key(self) -> str:
        return f"identity_to_default:{self.table}:{self.column}"

    @property
    def title(self) -> str:
        return f"number {self.column} from a sequence instead of GENERATED … AS IDENTITY"

    @property
    def subject(self) -> str:
        return f"The default of {self.table}.{quoted(self.column)}"

    @property
    def note(self) -> str:
        if self.identity != "a":
            return ""
        return f"an INSERT may give {self.column} a value of its own, which GENERATED ALWAYS has refused"

    def original_table(self, table: Table, before: Before) -> Table:
        columns = tuple(
            replace(one, identity=self.identity, default=None) if one.name == self.column else one
            for one in table.columns
        )
        return replace(table, columns=columns)

    def renamed(self, names: StaticNames) -> IdentityToDefault:
        return replace(self, column=names.column(self.table, self.column))

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT 'default' FROM pg_catalog.pg_attribute a WHERE a.attrelid = {} AND a.attname = {}"
            " AND NOT a.attisdropped AND a.attidentity = '' AND a.atthasdef"
        ).format(self.table.oid, sql.Literal(self.column))

    def _code(self, change: sql.Composable) -> sql.Composed:
        code = _CODE.format(
            name=sql.Literal(self.table.identifier.as_string(None)), column=sql.Literal(self.column),
            oid=self.table.oid, change=change,
        )  # fmt: skip
        return sql.SQL("DO {}").format(body(code))

    def apply(self) -> tuple[Statement, ...]:
        return (Statement(sql=self._code(_TO_DEFAULT), locks=(Lock(self.table, LockMode.ACCESS_EXCLUSIVE),)),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        kind = sql.SQL("ALWAYS" if self.identity == "a" else "BY DEFAULT")
        when = sql.SQL("SELECT EXISTS ({})").format(self.definition())
        locks = (Lock(self.table, LockMode.ACCESS_EXCLUSIVE),)
        return (Statement(sql=self._code(_TO_IDENTITY.format(kind=kind)), locks=locks, when=when),)
