"""The functions that the triggers of a ledger call: each adds movements to balances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.ledger import Ledger
from tenantry.model.name import Name
from tenantry.model.plan import Statement
from tenantry.steps.balance import BalanceStep
from tenantry.steps.balance_crossings import (
    DECLARED,
    ROWS,
    begins_body,
    crossed_rows,
    crossing,
    crossings_table,
    crossings_work,
    ended,
)  # fmt: skip
from tenantry.steps.balance_table import private
from tenantry.steps.introspection import raw
from tenantry.steps.movement import MOVED, add, alone, correct, movement, movements, netted, shown, writer_slot
from tenantry.steps.naming import MADE, NOTHING, UNMADE, DynamicNames, StaticNames, Work, forget
from tenantry.steps.step import Before
from tenantry.steps.trigger import make_function, names_table

EMPTYING = "tenantry.emptying"
"""The setting with which tenantry's command tells the TRUNCATE trigger to subtract the rows from the balances."""
MOVE, REPLICATE, TRUNCATE, CROSS, BEGIN = "move", "replicate", "truncate", "cross", "begin"
"""The purposes of the functions; the last two are for partitioned ledgers."""

# A detached partition keeps its triggers, but its rows no longer belong to the ledger.
_DETACHED = sql.SQL("""
  IF TG_NARGS > 0 AND NOT EXISTS (SELECT FROM pg_trigger t
      WHERE t.tgrelid = pg_partition_root(TG_RELID) AND t.tgname = TG_NAME AND t.tgnargs = 0) THEN
    RETURN NULL;
  END IF;""")
_STATEMENT = sql.SQL("""
  IF TG_OP = 'INSERT' THEN
    {insert}
  ELSIF TG_OP = 'UPDATE' THEN
    {update}
  ELSE
    {delete}
  END IF;""")
_TABLES = (("TG_OP = 'DELETE'", "entry", "moved_out"), ("true", "entry", "moved_in"))
"""Where the statement triggers have the ledger's columns."""
# An application usually moves one row at a time, and setting up a sort and a sum for it would cost more than adding it.
# Checking whether there is a second row is the cheapest test.
_ONE_OR_MORE = sql.SQL("""PERFORM FROM {moved} OFFSET 1;
    IF FOUND THEN
    {several}
    ELSE
    {one}
    END IF;""")
# The row lock that the update takes keeps the key's sum from changing between the update and the check, so the refusal
# is exact. The check also gets whether a movement lowers the key, since a key may be below zero already. While the
# balances are stale, the sums are not checked.
_CHECKED = sql.SQL("""WITH delta AS MATERIALIZED ({sums}), moved AS (
      {add}
      RETURNING {returned}, {kept} AS quantity)
    SELECT {offender}{into} FROM moved JOIN delta ON {same} WHERE moved.quantity < 0
      AND (delta.quantity < 0 OR delta.negative_infinities > 0 OR delta.nans < 0 OR delta.infinities < 0)
    LIMIT 1""")
_REFUSED = sql.SQL("""
    IF offender IS NOT NULL AND NOT (SELECT known.stale FROM tenantry.ledgers AS known WHERE known.ledger = {ledger})
    THEN
      RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = {refusal} || offender,
        SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
    END IF;""")
# AFTER ROW, in replica mode only: it refuses nothing, since the publisher has accepted the movement. ENABLE TRIGGER ALL
# would make it fire in addition to the statement triggers, so it checks the mode itself. BEFORE is the trigger that
# never fires.
_REPLICATED = sql.SQL("""
  IF TG_WHEN = 'BEFORE' THEN
    RETURN NEW;
  END IF;
  IF pg_catalog.current_setting('session_replication_role') <> 'replica' THEN
    RETURN NULL;
  END IF;""")
# TRUNCATE already holds ACCESS EXCLUSIVE and fires this for each partition, so only the rows of ONLY this relation are
# subtracted. It removes rows that a snapshot older than the lock cannot see, hence READ COMMITTED.
_TRUNCATE = sql.SQL("""{detached}
  IF NOT replicated AND pg_catalog.current_setting({emptying}, true) IS DISTINCT FROM 'on' THEN
    RAISE EXCEPTION 'TRUNCATE of % would leave its balances behind', TG_RELID::pg_catalog.regclass
      USING HINT = 'DELETE the rows, or run: tenantry balances empty --confirm', ERRCODE = 'object_in_use';
  END IF;
  IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'TRUNCATE of % needs READ COMMITTED, so that its balances can be told',
      TG_RELID::pg_catalog.regclass USING ERRCODE = 'invalid_transaction_state';
  END IF;""")


def _or(*queries: sql.Composable) -> sql.Composed:
    return sql.SQL(" UNION ALL ").join(queries)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceFunctions(BalanceStep):
    """The trigger functions; those that touch a table are SECURITY DEFINER as the ledger's owner, with a pinned
    search_path. Replacing one loses no movement: the old and the new one add the same."""

    kind: Literal["balance_functions"] = "balance_functions"
    inspected = ("functions", "the trigger functions, as the spec defines them", "are missing or were altered")

    @property
    def key(self) -> str:
        return f"balance_functions:{self.table}"

    @property
    def title(self) -> str:
        ledger = self.ledger
        how = f", with writers spread over {ledger.slots} slots for each key" if ledger.slots else ""
        return f"create the functions that add movements to balances{how}" + (
            ", and refuse movements that would go below zero" if ledger.non_negative else ""
        )

    @property
    def subject(self) -> str:
        return f"The set of functions that add movements of {self.table} to balances"

    @property
    def installs(self) -> Ledger:
        return self.ledger

    @property
    def functions(self) -> dict[Name, sql.Composed]:
        """Each function's body by its name, with placeholders for what is known only after it is created."""
        found = {self.ledger.function(work.trigger): work.compose()[0] for work in self._works}
        if self.ledger.tree:
            found[self.ledger.function(BEGIN)] = begins_body(self.ledger)
        return found

    @property
    def _works(self) -> tuple[Work, ...]:
        works = self._statements(), self._rows(), self._truncate()
        return (*works, crossings_work(self.ledger, CROSS)) if self.ledger.tree else works

    def _statements(self) -> Work:
        came, went = raw("moved_in"), raw("moved_out")
        ledger = self.ledger

        def statements(names: StaticNames) -> sql.Composed:
            into, out = movements(ledger, came, names=names), movements(ledger, went, back=True, names=names)
            update = self._added(names, _or(out, into))
            if ledger.tree:
                update = crossing(ledger, self._added(names, crossed_rows(ledger, went, came, names)), update)
            return _STATEMENT.format(
                insert=self._one_or_more(names, came, into), update=update,
                delete=self._one_or_more(names, went, out),
            )  # fmt: skip

        return Work(
            table=self.table, trigger=MOVE, statements=statements, rows=_TABLES,
            declare=sql.SQL("\n  offender text;{}").format(DECLARED if ledger.tree else NOTHING),
            first=sql.Composed([ended(ledger), _DETACHED]) if ledger.tree else NOTHING,
        )  # fmt: skip

    def _one_or_more(self, names: StaticNames, moved: sql.Composable, rows: sql.Composed) -> sql.Composed:
        return _ONE_OR_MORE.format(
            moved=moved, several=self._added(names, rows), one=self._added(names, rows, single=True)
        )

    def _added(self, names: StaticNames, rows: sql.Composed, *, single: bool = False) -> sql.Composable:
        ledger = self.ledger
        sums = alone(ledger, rows) if single else netted(ledger, rows)
        if not ledger.non_negative:
            return names.run(lambda _: add(ledger, sums, writer_slot(ledger), single=single))
        columns = [sql.Identifier(name) for name in ledger.columns]
        # Arrays, so that NULL equals NULL; of one type, as balances keep a wider one than the ledger.
        pairs = [
            sql.SQL("ARRAY[moved.{0}::{1}] = ARRAY[delta.{0}::{1}]").format(sql.Identifier(key.name), raw(key.type))
            for key in ledger.key
        ]
        statements = [
            sql.SQL("{} || coalesce(moved.{}::text, 'NULL')").format(sql.Literal(f"{name} "), sql.Identifier(name))
            for name in ledger.columns
        ]

        def checked(into: sql.Composable) -> sql.Composed:
            return _CHECKED.format(
                kept=shown("quantity", "balance.{}"), sums=sums,
                add=add(ledger, raw("SELECT * FROM delta"), writer_slot(ledger), single=single),
                returned=sql.SQL(", ").join(sql.SQL("balance.{}").format(column) for column in columns),
                offender=sql.SQL("pg_catalog.concat_ws(', ', {}, 'by ' || (-moved.quantity)::text)").format(
                    sql.SQL(", ").join(statements)
                ),
                same=sql.SQL(" AND ").join(pairs), into=into,
            )  # fmt: skip

        return names.run(checked, "offender") + _REFUSED.format(
            ledger=sql.Literal(ledger.called),
            refusal=sql.Literal(f"{ledger.table} would take a balance below zero: "),
        )

    def _rows(self) -> Work:
        ledger = self.ledger
        columns = sql.SQL(", ").join([*map(sql.Identifier, ledger.columns), *map(raw, MOVED)])

        def statements(names: StaticNames) -> sql.Composed:
            new = movement(ledger, names.new, names=names)
            old = movement(ledger, names.old, back=True, names=names)

            def added(rows: sql.Composed, *, single: bool = False) -> sql.Composable:
                moved = sql.SQL("SELECT * FROM ({}) AS moved ({})").format(rows, columns)
                sums = alone(ledger, moved) if single else netted(ledger, moved)
                return names.run(lambda _: add(ledger, sums, writer_slot(ledger), single=single))

            return _STATEMENT.format(
                insert=added(new, single=True), update=added(_or(old, new)), delete=added(old, single=True)
            )

        return Work(table=self.table, trigger=REPLICATE, statements=statements, rows=ROWS, first=_REPLICATED)

    def _truncate(self) -> Work:
        mark = "tenantry relation mark"

        def statements(names: StaticNames) -> sql.Composable:
            assert isinstance(names, DynamicNames)
            relation = sql.SQL("ONLY {}").format(sql.Identifier(mark))
            out = movements(self.ledger, relation, back=True, names=names)
            return names.over(correct(self.ledger, netted(self.ledger, out)), mark)

        return Work(
            table=self.table, trigger=TRUNCATE, statements=statements, rows=(),
            declare=raw(
                "\n  replicated boolean := pg_catalog.current_setting('session_replication_role') = 'replica';"
            ),
            first=_TRUNCATE.format(
                detached=_DETACHED if self.ledger.tree else NOTHING, emptying=sql.Literal(EMPTYING)
            ),
        )  # fmt: skip

    def definition(self) -> sql.Composable:
        wanted = sql.SQL(", ").join(
            sql.SQL("(pg_catalog.to_regprocedure({}), {})").format(
                sql.Literal(f"{name.identifier.as_string(None)}()"), sql.Literal(code.as_string(None))
            )
            for name, code in self.functions.items()
        )
        return sql.SQL(
            "SELECT pg_catalog.string_agg(pg_catalog.pg_get_functiondef(p.oid), E'\\n' ORDER BY p.proname)"
            " FROM pg_catalog.pg_proc p JOIN (VALUES {}) AS wanted(oid, code) ON wanted.oid = p.oid"
            " WHERE pg_catalog.regexp_replace(p.prosrc, {}, {}) = wanted.code"
            " AND p.prosecdef AND pg_catalog.pg_get_userbyid(p.proowner) = {}"
            " AND p.proconfig IS NOT NULL AND p.proacl IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) AS e WHERE e.grantee <> p.proowner)"
            " HAVING pg_catalog.count(*) = {} AND {}"
        ).format(
            wanted, sql.Literal(MADE), sql.Literal(UNMADE), sql.Literal(self.ledger.owner),
            sql.Literal(len(self.functions)), self._crossings_exist(),
        )  # fmt: skip

    def _crossings_exist(self) -> sql.Composable:
        """A condition: the table of the function for partitions exists, with all columns."""
        if not self.ledger.tree:
            return sql.SQL("true")
        return sql.SQL(
            "EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = {} AND c.relrowsecurity"
            " AND pg_catalog.pg_get_userbyid(c.relowner) = {})"
        ).format(self.ledger.crossings.oid, sql.Literal(self.ledger.owner))

    def apply(self) -> tuple[Statement, ...]:
        statements: list[Statement] = []
        if self.ledger.tree:
            statements += [Statement(sql=one) for one in crossings_table(self.ledger)]
            statements += private(self.ledger, self.ledger.crossings)
        statements += names_table(self.ledger.owner)
        remembered = {self.ledger.function(work.trigger): work for work in self._works}
        for name, code in self.functions.items():
            # Only TRUNCATE reads the ledger, and row-level security may be forced on the ledger's owner. The sums of a
            # bulk load are computed with a hash in memory and not by a sort on disk.
            truncate = name == self.ledger.function(TRUNCATE)
            own = "SET row_security = on" if truncate else "SET work_mem = '32MB'"
            # Called by every statement, and reads no table: no more settings than it needs.
            own = "" if name == self.ledger.function(BEGIN) else own
            statements += make_function(name, self.ledger.owner, code, own)
            statements += remembered[name].remember(name, remembered[name].compose()[1]) if name in remembered else ()
        return tuple(statements)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        names = [self.ledger.function(purpose) for purpose in (MOVE, REPLICATE, TRUNCATE, CROSS, BEGIN)]
        table = sql.SQL("DROP TABLE IF EXISTS {}").format(self.ledger.crossings.identifier)
        return (
            *(Statement(sql=sql.SQL("DROP FUNCTION IF EXISTS {}()").format(name.identifier)) for name in names),
            *(forget(self.table, work.trigger) for work in self._works),
            Statement(sql=table),
        )
