"""Rows that a statement moves from one partition of a ledger to another.

UPDATE has such a row in its transition tables. MERGE has it in those of DELETE and INSERT (PostgreSQL 15 to 18), and
the triggers that read them fire only if the MERGE has such an action: with WHEN MATCHED THEN UPDATE alone no statement
trigger sees the row. Row triggers do see it: the partition that it leaves fires DELETE, the other one INSERT. They
cannot tell MERGE from UPDATE, so each side of a statement is counted in one of two ways.

- If another part of the same statement (an action of the MERGE, a part of WITH) inserts into the ledger, every row that
  arrives is in one of the transition tables. The same holds for rows that leave, if another part deletes.
- Otherwise each row that fires INSERT was moved and is counted by the row triggers; those rows of UPDATE's transition
  tables that were moved, whose values belong to another partition than before, are not counted.

The BEFORE statement triggers record which statement runs and at what trigger depth, since a trigger of the application
may write to the ledger in the middle of another statement. One case is not told apart: a statement on the same ledger
within a function that an INSERT, UPDATE or DELETE of it calls itself. The condition of the row triggers is false except
for UPDATE and MERGE, and short, since the server parses it again for each statement.
"""

from __future__ import annotations

import hashlib

from psycopg import sql

from tenantry.model.ledger import Ledger
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.movement import MOVED, movement, movements
from tenantry.steps.naming import StaticNames, Work

INSERTING, DELETING = "inserting", "deleting"
"""Settings of one ledger: the depths at which statements insert and delete, the innermost first."""
ARRIVING, LEAVING = "arriving", "leaving"
"""The depths of UPDATE and MERGE, the innermost first; `-` where another node counts that side."""
CROSSED = "crossed"
"""The depth at which row triggers recorded a row last."""

# The columns of the key are the user's: the names of tenantry's columns beside them must differ from all of them.
_TABLE = sql.SQL("""CREATE UNLOGGED TABLE IF NOT EXISTS {table} AS SELECT {columns},
  NULL::xid8 AS "tenantry transaction", NULL::integer AS "tenantry level", NULL::oid AS "tenantry partition",
  NULL::boolean AS "tenantry arrives" FROM {storage} LIMIT 0""")
_INDEX = sql.SQL('CREATE INDEX IF NOT EXISTS {index} ON {table} ("tenantry transaction")')
_IS_MINE = sql.SQL('noted."tenantry transaction" = pg_catalog.pg_current_xact_id() AND noted."tenantry level" = {}')
_MINE = _IS_MINE.format(raw('"tenantry depth"'))
_BEGINS = sql.SQL("""
DECLARE
  "tenantry depth" text := (pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.-) 1)::pg_catalog.text;
BEGIN
  IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
    PERFORM pg_catalog.set_config({inserting}, pg_catalog.concat("tenantry depth", ' ', {inserting_now}), true);
    IF {arriving_top} OPERATOR(pg_catalog.=) "tenantry depth" THEN
      PERFORM pg_catalog.set_config({arriving}, pg_catalog.concat('- ', {arriving_rest}), true);
    END IF;
  ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
    PERFORM pg_catalog.set_config({deleting}, pg_catalog.concat("tenantry depth", ' ', {deleting_now}), true);
    IF {leaving_top} OPERATOR(pg_catalog.=) "tenantry depth" THEN
      PERFORM pg_catalog.set_config({leaving}, pg_catalog.concat('- ', {leaving_rest}), true);
    END IF;
  ELSE
    PERFORM pg_catalog.set_config({arriving}, pg_catalog.concat(CASE WHEN {inserting_top} OPERATOR(pg_catalog.=)
      "tenantry depth" THEN '-' ELSE "tenantry depth" END, ' ', {arriving_now}), true);
    PERFORM pg_catalog.set_config({leaving}, pg_catalog.concat(CASE WHEN {deleting_top} OPERATOR(pg_catalog.=)
      "tenantry depth" THEN '-' ELSE "tenantry depth" END, ' ', {leaving_now}), true);
  END IF;
  RETURN NULL;
END
""")
# Planned each time: a session that kept the plan would fail for good once a column's type has been altered.
_NOTE = sql.SQL("INSERT INTO {table} SELECT moved.*, pg_catalog.pg_current_xact_id(), $2, $3, $4 FROM ({row}) AS moved")
_ROW = sql.SQL("""
  IF TG_OP = 'INSERT' AND {arriving_top} = "tenantry depth"::text THEN{new}
    PERFORM pg_catalog.set_config({crossed}, "tenantry depth"::text, true);
  ELSIF TG_OP = 'DELETE' AND {leaving_top} = "tenantry depth"::text THEN{old}
    PERFORM pg_catalog.set_config({crossed}, "tenantry depth"::text, true);
  END IF;""")
ROWS = (("TG_OP = 'DELETE'", "OLD", ""), ("true", "NEW", ""))
"""Where row triggers have the ledger's columns."""
DECLARED = sql.SQL("""
  "tenantry depth" integer;
  "tenantry in" boolean;
  "tenantry out" boolean;
  "tenantry belongs" text;
  "tenantry crossed" bigint[];""")
"""The variables of the function that reads the transition tables."""
# Whatever else the triggers of a detached partition do, what they have recorded is discarded.
_ENDED = sql.SQL("""
  IF TG_OP = 'INSERT' THEN
    PERFORM pg_catalog.set_config({inserting}, {inserting_rest}, true);
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM pg_catalog.set_config({deleting}, {deleting_rest}, true);
  ELSE
    "tenantry depth" := pg_catalog.pg_trigger_depth() - 1;
    "tenantry in" := coalesce({arriving_top} = "tenantry depth"::text, false);
    "tenantry out" := coalesce({leaving_top} = "tenantry depth"::text, false);
    PERFORM pg_catalog.set_config({arriving}, {arriving_rest}, true);
    PERFORM pg_catalog.set_config({leaving}, {leaving_rest}, true);
  END IF;""")
# A row that a BEFORE trigger of the application discards while it moves has left and does not arrive. Then the two
# transition tables of UPDATE do not correspond row by row, and contain all rows. MERGE never fills them so.
_CROSSING = sql.SQL("""IF pg_catalog.current_setting({crossed}, true) = "tenantry depth"::text THEN
      IF (SELECT count(*) FROM moved_out) <> (SELECT count(*) FROM moved_in) THEN
        "tenantry in" := false;
        "tenantry out" := false;
      END IF;
      SELECT pg_catalog.string_agg(pg_catalog.format('(%s)',
          pg_catalog.pg_get_partition_constraintdef(known."tenantry partition")), ', ') INTO "tenantry belongs"
        FROM (SELECT DISTINCT noted."tenantry partition" FROM {table} AS noted WHERE {mine}) AS known;
      EXECUTE 'SELECT pg_catalog.array_agg(place) FROM (SELECT pg_catalog.row_number() OVER () AS place, ARRAY['
        || "tenantry belongs" || '] AS belongs FROM moved_out) AS went JOIN (SELECT pg_catalog.row_number() OVER ()'
        || ' AS place, ARRAY[' || "tenantry belongs" || '] AS belongs FROM moved_in) AS came USING (place)'
        || ' WHERE went.belongs IS DISTINCT FROM came.belongs' INTO "tenantry crossed";
      {added}
      DELETE FROM {table} AS noted WHERE {mine};
      PERFORM pg_catalog.set_config({crossed}, '', true);
    ELSE
      {otherwise}
    END IF;""")
# In the order in which both were filled: two rows with the same number are one row before and after.
_NUMBERED = sql.SQL('(SELECT pg_catalog.row_number() OVER () AS "tenantry number", one.* FROM {} AS one)')
DECIDED = ('"tenantry in"', '"tenantry out"')
"""The variables that say whether what arrives, and what leaves, is counted by rows."""
_STAYED = sql.SQL(' WHERE NOT ({} AND entry."tenantry number" = ANY (coalesce({}, ARRAY[]::bigint[])))')
_NOTED = sql.SQL(
    "SELECT {columns} FROM {table} AS noted WHERE {mine}"
    ' AND CASE WHEN noted."tenantry arrives" THEN {arrives} ELSE {leaves} END'
)


def setting(ledger: Ledger, name: str) -> str:
    """Sets a setting of tenantry for one ledger, local to the transaction, so that a rollback undoes it."""
    return f"tenantry.{name}_{hashlib.sha256(ledger.called.encode()).hexdigest()[:12]}"


def crosses(ledger: Ledger, event: str) -> str:
    """The WHEN of the row trigger after INSERT or DELETE: an UPDATE or MERGE of the ledger runs."""
    name = setting(ledger, ARRIVING if event == "INSERT" else LEAVING)
    return f"WHEN (pg_catalog.current_setting('{name}', true) OPERATOR(pg_catalog.<>) '')"


def ended(ledger: Ledger) -> sql.Composed:
    """What that function does first: it removes the statement from the settings."""
    return _ENDED.format(**_parts(ledger, INSERTING, DELETING, ARRIVING, LEAVING))


def crossing(ledger: Ledger, added: sql.Composable, otherwise: sql.Composable) -> sql.Composed:
    """The part for UPDATE and MERGE: `added`, which adds `crossed_rows`, if rows of the statement were moved, and
    `otherwise` if not."""
    return _CROSSING.format(
        table=ledger.crossings.identifier, crossed=sql.Literal(setting(ledger, CROSSED)), mine=_MINE, added=added,
        otherwise=otherwise,
    )  # fmt: skip


def crossed_rows(ledger: Ledger, old: sql.Composable, new: sql.Composable, names: StaticNames) -> sql.Composed:
    """The movements of an UPDATE or MERGE that moved rows: both transition tables, but for what is counted by rows."""
    arrives, leaves = map(names.variable, DECIDED)
    crossed, mine = names.variable('"tenantry crossed"'), _IS_MINE.format(names.variable('"tenantry depth"'))
    parts = [
        movements(ledger, _NUMBERED.format(old), back=True, names=names) + _STAYED.format(leaves, crossed),
        movements(ledger, _NUMBERED.format(new), names=names) + _STAYED.format(arrives, crossed),
        _NOTED.format(
            columns=_columns(ledger, raw("noted")), table=ledger.crossings.identifier, mine=mine, arrives=arrives,
            leaves=leaves,
        ),
    ]  # fmt: skip
    return sql.SQL(" UNION ALL ").join(parts)


def begins_body(ledger: Ledger) -> sql.Composed:
    """The function of the triggers before a statement."""
    return _BEGINS.format(**_parts(ledger, INSERTING, DELETING, ARRIVING, LEAVING))


def crossings_work(ledger: Ledger, purpose: str) -> Work:
    """What the row triggers do."""

    def statements(names: StaticNames) -> sql.Composed:
        def note(row: str, *, back: bool) -> sql.Composable:
            moved = movement(ledger, sql.SQL("($1)"), back=back, names=names)
            note = _NOTE.format(table=ledger.crossings.identifier, row=moved)
            return names.planned_anew(note, raw(f'{row}, "tenantry depth", TG_RELID, {str(not back).lower()}'))

        return _ROW.format(
            new=note("NEW", back=False), old=note("OLD", back=True), crossed=sql.Literal(setting(ledger, CROSSED)),
            **_parts(ledger, ARRIVING, LEAVING),
        )  # fmt: skip

    return Work(
        table=ledger.table, trigger=purpose, statements=statements, rows=ROWS,
        declare=raw('\n  "tenantry depth" integer := pg_catalog.pg_trigger_depth() - 1;'),
    )  # fmt: skip


def crossings_table(ledger: Ledger) -> tuple[sql.Composed, sql.Composed]:
    """The statements that create the table of the rows of running statements. Other sessions see no row in it."""
    table = ledger.crossings.identifier
    columns = sql.SQL(", ").join([identifiers(ledger.columns), *(raw(f"NULL::numeric AS {name}") for name in MOVED)])
    made = _TABLE.format(table=table, columns=columns, storage=ledger.storage.identifier)
    return made, _INDEX.format(index=sql.Identifier(ledger.crossings_index.name), table=table)


def _columns(ledger: Ledger, source: sql.Composable) -> sql.Composed:
    """The key's columns, and those of a movement."""
    moved = (sql.SQL("{}.{}").format(source, raw(name)) for name in MOVED)
    return sql.SQL(", ").join([identifiers(ledger.columns, source), *moved])


def _parts(ledger: Ledger, *names: str) -> dict[str, sql.Composable]:
    """Expressions over the settings, which are lists of depths: the name as a literal, list, first, rest."""
    found: dict[str, sql.Composable] = {}
    for name in names:
        literal = sql.Literal(setting(ledger, name))
        now = sql.SQL("pg_catalog.current_setting({}, true)").format(literal)
        found[name] = literal
        found[f"{name}_now"] = now
        found[f"{name}_top"] = sql.SQL("pg_catalog.split_part({}, ' ', 1)").format(now)
        rest = "pg_catalog.substr({0}, pg_catalog.strpos({0}, ' ') OPERATOR(pg_catalog.+) 1)"
        found[f"{name}_rest"] = sql.SQL(rest).format(now)
    return found
