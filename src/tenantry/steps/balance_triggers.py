"""The triggers that keep balances up to date with their ledger.

As hazards 17 to 19 require, they use transition tables, summed by key and added in the order of the key; a row trigger
ENABLE REPLICA for writes that fire no statement trigger (the apply worker of logical replication); triggers on each
partition for statements that name it directly; and they refuse TRUNCATE.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.balance import BalanceStep
from tenantry.steps.balance_crossings import crosses
from tenantry.steps.balance_functions import BEGIN, CROSS, MOVE, REPLICATE, TRUNCATE
from tenantry.steps.balance_table import stale
from tenantry.steps.introspection import exists, raw
from tenantry.steps.step import Before

PREFIX = "tenantry_balances_"
MERGE = "merge"
"""A BEFORE INSERT row trigger on partitioned ledgers, disabled: it must exist but never fires. Without one, a MERGE
that inserts into a partition and then updates has the inserted row, in place of the updated one, in the transition
table (PostgreSQL 15 to 18: the executor keeps it if the partition has no such trigger)."""
BEGINS = "begins_"
"""The prefix of the names of BEFORE statement triggers on partitioned ledgers: see balance_crossings."""
PART = "part"
"""The argument of the triggers on a partition, which stay on it when it is detached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceTriggers(BalanceStep):
    """Statement triggers on the ledger and on each partition, the row trigger for replicas, and the one that refuses
    TRUNCATE. Creating them takes a lock, held for milliseconds, that waits for all writers: rows written later are
    counted. Rows written while a trigger was missing were not counted, so the balances are marked stale."""

    kind: Literal["balance_triggers"] = "balance_triggers"
    inspected = ("triggers", "all triggers, on the table and each partition", "are missing or disabled")

    @property
    def key(self) -> str:
        return f"balance_triggers:{self.table}"

    @property
    def title(self) -> str:
        return "from now on, add each movement to its balance; stale until `balances backfill`"

    @property
    def subject(self) -> str:
        return f"The set of triggers on {self.table} that maintains its balances"

    @property
    def note(self) -> str:
        return "TRUNCATE of the ledger fails from now on; DELETE does not"

    def _events(self) -> dict[str, tuple[str, str, str]]:
        """Statement triggers by the suffix of their name: the text between the name and ON, the text after the table,
        and how the trigger fires."""
        came, went = "NEW TABLE AS moved_in", "OLD TABLE AS moved_out"
        found = {
            "insert": ("AFTER INSERT", f"REFERENCING {came} FOR EACH STATEMENT", "O"),
            "update": ("AFTER UPDATE", f"REFERENCING {went} {came} FOR EACH STATEMENT", "O"),
            "delete": ("AFTER DELETE", f"REFERENCING {went} FOR EACH STATEMENT", "O"),
            "truncate": ("BEFORE TRUNCATE", "FOR EACH STATEMENT", "A"),
        }
        if self.ledger.tree:
            for event in ("INSERT", "UPDATE", "DELETE"):
                found[BEGINS + event.lower()] = (f"BEFORE {event}", "FOR EACH STATEMENT", "O")
        return found

    def _rows(self) -> dict[str, tuple[str, str, str, str]]:
        """Row triggers likewise: the text before ON, the condition, how it fires, and which function it calls."""
        found = {"replica": ("AFTER INSERT OR UPDATE OR DELETE", "", "R", REPLICATE)}
        if self.ledger.tree:
            found[MERGE] = ("BEFORE INSERT", "", "D", REPLICATE)
            found["arrives"] = ("AFTER INSERT", crosses(self.ledger, "INSERT"), "O", CROSS)
            found["leaves"] = ("AFTER DELETE", crosses(self.ledger, "DELETE"), "O", CROSS)
        return found

    @property
    def fires(self) -> dict[str, str]:
        """How each trigger fires, by its name, on each relation."""
        statements = {PREFIX + ending: how for ending, (_, _, how) in self._events().items()}
        return statements | {PREFIX + ending: how for ending, (_, _, how, _) in self._rows().items()}

    def wants(self) -> str:
        """The same on each partition, as its definition requires: the balance has no rows left of a partition that is
        gone."""
        alone = replace(self, ledger=replace(self.ledger, tree=()))
        return ";\n".join(statement.text for statement in alone.apply())

    def definition(self) -> sql.Composable:
        fires = self.fires
        wanted = sql.SQL(", ").join(
            sql.SQL("({}, {})").format(sql.Literal(name), sql.Literal(how)) for name, how in fires.items()
        )
        relations = sql.SQL(", ").join(name.oid for name in self.ledger.relations)
        functions = sql.SQL(", ").join(
            sql.SQL("pg_catalog.to_regproc({})").format(
                sql.Literal(self.ledger.function(purpose).identifier.as_string(None))
            )
            for purpose in (MOVE, REPLICATE, TRUNCATE, CROSS, BEGIN)
        )
        return sql.SQL(
            "SELECT pg_catalog.string_agg(pg_catalog.pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text, E'\\n'"
            " ORDER BY t.tgrelid::pg_catalog.regclass::text, t.tgname)"
            " FROM pg_catalog.pg_trigger t JOIN (VALUES {}) AS wanted(name, fires)"
            " ON wanted.name = t.tgname AND wanted.fires = t.tgenabled::text"
            " WHERE t.tgrelid IN ({}) AND t.tgfoid IN ({}) HAVING pg_catalog.count(*) = {}"
        ).format(wanted, relations, functions, sql.Literal(len(fires) * len(self.ledger.relations)))

    def apply(self) -> tuple[Statement, ...]:
        found = [statement for ending in self._rows() for statement in self._row_trigger(ending)]
        for name in self.ledger.relations:
            found += self._statement_triggers(name)
            found.append(_fires(name, "truncate", "ENABLE ALWAYS"))
        return (*found, Statement(sql=stale(self.ledger, "written to without all of its triggers")))

    def _row_trigger(self, ending: str) -> list[Statement]:
        """On the partitioned table, whose partitions get copies; how it fires must be set for each copy."""
        ledger, (when, condition, fires, purpose) = self.ledger, self._rows()[ending]
        how = {"R": "ENABLE REPLICA", "D": "DISABLE", "O": "ENABLE"}[fires]
        create = sql.SQL("CREATE OR REPLACE TRIGGER {} {} ON {} FOR EACH ROW {} EXECUTE FUNCTION {}()").format(
            sql.Identifier(PREFIX + ending), raw(when), ledger.table.identifier, raw(condition),
            ledger.function(purpose).identifier,
        )  # fmt: skip
        locks = tuple(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE) for name in ledger.relations)
        return [Statement(sql=create, locks=locks), *(_fires(name, ending, how) for name in ledger.relations)]

    def _statement_triggers(self, name: Name) -> list[Statement]:
        argument = sql.SQL("") if name == self.table else sql.Literal(PART)
        found = []
        for ending, (when, how, _) in self._events().items():
            purpose = TRUNCATE if ending == "truncate" else BEGIN if ending.startswith(BEGINS) else MOVE
            function = self.ledger.function(purpose)
            create = sql.SQL("CREATE OR REPLACE TRIGGER {} {} ON {} {} EXECUTE FUNCTION {}({})").format(
                sql.Identifier(PREFIX + ending), raw(when), name.identifier, raw(how),
                function.identifier, argument,
            )  # fmt: skip
            found.append(Statement(sql=create, locks=(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE),)))
        return found

    def revert(self, before: Before) -> tuple[Statement, ...]:
        locks = tuple(Lock(name, LockMode.ACCESS_EXCLUSIVE) for name in self.ledger.relations)
        found = []
        for name in self.ledger.relations:
            # The copies of the row triggers on partitions are dropped with those of the table.
            own = (*self._rows(), *self._events()) if name == self.table else tuple(self._events())
            for ending in own:
                trigger = PREFIX + ending
                there = exists(
                    sql.SQL("SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = {} AND t.tgname = {}").format(
                        name.oid, sql.Literal(trigger)
                    )
                )
                drop = sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(trigger), name.identifier)
                found.append(Statement(sql=drop, locks=locks, when=there))
        return tuple(found)


def _fires(name: Name, ending: str, how: str) -> Statement:
    alter = sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}").format(
        name.identifier, raw(how), sql.Identifier(PREFIX + ending)
    )
    return Statement(sql=alter, locks=(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE),))
