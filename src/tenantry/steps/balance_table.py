"""The table that holds the balances: a row for each key, or, with hot keys, for each key and slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.ledger import Ledger
from tenantry.model.name import JOURNAL_SCHEMA, Name, shortened
from tenantry.model.plan import Statement
from tenantry.steps.balance import BalanceStep
from tenantry.steps.balance_reviews import forget_reviews, review_tables
from tenantry.steps.introspection import body, hand_over, raw, revoke_default_privileges
from tenantry.steps.movement import unique_columns
from tenantry.steps.step import Before

# The sums are finite, since adding to one that is not would never make it finite again.
_TABLE = sql.SQL("""CREATE TABLE {table} (
  {columns},
  slot smallint NOT NULL,
  quantity numeric NOT NULL DEFAULT 0,
  total_in numeric NOT NULL DEFAULT 0,
  total_out numeric NOT NULL DEFAULT 0,
  movements bigint NOT NULL DEFAULT 0,
  nans bigint NOT NULL DEFAULT 0,
  infinities bigint NOT NULL DEFAULT 0,
  negative_infinities bigint NOT NULL DEFAULT 0,
  last_movement timestamptz,
  version bigint NOT NULL DEFAULT 1,
  CHECK (quantity > '-Infinity' AND quantity < 'Infinity' AND total_in < 'Infinity' AND total_out < 'Infinity')
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)""")
_STATE = sql.SQL("""CREATE TABLE IF NOT EXISTS tenantry.ledgers (
  ledger text PRIMARY KEY,
  stale boolean NOT NULL,
  stale_since timestamptz,
  reason text,
  generation bigint NOT NULL,
  corrections bigint,
  backfilled_at timestamptz
)""")
_STALE = sql.SQL("""INSERT INTO tenantry.ledgers AS known (ledger, stale, stale_since, reason, generation)
VALUES ({ledger}, true, pg_catalog.now(), {reason}, 1)
ON CONFLICT (ledger) DO UPDATE SET stale = true, stale_since = coalesce(known.stale_since, excluded.stale_since),
  reason = CASE WHEN known.stale THEN known.reason ELSE excluded.reason END,
  generation = known.generation + 1, corrections = NULL""")
STATE_TABLES = ("ledgers", "reconciliations", "discrepancies", "drifts")
# ALTER DEFAULT PRIVILEGES may have granted privileges on the new table.
_NOBODY = sql.SQL("""
DECLARE
  grantee text;
BEGIN
  FOR grantee IN SELECT DISTINCT CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END
    FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS e
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = e.grantee
    WHERE c.oid = {oid} AND e.grantee <> c.relowner
  LOOP
    EXECUTE {revoke} || grantee || ' CASCADE';
  END LOOP;
END
""")
_DEFINITION = sql.SQL(
    "SELECT pg_catalog.string_agg(a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', '"
    " ORDER BY a.attnum) || ' ' || (SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i"
    " WHERE i.indexrelid = {index} AND i.indisvalid AND i.indisunique)"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid"
    " WHERE c.oid = {table} AND a.attnum > 0 AND NOT a.attisdropped AND c.relrowsecurity"
    " AND pg_catalog.pg_get_userbyid(c.relowner) = {owner}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceTable(BalanceStep):
    """CREATE TABLE with one unique index, owned by the ledger's owner, under row-level security without a policy: a
    role that is granted privileges on it by mistake still sees no row. Readers query the view."""

    kind: Literal["balance_table"] = "balance_table"
    inspected = ("table", "the table of the balances and its unique index", "is missing, or was altered")

    @property
    def key(self) -> str:
        return f"balance_table:{self.table}"

    @property
    def title(self) -> str:
        return f"create the table of the balances, {self.ledger.storage}, with one row for each key"

    @property
    def subject(self) -> str:
        return f"The table of the balances of {self.table}"

    @property
    def installs(self) -> Ledger:
        return self.ledger

    @property
    def index(self) -> Name:
        return Name(JOURNAL_SCHEMA, shortened(f"{self.ledger.storage.name}_key"))

    def definition(self) -> sql.Composable:
        return _DEFINITION.format(
            table=self.ledger.storage.oid, index=self.index.oid, owner=sql.Literal(self.ledger.owner)
        )

    def apply(self) -> tuple[Statement, ...]:
        table, owner = self.ledger.storage.identifier, sql.Identifier(self.ledger.owner)
        index = sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} ({})").format(
            sql.Identifier(self.index.name), table, unique_columns(self.ledger)
        )
        foreign = sql.SQL("SELECT current_user <> {}").format(sql.Literal(self.ledger.owner))
        absent = sql.SQL("SELECT {} IS NULL").format(self.ledger.storage.oid)
        use = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(JOURNAL_SCHEMA), owner)
        return (
            Statement(sql=_STATE),
            *review_tables(),
            *(Statement(sql=revoke_default_privileges(Name(JOURNAL_SCHEMA, name))) for name in STATE_TABLES),
            Statement(sql=use, when=foreign),
            Statement(sql=sql.SQL("GRANT SELECT ON tenantry.ledgers TO {}").format(owner), when=foreign),
            Statement(sql=stale(self.ledger, "not backfilled yet"), when=absent),
            Statement(sql=_TABLE.format(table=table, columns=self._columns()), when=absent),
            Statement(sql=index),
            *private(self.ledger, self.ledger.storage),
        )

    def _columns(self) -> sql.Composed:
        return sql.SQL(",\n  ").join(
            sql.SQL("{} {}{}{}").format(
                sql.Identifier(column.name), raw(column.type),
                sql.SQL(" COLLATE {}").format(sql.Identifier(*column.collation)) if column.collation else sql.SQL(""),
                sql.SQL("" if column.nullable or column.loose else " NOT NULL"),
            )
            for column in self.ledger.key
        )  # fmt: skip

    def revert(self, before: Before) -> tuple[Statement, ...]:
        tables = (self.ledger.corrections, self.ledger.storage)
        known = sql.SQL("SELECT pg_catalog.to_regclass('tenantry.ledgers') IS NOT NULL")
        forget = sql.SQL("DELETE FROM tenantry.ledgers WHERE ledger = {}").format(sql.Literal(self.ledger.called))
        return (
            *(Statement(sql=sql.SQL("DROP TABLE IF EXISTS {}").format(name.identifier)) for name in tables),
            Statement(sql=forget, when=known),
            *forget_reviews(self.ledger),
        )


def private(ledger: Ledger, table: Name) -> tuple[Statement, ...]:
    """Make a table of tenantry's the property of the ledger's owner, without privileges for anyone else."""
    revoke = sql.Literal(f"REVOKE ALL ON {table.identifier.as_string(None)} FROM ")
    return (
        *hand_over(sql.SQL("TABLE {}").format(table.identifier), ledger.owner),
        Statement(sql=sql.SQL("DO {}").format(body(_NOBODY.format(oid=table.oid, revoke=revoke)))),
        Statement(sql=sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table.identifier)),
    )


def stale(ledger: Ledger, reason: str) -> sql.Composed:
    """Mark the balances as stale until the next backfill. A new `generation` invalidates what an older backfill has
    counted and not yet added."""
    return _STALE.format(ledger=sql.Literal(ledger.called), reason=sql.Literal(reason))
