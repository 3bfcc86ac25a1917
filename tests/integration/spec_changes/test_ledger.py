"""Balances beside a spec that changes: they stay what the ledger says, or the run says what comes first."""

from __future__ import annotations

import pytest

from acceptance.round_trip import checksums
from daily import nightly
from servers import Database
from spec_changes.conftest import Changes, followed
from tenantry import (
    RollbackOptions,
    backfill_balances,
    install_balances,
    remove_balances,
    rollback,
    validate_balances,
)
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import LedgerPart, Spec
from tenantry.postgres.connect import Target

FALSE = """
WITH truth AS (SELECT {column} AS tenant, lot_id, sum(quantity), count(*) FROM lines GROUP BY 1, 2),
  kept AS (SELECT {column}, lot_id, quantity, movements FROM stock WHERE movements > 0)
(TABLE truth EXCEPT ALL TABLE kept) UNION ALL (TABLE kept EXCEPT ALL TABLE truth)
"""
AFTER = ["setting", "column", "role", "legacy", "leaf shared", "another path", "two paths", "mixed", "own column",
         "children", "unique", "table added", "much at once"]  # fmt: skip
DAILY = ("column", "leaf shared", "own column", "much at once")
REFUSED = {
    "column": "names the tenant column of public.notes organization",
    "leaf shared": "tenantry balances remove --confirm",
}


def with_ledger(spec: Spec) -> Spec:
    """The same, with balances of lines by tenant and lot."""
    part = LedgerPart(table="lines", balance="stock", key=(spec.tenant.column, "lot_id"))
    return spec.model_copy(update={"ledger": (part,)})


def assert_kept(database: Database, spec: Spec) -> None:
    """In step with the ledger, by our own account and by nothing of ours; and so after another movement."""
    for quantity in (7, -3):
        assert [line.name for line in validate_balances(Target(database.dsn), spec) if not line.holds] == []
        assert database.rows(FALSE.format(column=spec.tenant.column)) == []
        database.execute(f"UPDATE lines SET quantity = quantity + {quantity} WHERE id <= 9")
    assert database.rows(FALSE.format(column=spec.tenant.column)) == []
    database.execute("UPDATE lines SET quantity = quantity - 4 WHERE id <= 9")


@pytest.mark.server
@pytest.mark.parametrize("after", [name if name in DAILY else nightly(name) for name in AFTER])
def test_balances_beside_a_change(after: str, changes: Changes) -> None:
    """What install made stays in force under the next spec; where that cannot be, exit 4 and nothing has changed."""
    original, database = changes.original(), changes.migrated("first", Phase.ISOLATE)
    target, first, second = Target(database.dsn), with_ledger(changes.spec("first")), changes.spec(after)
    install_balances(target, first)
    backfill_balances(target, first)
    assert_kept(database, first)
    there = (database.dump(), checksums(database))
    if after in REFUSED:
        second = second if after == "leaf shared" else with_ledger(second)
        with pytest.raises(Refused) as caught:
            followed(database, second, Phase.ISOLATE, force=True)
        assert REFUSED[after] in f"{caught.value.message} {caught.value.remedy} {caught.value.details}"
        assert (database.dump(), checksums(database)) == there
        assert_kept(database, first)
    else:
        second = with_ledger(second)
        followed(database, second, Phase.ISOLATE, force=True)
        # Installed again under the new spec: what it wants otherwise, it gets.
        install_balances(target, second)
        assert_kept(database, second)
        fresh = changes.migrated(after, Phase.ISOLATE)
        install_balances(Target(fresh.dsn), with_ledger(changes.spec(after)))
        assert database.dump() == fresh.dump()
    remove_balances(target, first)
    assert rollback(target, RollbackOptions(backup=BackupKind.NONE)).exit_status is ExitStatus.DONE
    assert (database.dump(), checksums(database)) == (original.as_made(Database.dump), original.as_made(checksums))


@pytest.mark.server
def test_balances_of_renamed_columns(changes: Changes) -> None:
    """The application renames what both a path and the balances go by, under row security: the balances stay."""
    original, database = changes.original(), changes.migrated("first", Phase.ISOLATE)
    target, first = Target(database.dsn), with_ledger(changes.spec("first"))
    install_balances(target, first)
    backfill_balances(target, first)
    database.execute("ALTER TABLE lines RENAME lot_id TO batch; ALTER TABLE lines RENAME quantity TO amount")
    with pytest.raises(UsageError, match=r"was renamed to 'batch'"):
        followed(database, first, Phase.ISOLATE, force=True)
    (part,) = (one for one in first.table if one.name == "lines")
    tables = tuple(one.model_copy(update={"paths": ((("batch",),),)}) if one is part else one for one in first.table)
    ledger = LedgerPart(table="lines", balance="stock", key=(first.tenant.column, "batch"), quantity="amount")
    second = first.model_copy(update={"table": tables, "ledger": (ledger,)})
    followed(database, second, Phase.ISOLATE, force=True)
    false = FALSE.format(column=second.tenant.column).replace("lot_id, sum(quantity)", "batch, sum(amount)")
    for _ in range(2):
        assert database.rows(false) == []
        assert [line.name for line in validate_balances(target, second) if not line.holds] == []
        database.execute("UPDATE lines SET amount = amount + 3, store_id = NULL, batch = 1 + batch % 40 WHERE id <= 9")
    assert database.rows("SELECT DISTINCT stale FROM stock") == [(False,)]
    with database.connect() as session:
        session.execute("SET ROLE changes_app; SET LOCAL app.tenant_id = '1'")
        assert session.execute("SELECT DISTINCT tenant_id FROM stock").fetchall() == [(1,)]
    remove_balances(target, second)
    assert rollback(target, RollbackOptions(backup=BackupKind.NONE)).exit_status is ExitStatus.DONE
    database.execute("ALTER TABLE lines RENAME batch TO lot_id; ALTER TABLE lines RENAME amount TO quantity")
    assert database.dump() == original.as_made(Database.dump)
