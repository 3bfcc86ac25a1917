"""The commands as functions, for those who call them from Python."""

from tenantry.model.backup import Restoration, TableRestored
from tenantry.workflow.backup_list import (
    Listed,
    create_backup,
    list_backups,
    preview_backup,
    prune_backups,
    verify_backups,
)
from tenantry.workflow.backups import BackupOptions
from tenantry.workflow.balances import (
    BalancesOptions,
    backfill_balances,
    compact_balances,
    install_balances,
    preview_install,
    validate_balances,
)
from tenantry.workflow.balances_removal import empty_ledger, preview_empty, preview_remove, remove_balances
from tenantry.workflow.conflicts import Conflicts, conflicts
from tenantry.workflow.demo import Claim, Demonstration, demo
from tenantry.workflow.discover import Discovery, discover, discover_update
from tenantry.workflow.export import export
from tenantry.workflow.fixes import Correction, Fixed, FixOptions, fix_issues, preview_fixes
from tenantry.workflow.foreseen import ForeseenBackup
from tenantry.workflow.full import Full, FullOptions, full
from tenantry.workflow.housekeeping import Chore, keep_house
from tenantry.workflow.inspection import InspectionOptions, inspect
from tenantry.workflow.logged import Logged
from tenantry.workflow.migrate import MigrateOptions, migrate
from tenantry.workflow.monitor import MonitorOptions, Watched, monitor
from tenantry.workflow.operator_sql import OperatorScript, operator_sql
from tenantry.workflow.plan import Outline, Planned, Preview, plan, preview, preview_rollback
from tenantry.workflow.purge import Household, household, purge
from tenantry.workflow.reconcile import LedgerReconciled, ReconcileOptions, ReconcileResult, reconcile_balances
from tenantry.workflow.reported import Reported
from tenantry.workflow.restore import RestoreOptions, restore
from tenantry.workflow.reviews import Decision, decide_reviews, list_reviews
from tenantry.workflow.rollback import RollbackOptions, rollback
from tenantry.workflow.sample import sample
from tenantry.workflow.status import status
from tenantry.workflow.tenants import Tenant, TenantChange, add_tenant, list_tenants, rename_tenant
from tenantry.workflow.terminate import Termination, end_blocker
from tenantry.workflow.undo import FixSummary, Undone, list_fixes, undo_fixes
from tenantry.workflow.validate import validate
from tenantry.workflow.verify import verify
from tenantry.workflow.watcher import Nobody, Several, Watcher

__all__ = [
    "BackupOptions",
    "BalancesOptions",
    "Chore",
    "Claim",
    "Conflicts",
    "Correction",
    "Decision",
    "Demonstration",
    "Discovery",
    "FixOptions",
    "FixSummary",
    "Fixed",
    "ForeseenBackup",
    "Full",
    "FullOptions",
    "Household",
    "InspectionOptions",
    "LedgerReconciled",
    "Listed",
    "Logged",
    "MigrateOptions",
    "MonitorOptions",
    "Nobody",
    "OperatorScript",
    "Outline",
    "Planned",
    "Preview",
    "ReconcileOptions",
    "ReconcileResult",
    "Reported",
    "Restoration",
    "RestoreOptions",
    "RollbackOptions",
    "Several",
    "TableRestored",
    "Tenant",
    "TenantChange",
    "Termination",
    "Undone",
    "Watched",
    "Watcher",
    "add_tenant",
    "backfill_balances",
    "compact_balances",
    "conflicts",
    "create_backup",
    "decide_reviews",
    "demo",
    "discover",
    "discover_update",
    "empty_ledger",
    "end_blocker",
    "export",
    "fix_issues",
    "full",
    "household",
    "inspect",
    "install_balances",
    "keep_house",
    "list_backups",
    "list_fixes",
    "list_reviews",
    "list_tenants",
    "migrate",
    "monitor",
    "operator_sql",
    "plan",
    "preview",
    "preview_backup",
    "preview_empty",
    "preview_fixes",
    "preview_install",
    "preview_remove",
    "preview_rollback",
    "prune_backups",
    "purge",
    "reconcile_balances",
    "remove_balances",
    "rename_tenant",
    "restore",
    "rollback",
    "sample",
    "status",
    "undo_fixes",
    "validate",
    "validate_balances",
    "verify",
    "verify_backups",
]  # fmt: skip
