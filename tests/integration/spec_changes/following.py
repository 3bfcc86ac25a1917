"""A database that follows one spec after another."""

from __future__ import annotations

import re

import pytest

from acceptance.round_trip import checksums
from servers import Database
from spec_changes.conftest import SOURCE, Changes, followed
from tenantry import (
    InspectionOptions,
    MigrateOptions,
    Outline,
    RollbackOptions,
    preview,
    remove_balances,
    rollback,
    status,
    validate,
    validate_balances,
)
from tenantry.errors import ExitStatus, Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.planning.diff import State
from tenantry.postgres.connect import Target
from tenantry.steps import Step

UNTIL = (Phase.EXPAND, Phase.ENFORCE, Phase.ISOLATE, Phase.CONTRACT)


LEDGERED = [
    *(("first + ledger", f"{name} + ledger") for name in ("setting", "column", "role", "leaf shared", "leaf mixed",
      "quarantine", "much at once")),
    ("much at once + ledger", "first + ledger"), ("leaf mixed + ledger", "first + ledger"),
    ("first + ledger", "first"), ("first + slots", "first + ledger"), ("first + ledger", "first + positive"),
    ("first + ledger", "first + another key"), ("role + parts", "much at once + parts"),
    ("leaf shared + both", "first + both"),
]  # fmt: skip
"""Pairs with balances that were installed for the first one."""


MORE_LEDGERED = [
    *(("first + ledger", f"{name} + ledger") for name in ("legacy", "another path", "own column", "left out")),
    ("first + ledger", "first + slots"), ("first + ledger", "first + another view"),
    ("first + parts", "role + parts"), ("first + parts", "setting + parts"),
]  # fmt: skip
"""The same, for the soak."""


REFUSED = {
    "column + ledger", "leaf shared + ledger", "left out + ledger", "first", "first + another key",
    "first + another view", "first + both",
}  # fmt: skip
"""Those of which the balances cannot be taken along; the message says what comes first."""


SOMETIMES = {"quarantine + ledger", "much at once + ledger", "leaf mixed + ledger"}
"""The same, where a phase ends in which rows may be without a tenant."""


LOOSER = {"leaf mixed + ledger"}
"""Those whose balances go on counting rows without a tenant, when there are none any more."""


OURS = f"""
SELECT p.proname, {SOURCE}, p.proconfig::text, p.proacl::text, pg_get_userbyid(p.proowner) FROM pg_proc p
WHERE p.pronamespace = 'tenantry'::regnamespace
UNION ALL SELECT relname, '', '', relacl::text, pg_get_userbyid(relowner) FROM pg_class
WHERE relnamespace = 'tenantry'::regnamespace AND relname LIKE '%\\_\\_%' AND relkind = 'r'
UNION ALL SELECT key, phase, wanted, state, '' FROM tenantry.steps WHERE key NOT LIKE '%\\_valid:%'
ORDER BY 1, 2
"""
"""What a dump of the user's schemas does not show: trigger functions, tables of ours, and what the journal knows. A
proof of a key that stands is in force without being ours."""


def unnamed(verdict: Verdict, outline: Outline, database: Database) -> list[str]:
    """What migrate would do, and validate did not say. What a later step has ended is there no more to be named."""
    said = {finding.message for finding in verdict.findings}
    pending = {
        (sample["table"], sample["step"])
        for finding in verdict.findings
        if finding.name == "phase-pending"
        for sample in finding.samples
    }
    return [
        f"{planned.state}: {planned.step.subject}"
        for planned in (*outline.steps, *outline.reverts)
        if not any(message.startswith(planned.step.subject) for message in said)
        and (str(planned.step.table), planned.step.title) not in pending
        and not (planned.state is State.ORPHANED and is_dropped(planned.step, database))
    ]


FALSE = """
WITH truth AS (SELECT {key}, sum({quantity}), count(*) FROM {table} GROUP BY {key}),
  kept AS (SELECT {key}, quantity, movements FROM stock WHERE movements > 0)
(TABLE truth EXCEPT ALL TABLE kept) UNION ALL (TABLE kept EXCEPT ALL TABLE truth)
"""


def assert_kept(database: Database, spec: Spec) -> None:
    """The balances are in step with their ledger, by our own account and by nothing of ours; and so after movements,
    which these statements make and take back."""
    for part in spec.ledger:
        false = FALSE.format(key=", ".join(part.key), table=part.table, quantity=part.quantity)
        for change in ("+ 1", "- 1"):
            assert [line for line in validate_balances(Target(database.dsn), spec) if not line.holds] == []
            assert database.rows(false) == []
            database.execute(f"UPDATE lines SET quantity = quantity {change} WHERE id <= 9")
            # From one partition to the other.
            database.execute("UPDATE logs SET day = 3 - day WHERE id <= 9")
        assert database.rows(false) == []


def is_dropped(step: Step, database: Database) -> bool:
    return database.rows(step.definition().as_string()) in ([], [(None,)])


def follow(changes: Changes, before: str, after: str, until: Phase) -> None:
    """From one spec to another, and back to where it all began."""
    original, first = changes.original(), changes.spec(before)
    dump, rows = original.as_made(Database.dump), original.as_made(checksums)
    database, spec = changes.migrated(before, until), changes.spec(after)
    there = (database.as_made(Database.dump), database.as_made(checksums))
    named = validate(Target(database.dsn), spec, InspectionOptions(samples=1000))
    dry = preview(Target(database.dsn), spec, MigrateOptions(until=until, backup=BackupKind.NONE, force=True))
    left_unsaid = unnamed(named, dry.outline, database)
    if dry.refusal is not None:
        with pytest.raises(Refused, match=re.escape(dry.refusal.message)):
            followed(database, spec, until, force=True)
        assert (database.dump(), checksums(database)) == there, "a refusal has changed something"
        assert_kept(database, first)
        if first.ledger and after in REFUSED - {"left out + ledger"}:
            assert "balances-otherwise" in {finding.name for finding in named.findings}
            assert status(Target(database.dsn), spec).refusals
    else:
        followed(database, spec, until, force=True)
        fresh = changes.fresh(after, until, database)
        assert database.dump() == fresh.as_made(Database.dump)
        assert checksums(database) == fresh.as_made(checksums)
        assert before in LOOSER or database.rows(OURS) == fresh.rows(OURS)
        assert named.exit_status is ExitStatus.FINDINGS, "what differs is named"
        assert left_unsaid == []
        again = followed(database, spec, until, force=True)
        assert again.applied == 0, "a second run finds everything in force"
        assert_kept(database, spec)
        if until is Phase.CONTRACT:
            assert validate(Target(database.dsn), spec).exit_status is ExitStatus.DONE
    if first.ledger:
        assert after in SOMETIMES or (dry.refusal is not None) == (after in REFUSED)
        there = (database.dump(), checksums(database))
        with pytest.raises(Refused, match="balances by tenant"):
            rollback(Target(database.dsn), RollbackOptions(backup=BackupKind.NONE))
        assert (database.dump(), checksums(database)) == there
        remove_balances(Target(database.dsn), spec)
    assert rollback(Target(database.dsn), RollbackOptions(backup=BackupKind.NONE)).exit_status is ExitStatus.DONE
    assert database.dump() == dump
    assert checksums(database) == rows
