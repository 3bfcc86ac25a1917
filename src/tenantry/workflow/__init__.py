"""The commands as functions, for those who call them from Python."""

from tenantry.workflow.demo import Claim, Demonstration, demo
from tenantry.workflow.discover import Discovery, discover
from tenantry.workflow.inspection import InspectionOptions, inspect
from tenantry.workflow.logged import Logged
from tenantry.workflow.migrate import MigrateOptions, migrate
from tenantry.workflow.plan import Outline, Planned, Preview, plan, preview, preview_rollback
from tenantry.workflow.purge import Household, household, purge
from tenantry.workflow.reported import Reported
from tenantry.workflow.rollback import RollbackOptions, rollback
from tenantry.workflow.sample import sample
from tenantry.workflow.status import status
from tenantry.workflow.tenants import Tenant, TenantChange, add_tenant, list_tenants, rename_tenant
from tenantry.workflow.terminate import Termination, end_blocker
from tenantry.workflow.validate import validate
from tenantry.workflow.watcher import Nobody, Several, Watcher

__all__ = [
    "Claim", "Demonstration", "Discovery", "Household", "InspectionOptions", "Logged", "MigrateOptions", "Nobody",
    "Outline", "Planned", "Preview", "Reported", "RollbackOptions", "Several", "Tenant", "TenantChange", "Watcher",
    "Termination", "add_tenant", "demo", "discover", "end_blocker", "household", "inspect", "list_tenants", "migrate",
    "plan", "preview", "preview_rollback", "purge", "rename_tenant", "rollback", "sample", "status", "validate",
]  # fmt: skip
