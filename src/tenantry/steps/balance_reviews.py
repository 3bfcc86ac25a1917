"""The records of reconciliations: the last time without differences, the differences, decisions, and how much each key
has drifted.

Rows are found by `ledger` (Ledger.called) and `key` (the key's columns as a JSON object). Whoever writes here holds a
lock on the ledger's row of tenantry.ledgers.
"""

from __future__ import annotations

from psycopg import sql

from tenantry.model.ledger import Ledger
from tenantry.model.name import JOURNAL_SCHEMA
from tenantry.model.plan import Statement

# `snapshot`: rows that it does not show have not been checked by a reconciliation yet. `watched`: the triggers at that
# time. The scrub: the share, from 0 to 1, of the pages that there were when it began.
_RECONCILIATIONS = sql.SQL("""CREATE TABLE IF NOT EXISTS tenantry.reconciliations (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  ledger text NOT NULL,
  run text NOT NULL,
  at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  whole boolean NOT NULL,
  snapshot pg_snapshot NOT NULL,
  watched text NOT NULL,
  scrub_began timestamptz NOT NULL,
  scrub_pages jsonb NOT NULL,
  scrubbed double precision NOT NULL,
  compared bigint NOT NULL,
  corrected bigint NOT NULL,
  reviews bigint NOT NULL
)""")
# `quantity` to `movements`: the difference of the balance, less what a person has decided to keep. `recent` counts the
# movements since the last good point, `evidence` has the newest of them.
_DISCREPANCIES = sql.SQL("""CREATE TABLE IF NOT EXISTS tenantry.discrepancies (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  ledger text NOT NULL,
  key jsonb NOT NULL,
  tenant text,
  run text NOT NULL,
  found_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  seen_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  state text NOT NULL CHECK (state IN ('corrected', 'open', 'accepted', 'rejected', 'gone')),
  reason text NOT NULL,
  size numeric NOT NULL,
  quantity numeric NOT NULL,
  total_in numeric NOT NULL,
  total_out numeric NOT NULL,
  movements numeric NOT NULL,
  ledger_quantity numeric NOT NULL,
  ledger_movements numeric NOT NULL,
  balance_quantity numeric NOT NULL,
  balance_movements numeric NOT NULL,
  since timestamptz,
  recent bigint,
  evidence jsonb NOT NULL DEFAULT '[]',
  decided_at timestamptz,
  decided_by text,
  note text
)""")
_OPEN = sql.SQL("""CREATE UNIQUE INDEX IF NOT EXISTS discrepancies_open ON tenantry.discrepancies
  (ledger, md5(key::text)) WHERE state = 'open'""")
_DRIFTS = sql.SQL("""CREATE TABLE IF NOT EXISTS tenantry.drifts (
  ledger text NOT NULL,
  key jsonb NOT NULL,
  total numeric NOT NULL DEFAULT 0,
  quantity numeric NOT NULL DEFAULT 0,
  total_in numeric NOT NULL DEFAULT 0,
  total_out numeric NOT NULL DEFAULT 0,
  movements numeric NOT NULL DEFAULT 0,
  nans numeric NOT NULL DEFAULT 0,
  infinities numeric NOT NULL DEFAULT 0,
  negative_infinities numeric NOT NULL DEFAULT 0
)""")
_DRIFT = sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS drifts_key ON tenantry.drifts (ledger, md5(key::text))")


def review_tables() -> tuple[Statement, ...]:
    """The statements that create the tables where they do not exist yet."""
    return tuple(Statement(sql=one) for one in (_RECONCILIATIONS, _DISCREPANCIES, _OPEN, _DRIFTS, _DRIFT))


def forget_reviews(ledger: Ledger) -> tuple[Statement, ...]:
    """The statements that delete a ledger's records."""
    return tuple(
        Statement(
            sql=sql.SQL("DELETE FROM {} WHERE ledger = {}").format(table, sql.Literal(ledger.called)),
            when=sql.SQL("SELECT pg_catalog.to_regclass({}) IS NOT NULL").format(sql.Literal(table.as_string(None))),
        )
        for table in (sql.Identifier(JOURNAL_SCHEMA, name) for name in ("reconciliations", "discrepancies", "drifts"))
    )
