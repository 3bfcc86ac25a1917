"""The commands as functions, for those who call them from Python."""

from tenantry.workflow.migrate import MigrateOptions, migrate
from tenantry.workflow.rollback import RollbackOptions, rollback
from tenantry.workflow.watcher import Nobody, Watcher

__all__ = ["MigrateOptions", "Nobody", "RollbackOptions", "Watcher", "migrate", "rollback"]
