"""The gate of a tenant that is moved: triggers that refuse its writes, and only its, while it is closed.

Each write of the tenant takes a shared advisory lock until the end of its transaction; tenantry closes the gate by
taking the same lock exclusively. So it waits for the tenant's open transactions and for nobody else, from that moment
new ones are refused with SQLSTATE 40001 (serialization_failure), which applications retry, and readers never wait. If
the session that holds the lock dies, the gate is open again.

Once the tenant is at the target, the gate stays closed: a sequence says so, because its value is visible to each
transaction at once, whatever the transaction's snapshot, and outlives sessions and crashes.

The same sequence makes the triggers record the keys of the rows that are written, from a moment at which the gate is
closed, so that no transaction has written before and commits later.

At the target the same triggers only record what its own sessions write to the tenant's rows before the switch, which
nobody should. They do not fire for the subscription.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.model.name import JOURNAL_SCHEMA, Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.model.tenant_move import Move
from tenantry.planning.tenant_selection import SelectedTable
from tenantry.steps.introspection import body
from tenantry.steps.trigger import PINNED, shut_function

OPEN, CLOSED, RECORDING = 1, 2, 3
"""Values of the sequence; RECORDING: open, and keys are recorded."""
PASS = "tenantry.move"
"""The setting by which tenantry's own session passes a closed gate, to delete the rows that have moved."""
_EVENTS = {"insert": ("new",), "update": ("old", "new"), "delete": ("old",)}

_STABLE = "SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET extra_float_digits = 3 SET lc_monetary = 'C'"
"""Settings of the function: the text of a key must not depend on the session that writes."""

_BODY = sql.SQL("""
DECLARE
  state bigint;
  names text;
  found_old text[];
  found_new text[];
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    RAISE EXCEPTION USING ERRCODE = 'object_in_use', MESSAGE = {truncate}, HINT = {wait};
  END IF;
  IF pg_catalog.pg_try_advisory_xact_lock_shared({key}) THEN
    SELECT g.last_value INTO state FROM {sequence} AS g;
  END IF;
  IF coalesce(state, {closed}) OPERATOR(pg_catalog.=) {closed}::bigint
    AND pg_catalog.current_setting({setting}, true) IS DISTINCT FROM {secret}
  THEN
    RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = {refused}, HINT = {retry};
  END IF;
  IF state OPERATOR(pg_catalog.=) {recording}::bigint THEN
    -- By their numbers, since a write must not fail when the application renames a column.
    -- As texts by format(), which calls no cast of the type's owner.
    SELECT pg_catalog.string_agg(
      pg_catalog.format('CASE WHEN ($1).%1$I IS NOT NULL THEN pg_catalog.format(''%%s'', ($1).%1$I) END', a.attname),
      ', ' ORDER BY k.place
    ) INTO names
    FROM pg_catalog.unnest(pg_catalog.string_to_array(TG_ARGV[0], ' ')::smallint[]) WITH ORDINALITY AS k (number, place)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = TG_RELID AND a.attnum = k.number AND NOT a.attisdropped
    HAVING pg_catalog.count(*) = pg_catalog.cardinality(pg_catalog.string_to_array(TG_ARGV[0], ' '));
    IF names IS NULL THEN
      INSERT INTO {changes} (relation) VALUES (TG_RELID);
    ELSE
      IF TG_OP <> 'INSERT' THEN
        EXECUTE 'SELECT ARRAY[' || names || ']' INTO found_old USING OLD;
        INSERT INTO {changes} (relation, key)
        VALUES (TG_RELID, CASE WHEN pg_catalog.array_position(found_old, NULL) IS NULL THEN found_old END);
      END IF;
      IF TG_OP <> 'DELETE' THEN
        EXECUTE 'SELECT ARRAY[' || names || ']' INTO found_new USING NEW;
        IF found_new IS DISTINCT FROM found_old THEN
          INSERT INTO {changes} (relation, key)
          VALUES (TG_RELID, CASE WHEN pg_catalog.array_position(found_new, NULL) IS NULL THEN found_new END);
        END IF;
      END IF;
    END IF;
  END IF;
  IF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  RETURN NEW;
END
""")
_DEFINITION = sql.SQL(
    "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {} {} AS {}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The gate of one move, at its source; or `at_target`, where it is never closed."""

    move: Move

    @property
    def at_target(self) -> bool:
        return self.move.side == "target"

    @property
    def key(self) -> int:
        """The key of the advisory lock."""
        digest = hashlib.sha256(self.move.object_name.encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    @property
    def secret(self) -> str:
        """The value of the setting PASS. No secret from the database's roles: it keeps writes by mistake out."""
        return hashlib.sha256(f"{self.move.object_name} pass".encode()).hexdigest()[:16]

    @property
    def _object(self) -> sql.Identifier:
        return sql.Identifier(JOURNAL_SCHEMA, self.move.object_name)

    @property
    def changes(self) -> sql.Identifier:
        """The table of the keys that are recorded. Unlogged: a comparison that needs them does not survive a crash."""
        return sql.Identifier(JOURNAL_SCHEMA, f"{self.move.object_name}_changes")

    def create(self) -> Iterator[sql.Composable]:
        """The sequence, the table of changes and the function; none locks a table of the user's."""
        slug = self.move.slug
        yield sql.SQL("CREATE SEQUENCE IF NOT EXISTS {} MAXVALUE {}").format(self._object, sql.Literal(RECORDING))
        yield sql.SQL("REVOKE ALL ON SEQUENCE {} FROM PUBLIC").format(self._object)
        yield sql.SQL(
            "CREATE UNLOGGED TABLE IF NOT EXISTS {} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
            " relation oid NOT NULL, key text[])"
        ).format(self.changes)
        yield sql.SQL("REVOKE ALL ON TABLE {} FROM PUBLIC").format(self.changes)
        text = _BODY.format(
            key=sql.Literal(self.key), closed=sql.Literal(CLOSED), recording=sql.Literal(RECORDING),
            sequence=self._object, changes=self.changes, setting=sql.Literal(PASS), secret=sql.Literal(self.secret),
            truncate=sql.Literal(f"The table has rows of the tenant {slug}, which is being moved to another server"),
            wait=sql.Literal("Wait until the move is complete, or end it: tenantry tenants move --abort."),
            refused=sql.Literal(f"The tenant {slug} is being moved to another server"),
            retry=sql.Literal("Look up where the tenant is, and try the transaction again there."),
        )  # fmt: skip
        yield _DEFINITION.format(self._object, sql.SQL(PINNED), sql.SQL(_STABLE), body(text))
        yield shut_function(f'"{JOURNAL_SCHEMA}"."{self.move.object_name}"()').sql

    def triggers(self, table: SelectedTable, key: Sequence[int]) -> tuple[Statement, ...]:
        """Creates those of a table. Their names sort last, so that they see each row as other triggers have left it;
        at the source they fire in sessions that replicate as well. `key` has the numbers of the columns by which a row
        is found; none if the table has no such key."""
        found: list[Statement] = []
        for event, aliases in _EVENTS.items():
            condition = sql.SQL(" OR ").join(table.belongs(self.move.tenant, alias) for alias in aliases)
            found += self._trigger(table.name, event, sql.SQL("FOR EACH ROW WHEN ({})").format(condition), key)
        found += self._trigger(table.name, "truncate", sql.SQL("FOR EACH STATEMENT"), key)
        return tuple(found)

    def _trigger(self, table: Name, event: str, rest: sql.Composable, key: Sequence[int]) -> Iterator[Statement]:
        name, locks = sql.Identifier(self._trigger_name(event)), (Lock(table, LockMode.SHARE_ROW_EXCLUSIVE),)
        create = sql.SQL("CREATE OR REPLACE TRIGGER {} BEFORE {} ON {} {} EXECUTE FUNCTION {}({})").format(
            name, sql.SQL(event.upper()), table.identifier, rest, self._object, sql.Literal(" ".join(map(str, key)))
        )
        always = sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(table.identifier, name)
        yield Statement(sql=create, locks=locks)
        if not self.at_target:
            yield Statement(sql=always, locks=locks)

    def _trigger_name(self, event: str) -> str:
        return f"~{self.move.object_name}_{event}"

    def drop_triggers(self, table: Name) -> tuple[Statement, ...]:
        return tuple(
            Statement(
                sql=sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(
                    sql.Identifier(self._trigger_name(event)), table.identifier
                ),
                locks=(Lock(table, LockMode.ACCESS_EXCLUSIVE),),
            )
            for event in (*_EVENTS, "truncate")
        )

    def tables(self, connection: psycopg.Connection[Any]) -> list[Name]:
        """The tables that have its triggers now, by their present names."""
        rows = connection.execute(
            "SELECT DISTINCT n.nspname::text, c.relname::text FROM pg_catalog.pg_trigger t"
            " JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid WHERE p.pronamespace = 'tenantry'::regnamespace"
            " AND p.proname = %s ORDER BY 1, 2",
            [self.move.object_name],
        ).fetchall()
        return [Name(schema, name) for schema, name in rows]

    def complete(self, connection: psycopg.Connection[Any], tables: Sequence[SelectedTable]) -> bool:
        """Whether each of the tables has all triggers."""
        row = connection.execute(
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
            " WHERE p.pronamespace = 'tenantry'::regnamespace AND p.proname = %s AND t.tgenabled = %s",
            [self.move.object_name, "O" if self.at_target else "A"],
        ).fetchone()
        return row is not None and row[0] == len(tables) * (len(_EVENTS) + 1)

    def drop(self, connection: psycopg.Connection[Any]) -> None:
        """Drop the function, the sequence and the table of changes, once no table has triggers of the gate."""
        with connection.transaction():
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self.changes))
            connection.execute(sql.SQL("DROP FUNCTION IF EXISTS {}()").format(self._object))
            connection.execute(sql.SQL("DROP SEQUENCE IF EXISTS {}").format(self._object))

    def close(self, session: psycopg.Connection[Any], seconds: float) -> None:
        """Close the gate until `session` opens it or ends. Raises LockNotAvailable if the tenant's open transactions do
        not end in time."""
        milliseconds = max(1, int(seconds * 1000))
        session.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(milliseconds)))
        session.execute("SELECT pg_catalog.pg_advisory_lock(%s)", [self.key])

    def open(self, session: psycopg.Connection[Any]) -> None:
        session.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", [self.key])

    def record(self) -> sql.Composed:
        """The statement from which on keys are recorded; at the source to be run while the gate is closed."""
        return self._set(RECORDING)

    def close_for_good(self) -> sql.Composed:
        """The statement after which the gate stays closed."""
        return self._set(CLOSED)

    def reopen(self) -> sql.Composed:
        """The statement that undoes either, if the move was not recorded as switched."""
        return self._set(OPEN)

    def _set(self, state: int) -> sql.Composed:
        return sql.SQL("SELECT pg_catalog.setval({}, {})").format(
            sql.Literal(f'"{JOURNAL_SCHEMA}"."{self.move.object_name}"'), sql.Literal(state)
        )
